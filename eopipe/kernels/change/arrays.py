"""The arrays of a change run, whichever kernel makes them, and warnings about its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.kernelinfo import ArraySpec, ClassInfo
from eopipe.kernels.base import level_warnings, ten_metre_warnings
from eopipe.kernels.change.score import HIGHEST, THRESHOLD, UNOBSERVED

if TYPE_CHECKING:
    from collections.abc import Sequence

LOSERS = (254, 255)

PUBLISHED_GSD = (0.2, 3.0)
"""Metres a pixel of the sets that DynamicEarth was evaluated on: WHU-CD's to SECOND's coarsest."""


def change_arrays(
    names: Sequence[str],
    phrases: Sequence[str],
    classes: tuple[ClassInfo, ...],
    *,
    kinds: str,
    threshold: int | None = None,
) -> tuple[ArraySpec, ...]:
    """``change``, ``change_score``, ``label_before``, ``label_after``.

    Args:
        names: Of the prompts.
        phrases: Of all prompts.
        classes: Of the labels.
        kinds: What the classes are, such as ``land cover``.
        threshold: ``change_score`` from which on a pixel changed, where the map was cut anew; None: `THRESHOLD`.
    """
    table = (ClassInfo(0, "unchanged", "#e8e6df"), ClassInfo(1, "changed", "#d7301f", tuple(phrases)))
    title = f"change of {', '.join(names)}"
    if threshold is not None:
        title = f"{title}, from {threshold} hundredths of the threshold on"
    change = ArraySpec("change", "uint8", 255, UNOBSERVED, table, losers=LOSERS, long_name=title)
    times = f"{HIGHEST / THRESHOLD:g}"
    score = ArraySpec(
        "change_score", "uint8", 255, UNOBSERVED, losers=LOSERS,
        long_name=f"score of change, {THRESHOLD} for the threshold, {HIGHEST} for {times} times it or more",
    )  # fmt: skip
    labels = (
        ArraySpec(f"label_{date}", "uint8", 255, 0, classes, losers=(0, 255), long_name=f"{kinds} {date}")
        for date in ("before", "after")
    )
    return (change, score, *labels)


def photograph_warnings(name: str, resolution: float) -> list[str]:
    """A warning of pixels far from those of the published figures; none within them."""
    low, high = PUBLISHED_GSD
    if low / 2 <= resolution <= 2 * high:
        return []
    warning = (
        f"the figures of {name} were made with pixels of {low:g} to {high:g} m; it will see {resolution:g} (CRS "
        f"units): look at the map before you rely on it"
    )
    return [warning]


def sentinel_2_warnings(levels: Sequence[str], known: Sequence[str], resolution: float) -> list[str]:
    """Warnings of inputs that Dynamic World was not made for: Level 2A, and pixels far from 10 m."""
    far = ten_metre_warnings("change", resolution, key="grid.resolution")
    return [*level_warnings("change", levels, known), *far]
