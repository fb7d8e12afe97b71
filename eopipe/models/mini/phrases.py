"""What ``mini`` was taught: nine concepts, each by a literal name and other words for it.

The concepts are Dynamic World's, in its order. The phrases are short noun phrases without a template: with "a
satellite image of …" in front, the sentence encoder finds everything alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Concept:
    """A kind of land cover that the net tells apart.

    Attributes:
        key: Dynamic World's name.
        name: In plain words; the first of its phrases.
        others: Further taught phrases.
    """

    key: str
    name: str
    others: tuple[str, ...]

    @property
    def phrases(self) -> tuple[str, ...]:
        """All taught phrases, the name first."""
        return (self.name, *self.others)


_TAUGHT = json.loads(resources.files("eopipe.models.mini").joinpath("phrases.json").read_text(encoding="utf-8"))

CONCEPTS: tuple[Concept, ...] = tuple(Concept(row["key"], row["name"], tuple(row["others"])) for row in _TAUGHT)
"""In the order of the net's outputs."""
