"""Reflectance as the picture that a CLIP tower was trained on: one fixed stretch a sensor, never one a scene.

A stretch that looks at a scene would make neighbouring tiles disagree. Where a value comes from:

* Sentinel-2: 0 to 0.3558, ESA's own true-colour image (L1C TCI: digital numbers 1 to 3558 become 8 bits).
* Landsat: 0 to 0.3, the usual range of its natural-colour products.
* NAIP: 0 to 1; its files are 8-bit pictures already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

REFLECTANCE = 10000.0
"""What the cube hands out per unit of reflectance."""

STRETCHES = {"sentinel-2": (0.0, 0.3558), "landsat": (0.0, 0.3), "naip": (0.0, 1.0)}
"""Reflectance that becomes black and white, by the beginning of a sensor's name."""


def stretch_of(sensors: Sequence[str]) -> tuple[float, float]:
    """The one stretch of all these sensors.

    Args:
        sensors: Names of the sensors that a run reads, such as ``Sentinel-2``.

    Returns:
        Reflectance of black and of white.

    Raises:
        PlanError: A sensor has none, or two differ; the spec must then say it.
    """
    found: dict[tuple[float, float], str] = {}
    for sensor in sensors:
        known = [value for name, value in STRETCHES.items() if sensor.lower().startswith(name)]
        if not known:
            raise PlanError(
                f"kernel.stretch: no stretch is known for {sensor}; "
                f"give the reflectance that is to become black and white, such as stretch: [0, 0.3]"
            )
        found[known[0]] = sensor
    if len(found) != 1:
        said = ", ".join(f"{sensor} {low:g} to {high:g}" for (low, high), sensor in found.items()) or "no sensor"
        raise PlanError(
            f"kernel.stretch: one stretch is needed for the whole run ({said}); give it, such as [0, 0.3]"
        )
    return next(iter(found))


def optical_picture(pixels: NDArray[np.float32], *, stretch: tuple[float, float]) -> NDArray[np.float32]:
    """Reflectance x 10000 to 0-1, clipped.

    Args:
        pixels: ``[3, y, x]`` red, green, blue.
        stretch: Reflectance of black and of white.
    """
    low, high = stretch
    scale = np.float32(1 / (REFLECTANCE * (high - low)))
    found: NDArray[np.float32] = np.clip((pixels - np.float32(low * REFLECTANCE)) * scale, 0, 1)
    return found


def normalise(
    picture: NDArray[np.float32], valid: NDArray[np.bool_], *, mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """What the tower sees: ``(picture - mean) / std``, and 0, the mean colour, where nothing was observed.

    Args:
        picture: ``[3, y, x]``, 0-1.
        valid: ``[y, x]``.
        mean: Of each channel, on 0-1.
        std: Likewise.
    """
    centred = (picture - np.asarray(mean, np.float32)[:, None, None]) / np.asarray(std, np.float32)[:, None, None]
    return np.where(valid, centred, np.float32(0))
