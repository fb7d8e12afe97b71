"""Prompts outside a kernel's taught vocabulary: shown in the plan, a warning of the run, refused by ``--strict``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.errors import SpecError
from eopipe.kernels.known_words import KnowsWords

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.protocol import Kernel


def notes_of(kernel: Kernel) -> tuple[WordNote, ...]:
    """How near each prompt is to the taught vocabulary; empty where the kernel has none."""
    return tuple(kernel.words()) if isinstance(kernel, KnowsWords) else ()


def warnings_of(kernel: Kernel) -> list[str]:
    """A line for each prompt that is far from the vocabulary."""
    return [note.warning for note in notes_of(kernel) if not note.known]


def refuse_unknown(kernel: Kernel) -> None:
    """Refuse prompts outside the vocabulary (``--strict``).

    Raises:
        SpecError: A prompt is outside, or the kernel takes prompts and has no vocabulary.
    """
    if "prompts" not in kernel.info.options:
        return
    if not isinstance(kernel, KnowsWords):
        model = kernel.info.options.get("model")
        named = f"{kernel.info.name} with {model}" if model else kernel.info.name
        raise SpecError(
            f"--strict: kernel {named} has no taught vocabulary to hold the prompts against; leave --strict out, or "
            f"take a model that has one, such as model: mini"
        )
    unknown = [note for note in notes_of(kernel) if not note.known]
    if unknown:
        listed = "; ".join(f"{note.phrase!r} (nearest {note.nearest!r}, {note.cosine:.2f})" for note in unknown)
        raise SpecError(
            f"kernel.prompts: not among what the model was taught, by a cosine below {unknown[0].bound:.2f}: "
            f"{listed}; change them, or leave --strict out"
        )


def lines(notes: Sequence[WordNote]) -> list[str]:
    """A table for people: phrase, what it is read as, the nearest taught phrase and its cosine."""
    if not notes:
        return []
    phrases, taught = (max(map(len, column)) for column in zip(*((n.phrase, n.nearest) for n in notes), strict=True))
    return [
        "words, the nearest taught ones and their cosines:",
        *(
            f"  {note.phrase:{phrases}}  {note.nearest:{taught}}  {note.cosine:.2f}"
            f"{' ' if note.known else '?'} read as {note.means} ({note.share:.0%})"
            for note in notes
        ),
    ]
