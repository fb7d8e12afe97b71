"""What an evaluation computes on."""

from __future__ import annotations

from eopipe.errors import SpecError


def choose(wanted: str) -> str:
    """``cpu`` or ``cuda``.

    Args:
        wanted: One of them, or ``auto``: a GPU where torch sees one.

    Raises:
        SpecError: It is none, or torch sees no GPU.
    """
    import torch  # noqa: PLC0415  (slow to load)

    if wanted not in {"auto", "cpu", "cuda"}:
        raise SpecError(f"--device {wanted!r} is none; choose auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SpecError("--device cuda: torch sees no GPU; choose cpu, or install torch for your GPU")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"
