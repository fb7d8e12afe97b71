"""The table of words that ships with ``mini``: phrases with their embeddings, and a direction for each concept.

Most of the phrases are common ones (``data/common_phrases.txt``), so that these need no sentence encoder. They are
read like any other phrase; only those of the concepts are taught.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.models.mini import minilm
from eopipe.models.mini.phrases import CONCEPTS
from eopipe.models.mini.words import DIRECTIONS, PHRASES, VECTORS, plain, rounded
from eopipe.models.weights import sha256_of
from eopipe.training import heldout
from eopipe.training.scenes import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RIDGE = 3.0
"""Regularisation of the fit: of 1 to 10 it left the fewest of 63 words with a wrong concept (5; plain means 9)."""


@dataclass(frozen=True)
class TableFile:
    """The file of a table.

    Attributes:
        sha256: Hash of the file, for `eopipe.models.mini.words.WORDS`.
        size: Bytes.
        phrases: Number of phrases.
    """

    sha256: str
    size: int
    phrases: int


def table_phrases() -> tuple[str, ...]:
    """All phrases of the table: taught, held out, and common; each once, in plain form."""
    taught = [phrase for concept in CONCEPTS for phrase in concept.phrases]
    close = [*heldout.CLOSE.values(), *heldout.CLOSE_TO_CHOOSE.values()]
    held_out = [phrase for phrases in close for phrase in phrases]
    common = resources.files("eopipe.training").joinpath("data/common_phrases.txt").read_text(encoding="utf-8")
    phrases = [*taught, *held_out, *heldout.UNRELATED, *heldout.UNRELATED_TO_CHOOSE, *common.splitlines()]
    return tuple(dict.fromkeys(map(plain, phrases)))


def fit_directions(vectors: NDArray[np.float32], concept: NDArray[np.int64]) -> NDArray[np.float32]:
    """The direction of each concept in the space of the sentence encoder.

    Ridge regression of membership in each concept on the vectors less their mean. The mean is common to all phrases
    of land cover, and does not tell concepts apart.

    Args:
        vectors: ``[N, C]`` unit vectors of the taught phrases.
        concept: ``[N]`` concept numbers.

    Returns:
        ``[K, C]`` float32, unit rows.
    """
    x = vectors.astype(np.float64)
    x = x - x.mean(axis=0)
    member = np.eye(int(concept.max()) + 1)[concept]
    # solved in the phrases' space, which is smaller than the vectors': the same solution
    columns = x.T @ np.linalg.solve(x @ x.T + RIDGE * np.eye(len(x)), member - member.mean(axis=0))
    return np.ascontiguousarray((columns / np.linalg.norm(columns, axis=0)).T, np.float32)


def write_table(path: Path) -> TableFile:
    """Embed every phrase with the installed sentence encoder, fit the directions, and write both.

    Args:
        path: The safetensors file.

    Returns:
        The values of its entry in `eopipe.models.mini.words`.

    Raises:
        WeightsError: The sentence encoder is not installed.
        OutputError: The file cannot be written.
    """
    from safetensors.numpy import save  # noqa: PLC0415  (needed here only)

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
    with replacing(path) as partial:
        partial.write_bytes(save(tensors, {PHRASES: json.dumps(phrases)}))
    return TableFile(sha256_of(path), path.stat().st_size, len(phrases))
