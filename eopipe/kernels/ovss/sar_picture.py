"""Backscatter as the picture that a CLIP tower is shown: fixed clips in decibels.

**Our choice.** The published SAR path (AlignEarth) converts nothing: it reads the 8-bit pictures that its data
sets ship, a single band replicated to three channels, and none of those sets says how it was scaled. A clip at
quantiles of a scene, which many of them look like, would make neighbouring tiles disagree; these clips are the
same everywhere:

* ``vv``: VV from -25 to 0 dB, in all three channels, the nearest to what the published path reads.
* ``vv-vh-ratio``: VV from -25 to 0 dB, VH from -32 to -5 dB, and their ratio VV - VH from 0 to 15 dB, which is high
  over bare ground and water and low in canopies. It tells more than ``vv`` to the eye; the towers never saw it.

The lower clips lie near Sentinel-1's noise floor (noise-equivalent sigma nought -22 dB or better), the upper ones
above vegetation and bare soil; only buildings and facing slopes saturate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLIPS = {"vv": (-25.0, 0.0), "vh": (-32.0, -5.0), "ratio": (0.0, 15.0)}
"""Decibels that become 0 and 1."""

Channels = Literal["vv-vh-ratio", "vv"]


def sar_picture(pixels: NDArray[np.float32], *, channels: Channels) -> NDArray[np.float32]:
    """Decibels to a picture.

    Args:
        pixels: ``[band, y, x]`` dB, VV first, then VH where ``channels`` asks for it.
        channels: ``vv-vh-ratio`` or ``vv``.

    Returns:
        ``[3, y, x]`` float32, 0-1. A pixel without data holds 0 dB and so is white here: heed its mask.
    """
    vv = _clip(pixels[0], "vv")
    if channels == "vv":
        return np.stack([vv, vv, vv])
    return np.stack([vv, _clip(pixels[1], "vh"), _clip(pixels[0] - pixels[1], "ratio")])


def _clip(decibels: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    low, high = CLIPS[what]
    scaled = (decibels - np.float32(low)) / np.float32(high - low)
    found: NDArray[np.float32] = np.clip(scaled, np.float32(0), np.float32(1))
    return found
