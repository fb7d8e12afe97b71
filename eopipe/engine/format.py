"""Numbers as people read them; nothing heavy is imported for it."""

from __future__ import annotations


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
