"""Pixels as the picture that a CLIP tower sees: one fixed stretch a sensor, never one a scene.

A stretch that follows a scene would make neighbouring tiles disagree. Sources of the optical values:

* Sentinel-2: 0 to 0.3558, ESA's own true-colour image (L1C TCI: digital numbers 1 to 3558 become 8 bits).
* Landsat: 0 to 0.3, the usual range of its natural-colour products.
* NAIP: 0 to 1; its files are 8-bit pictures already.

**The radar picture is our choice.** The published SAR path (AlignEarth, arXiv 2508.18067) converts nothing: it reads
the 8-bit pictures that its data sets ship, a single band replicated to three channels, and none of those sets says
how it was scaled. Many of them look clipped at quantiles of a scene, which would make neighbouring tiles disagree;
these clips are the same everywhere:

* ``vv``: VV from -25 to 0 dB, in all three channels, the nearest to what the published path reads.
* ``vv-vh-ratio``: VV from -25 to 0 dB, VH from -32 to -5 dB, and their ratio VV - VH from 0 to 15 dB, which is high
  over bare ground and water and low in canopies. It shows more than ``vv`` to the eye; the towers never saw it.

The lower clips lie near Sentinel-1's noise floor (noise-equivalent sigma nought -22 dB or better), the upper ones
above vegetation and bare soil; only buildings and facing slopes saturate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from eopipe.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

REFLECTANCE = 10000.0
"""The cube's number for a reflectance of 1."""

STRETCHES = {"sentinel-2": (0.0, 0.3558), "landsat": (0.0, 0.3), "naip": (0.0, 1.0)}
"""Reflectance that becomes black and white, by the beginning of a sensor's name."""

CLIPS = {"vv": (-25.0, 0.0), "vh": (-32.0, -5.0), "ratio": (0.0, 15.0)}
"""Decibels that become 0 and 1."""

Channels = Literal["vv-vh-ratio", "vv"]


def stretch_of(sensors: Sequence[str]) -> tuple[float, float]:
    """The one stretch of all these sensors.

    Args:
        sensors: Names of the sensors that a run reads, such as ``Sentinel-2``.

    Returns:
        Reflectance of black and of white.

    Raises:
        PlanError: A sensor has none, or two differ; the spec must then state it.
    """
    stretches: dict[tuple[float, float], str] = {}
    for sensor in sensors:
        known = [value for name, value in STRETCHES.items() if sensor.lower().startswith(name)]
        if not known:
            raise PlanError(
                f"kernel.stretch: no stretch is known for {sensor}; "
                f"give the reflectance that is to become black and white, such as stretch: [0, 0.3]"
            )
        stretches[known[0]] = sensor
    if len(stretches) != 1:
        listed = ", ".join(f"{sensor} {low:g} to {high:g}" for (low, high), sensor in stretches.items())
        raise PlanError(
            f"kernel.stretch: one stretch is needed for the whole run ({listed or 'no sensor'}); give it, "
            f"such as [0, 0.3]"
        )
    return next(iter(stretches))


def optical_picture(pixels: NDArray[np.float32], *, stretch: tuple[float, float]) -> NDArray[np.float32]:
    """Reflectance x 10000 to 0-1, clipped.

    Args:
        pixels: ``[3, y, x]`` red, green, blue.
        stretch: Reflectance of black and of white.
    """
    low, high = stretch
    scale = np.float32(1 / (REFLECTANCE * (high - low)))
    return np.asarray(np.clip((pixels - np.float32(low * REFLECTANCE)) * scale, 0, 1))


def sar_picture(pixels: NDArray[np.float32], *, channels: Channels) -> NDArray[np.float32]:
    """Decibels to a picture.

    Args:
        pixels: ``[band, y, x]`` dB, VV first, then VH where ``channels`` needs it.
        channels: ``vv-vh-ratio`` or ``vv``.

    Returns:
        ``[3, y, x]`` float32, 0-1. A pixel without data holds 0 dB and so is white: heed its mask.
    """
    vv = _clip(pixels[0], *CLIPS["vv"])
    if channels == "vv":
        return np.stack([vv, vv, vv])
    return np.stack([vv, _clip(pixels[1], *CLIPS["vh"]), _clip(pixels[0] - pixels[1], *CLIPS["ratio"])])


def normalise(
    picture: NDArray[np.float32], valid: NDArray[np.bool_], *, mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """What the tower sees: ``(picture - mean) / std``, and 0, the mean colour, where a pixel is invalid.

    Args:
        picture: ``[3, y, x]``, 0-1.
        valid: ``[y, x]``.
        mean: Of each channel, on 0-1.
        std: Likewise.
    """
    centred = (picture - np.asarray(mean, np.float32)[:, None, None]) / np.asarray(std, np.float32)[:, None, None]
    return np.where(valid, centred, np.float32(0))


def _clip(decibels: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    scaled = (decibels - np.float32(low)) / np.float32(high - low)
    return np.asarray(np.clip(scaled, np.float32(0), np.float32(1)))
