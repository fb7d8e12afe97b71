"""Values, numbers and near misses as messages show them; nothing heavy is imported for it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def cut(text: str, longest: int) -> str:
    """A text that ends with dots where it is longer than that."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def short(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    return cut(repr(value), 80)


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to do about an unknown name.

    Args:
        name: As it was written.
        known: Those there are.
        otherwise: The remedy where no known name is like it.
    """
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def gib(count: float) -> str:
    """Memory, such as ``0.76 GiB``."""
    return f"{count / 2**30:.2f} GiB"


def size(count: float) -> str:
    """Bytes on a disk or a wire, such as ``13.8 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def hms(seconds: float) -> str:
    """A duration, such as ``0:02:10``."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def some(count: int, word: str) -> str:
    """A count with its noun, such as ``1 scene`` and ``2,000 scenes``."""
    return f"{count:,} {word}{'s' * (count != 1)}"
