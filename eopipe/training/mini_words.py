"""The table of words that ships with ``mini``: phrases embedded beforehand, and a direction for each concept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.errors import OutputError
from eopipe.models.mini import minilm
from eopipe.models.mini.phrases import CONCEPTS
from eopipe.models.mini.words import DIRECTIONS, PHRASES, VECTORS, plain, rounded
from eopipe.models.weights import sha256_of
from eopipe.training import heldout
from eopipe.training.mini_phrases import COMMON

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RIDGE = 3.0
"""Of the directions' fit. Of 1, 2, 3, 5 and 10, and of plain means of a concept's phrases, it left the fewest words
to choose by with a wrong concept (5 of 63; the means 9, the literal names alone 16)."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        sha256: Of the file, for `eopipe.models.mini.words.WORDS`.
        size: Bytes.
        phrases: How many the table has.
    """

    sha256: str
    size: int
    phrases: int


def table_phrases() -> tuple[str, ...]:
    """Everything that is embedded beforehand: taught, judged by, and common; each once, in plain form."""
    taught = [phrase for concept in CONCEPTS for phrase in concept.phrases]
    close = [*heldout.CLOSE.values(), *heldout.CLOSE_TO_CHOOSE.values()]
    judged = [phrase for phrases in close for phrase in phrases]
    every = [*taught, *judged, *heldout.UNRELATED, *heldout.UNRELATED_TO_CHOOSE, *COMMON]
    return tuple(dict.fromkeys(map(plain, every)))


def fit_directions(vectors: NDArray[np.float32], concept: NDArray[np.int64]) -> NDArray[np.float32]:
    """A direction a concept: what its phrases have, and the others' have not.

    Ridge regression, on vectors less their mean, of membership in each concept. The mean is what all phrases of land
    have in common, which tells none from another.

    Args:
        vectors: ``[N, C]`` unit vectors of the taught phrases.
        concept: ``[N]`` the concept of each.

    Returns:
        ``[K, C]`` float32, unit rows.
    """
    x = vectors.astype(np.float64)
    x = x - x.mean(axis=0)
    member = np.eye(int(concept.max()) + 1)[concept]
    # in the phrases' space, which is smaller than the vectors': the same solution
    found = x.T @ np.linalg.solve(x @ x.T + RIDGE * np.eye(len(x)), member - member.mean(axis=0))
    result: NDArray[np.float32] = np.ascontiguousarray((found / np.linalg.norm(found, axis=0)).T, np.float32)
    return result


def write_table(path: Path) -> Written:
    """Embed every phrase with the installed sentence encoder, fit the directions, and write both.

    Args:
        path: The file, safetensors; it appears whole or not at all.

    Returns:
        What the entry in `eopipe.models.mini.words` must say.

    Raises:
        WeightsError: The sentence encoder is not installed.
        OutputError: The file cannot be written.
    """
    from safetensors.numpy import save  # noqa: PLC0415  (only who trains needs it)

    phrases = table_phrases()
    encoder = minilm.load_minilm(phrases)
    vectors = rounded(np.stack([encoder(phrase).numpy() for phrase in phrases]))
    row = {phrase: number for number, phrase in enumerate(phrases)}
    taught = [(row[plain(phrase)], number) for number, concept in enumerate(CONCEPTS) for phrase in concept.phrases]
    rows, concept = (np.array(column) for column in zip(*taught, strict=True))
    tensors: dict[str, NDArray[Any]] = {
        VECTORS: vectors.astype(np.float16),
        DIRECTIONS: fit_directions(vectors[rows], concept),
    }
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(save(tensors, {PHRASES: json.dumps(phrases)}))
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); give a folder that can") from error
    return Written(sha256_of(path), path.stat().st_size, len(phrases))
