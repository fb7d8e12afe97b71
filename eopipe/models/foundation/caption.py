"""Names as a detector reads them: one caption, and where each name stands in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENDS = ".?"
"""Marks that end a name in the text encoder."""


def caption_of(names: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The caption, and where each name stands in it: first letter and the one after the last.

    Args:
        names: What is looked for.

    Raises:
        SpecError: A name is empty or holds what ends one in a caption, or there is none.
    """
    cleaned = [" ".join(name.lower().split()) for name in names]
    wrong = [name for name in cleaned if not name or any(mark in name for mark in _ENDS)]
    if wrong or not cleaned:
        raise SpecError(
            f"names for a detector are words without {' and '.join(_ENDS)}, at least one: not {wrong or list(names)}"
        )
    spans, start = [], 0
    for name in cleaned:
        spans.append((start, start + len(name)))
        start += len(name) + 2
    return ". ".join(cleaned) + ".", spans
