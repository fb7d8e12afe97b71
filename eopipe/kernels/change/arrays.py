"""The arrays of a change run, whatever makes them, and what is said of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.kernel_info import ArraySpec, ClassInfo
from eopipe.kernels.change.cut import AT, HIGHEST, NOT_SEEN, told

if TYPE_CHECKING:
    from collections.abc import Sequence

LOSERS = (254, 255)

PHOTOGRAPHED = (0.2, 3.0)
"""Metres a pixel of the sets that DynamicEarth's figures were made on: WHU-CD's to SECOND's coarsest."""


def change_arrays(
    names: Sequence[str], phrases: Sequence[str], classes: tuple[ClassInfo, ...], *, kinds: str, at: int | None = None
) -> tuple[ArraySpec, ...]:
    """``change``, ``change_score``, ``label_before``, ``label_after``.

    Args:
        names: Of the prompts.
        phrases: Of all of them.
        classes: Of the labels.
        kinds: What these are, such as ``land cover``.
        at: ``change_score`` from which on something changed; None: `AT`.
    """
    table = (ClassInfo(0, "unchanged", "#e8e6df"), ClassInfo(1, "changed", "#d7301f", tuple(phrases)))
    words = told(f"change of {', '.join(names)}", at)
    change = ArraySpec("change", "uint8", 255, NOT_SEEN, table, losers=LOSERS, long_name=words)
    score = ArraySpec(
        "change_score", "uint8", 255, NOT_SEEN, losers=LOSERS,
        long_name=f"score of change, {AT} for the threshold, {HIGHEST} for {HIGHEST / AT:g} times it or more",
    )  # fmt: skip
    labels = (
        ArraySpec(f"label_{when}", "uint8", 255, 0, classes, losers=(0, 255), long_name=f"{kinds} {when}")
        for when in ("before", "after")
    )
    return (change, score, *labels)


def of_photographs(name: str, resolution: float) -> list[str]:
    """A warning of pixels far from those of the published figures; none within them."""
    low, high = PHOTOGRAPHED
    if low / 2 <= resolution <= 2 * high:
        return []
    line = (
        f"the figures of {name} were made with pixels of {low:g} to {high:g} m; it will see {resolution:g} (CRS "
        f"units): look at the map before you rely on it"
    )
    return [line]


def of_sentinel_2(levels: Sequence[str], known: Sequence[str], resolution: float) -> list[str]:
    """Warnings of inputs that Dynamic World was not made for: Level 2A, and pixels far from 10 m."""
    found = []
    others = sorted({level for level in levels if level not in known})
    if others:
        found.append(
            f"change was made for Sentinel-2 L1C; the scenes are {', '.join(others)}, for which no figure exists "
            f"yet: check the map before you rely on it"
        )
    if not 5 <= resolution <= 20:
        found.append(f"change was made for 10 m pixels; it will see {resolution:g} (CRS units): set grid.resolution")
    return found
