"""Phrases to queries: how ``mini`` understands prompts.

The net gives each pixel weights of nine concepts, and each concept has a unit vector in the space of the sentence
encoder: a direction that the concept's taught phrases share and the others' do not. A phrase is read through the
same directions: its vector's cosines with them say which concepts it means, and its query is the mean of their
vectors by those shares. (Compared raw, "houses" at 0.5 loses every mixed pixel to "water" at 1.0; read so, it does
not.) A phrase far from everything that was taught is read too, so `nearest` gives its distance.

A shipped table has the vectors of some hundred common phrases; any other phrase loads the sentence encoder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import WeightsError
from eopipe.models import embedding_cache
from eopipe.models.mini import minilm
from eopipe.models.mini.phrases import CONCEPTS
from eopipe.models.weights import WeightsEntry, locate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

BOUND = 0.50
"""Cosine with the nearest taught phrase below which a phrase counts as unknown. On the words to choose by, 86 % of
close synonyms lie above it and 86 % of unrelated words below (`eopipe.training.heldout`)."""

SHARPNESS = 15.0
"""What a phrase's cosines with the concepts are multiplied by before the softmax that shares it out."""

PHRASES, VECTORS, DIRECTIONS = "phrases", "vectors", "concepts"
"""Names in the table: the phrases (metadata, a JSON list), their vectors, the concepts' directions."""

WORDS = WeightsEntry(
    name="words of mini",
    file="mini/words.safetensors",
    sha256="37f3b0b4251f303cb0dedf14d977d927f9f7b925964080205656642a46b37378",
    size=804432,
    licence="Apache-2.0",
    origin="all-MiniLM-L6-v2 over the phrases of eopipe.models.mini.phrases and eopipe.training.mini_words",
)

_VERSION = 1
"""Of how a phrase is embedded: a change raises it, so that older cached vectors are not read."""


@dataclass(frozen=True)
class Nearest:
    """The nearest taught phrase, and what a phrase is read as.

    Attributes:
        phrase: As the spec has it.
        taught: The nearest taught phrase.
        cosine: Of the two.
        concept: Dynamic World's name of the concept that the phrase is mostly read as.
        share: That concept's share of it, 0 to 1.
    """

    phrase: str
    taught: str
    cosine: float
    concept: str
    share: float

    @property
    def known(self) -> bool:
        """Whether it is near enough for its answer to be trusted."""
        return self.cosine >= BOUND


@dataclass(frozen=True)
class PhraseTable:
    """The shipped vectors.

    Args:
        rows: Row of each phrase, by its plain form.
        vectors: ``[N, 384]`` float32, unit rows.
        directions: ``[9, 384]`` float32, unit rows.
    """

    rows: Mapping[str, int]
    vectors: NDArray[np.float32]
    directions: NDArray[np.float32]


def plain(phrase: str) -> str:
    """A phrase as the encoder sees it: lower case, single spaces."""
    return " ".join(phrase.lower().split())


def rounded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors at the table's precision: the same from the table, the cache or the encoder.

    Args:
        vectors: ``[..., 384]``.

    Returns:
        The same, through 16 bits, unit again.
    """
    return _unit(vectors.astype(np.float16).astype(np.float32))


def embed(phrases: Sequence[str]) -> NDArray[np.float32]:
    """The sentence encoder's vectors: from the table, else from the cache folder, else computed.

    Args:
        phrases: Case and spaces mean nothing.

    Returns:
        ``[Q, 384]`` float32, unit rows.

    Raises:
        WeightsError: A phrase needs the encoder, and it is not installed; or a file has another sha256.
        SpecError: A phrase is too long for the encoder.
    """
    vectors = {phrase: _stored(plain(phrase)) for phrase in phrases}
    missing = [phrase for phrase, vector in vectors.items() if vector is None]
    if missing:
        encoder = minilm.load_minilm(missing)
        for phrase in missing:
            computed = rounded(encoder(plain(phrase)).numpy())
            embedding_cache.keep(_key(plain(phrase)), computed)
            vectors[phrase] = computed
    return np.stack([vector for phrase in phrases if (vector := vectors[phrase]) is not None])


def concept_vectors() -> NDArray[np.float32]:
    """``[9, 384]`` float32, unit rows: the concepts' directions, in the order of `CONCEPTS`."""
    return load_table().directions


def shares(phrases: Sequence[str]) -> NDArray[np.float32]:
    """Which concepts each phrase means.

    Args:
        phrases: As `embed`.

    Returns:
        ``[Q, 9]`` float32, rows sum to 1.
    """
    return _shares(embed(phrases))


def read(phrases: Sequence[str]) -> NDArray[np.float32]:
    """The queries that pixels are compared with: each phrase as a mean of concepts.

    Args:
        phrases: As `embed`.

    Returns:
        ``[Q, 384]`` float32, unit rows.
    """
    return _unit(shares(phrases) @ concept_vectors())


def nearest(phrases: Sequence[str]) -> list[Nearest]:
    """For each phrase the nearest taught one, its cosine, and what the phrase is read as."""
    vectors = embed(phrases)
    taught = [phrase for concept in CONCEPTS for phrase in concept.phrases]
    cosines = vectors @ embed(taught).T
    return [
        Nearest(
            phrase, taught[int(row.argmax())], round(float(row.max()), 4),
            CONCEPTS[int(share.argmax())].key, round(float(share.max()), 4),
        )
        for phrase, row, share in zip(phrases, cosines, _shares(vectors), strict=True)
    ]  # fmt: skip


def weights(phrases: Sequence[str]) -> dict[str, str]:
    """Files and sha256 that these phrases' queries come from: part of the tile recipe."""
    unknown = any(plain(phrase) not in load_table().rows for phrase in phrases)
    entries = (WORDS, minilm.WEIGHTS, minilm.TOKENS) if unknown else (WORDS,)
    return {entry.file: str(entry.sha256) for entry in entries}


@lru_cache(maxsize=1)
def load_table() -> PhraseTable:
    """Read the shipped table, once a process.

    Raises:
        WeightsError: It is missing, has another sha256, or is damaged.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415  (a kernel without words needs none)

    path = locate(WORDS)
    try:
        with safe_open(str(path), framework="numpy") as file:
            phrases = json.loads((file.metadata() or {})[PHRASES])
            vectors, directions = file.get_tensor(VECTORS), file.get_tensor(DIRECTIONS)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise WeightsError(f"weights {path} are no table of words ({error}); take the shipped file") from error
    return PhraseTable(
        {phrase: row for row, phrase in enumerate(phrases)},
        _unit(vectors.astype(np.float32)),
        _unit(directions.astype(np.float32)),
    )


def _stored(phrase: str) -> NDArray[np.float32] | None:
    table = load_table()
    row = table.rows.get(phrase)
    return table.vectors[row] if row is not None else embedding_cache.read(_key(phrase), minilm.CHANNELS)


def _key(phrase: str) -> str:
    files = [minilm.WEIGHTS.sha256, minilm.TOKENS.sha256]
    return embedding_cache.key_of({"encoder": files, "version": _VERSION, "phrase": phrase})


def _shares(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    cosines = SHARPNESS * (vectors @ concept_vectors().T)
    powers = np.exp(cosines - cosines.max(axis=1, keepdims=True))
    result: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return result


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return result
