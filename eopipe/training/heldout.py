"""Words that ``mini`` is judged by, and that it was never taught.

These lists were fixed before any phrase was embedded, any vector fitted and any net trained. Nothing is tuned on
``CLOSE`` and ``UNRELATED``: they are read once, for the model card. What had to be chosen (how many phrases are
taught, how a concept's vector is made, the bound below which a word counts as unknown) was chosen on
``CLOSE_TO_CHOOSE`` and ``UNRELATED_TO_CHOOSE``.
No phrase of ``CLOSE`` stands in a taught phrase, not even as a part of it.
"""

from __future__ import annotations

import json
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = json.loads(resources.files("eopipe.training").joinpath("data/heldout.json").read_text(encoding="utf-8"))


def _by_concept(list_name: str) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({concept: tuple(phrases) for concept, phrases in _WORDS[list_name].items()})


CLOSE = _by_concept("close")
"""Close synonyms of each concept."""

UNRELATED: tuple[str, ...] = tuple(_WORDS["unrelated"])
"""Things that no concept holds: vehicles, animals, food, feelings, gadgets, ideas, clouds, and no words at all."""

CLOSE_TO_CHOOSE = _by_concept("close_to_choose")
"""Close synonyms by which choices were made."""

UNRELATED_TO_CHOOSE: tuple[str, ...] = tuple(_WORDS["unrelated_to_choose"])
"""Unrelated words by which choices were made."""
