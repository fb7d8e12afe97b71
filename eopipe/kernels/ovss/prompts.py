"""Words to queries and classes: what a spec's ``prompts`` means."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eopipe.errors import one_line
from eopipe.kernelinfo import ClassInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_CLASSES = 254
"""``label`` is uint8; 0 and 255 are no classes."""

_KNOWN = {
    "#419bdf": ("water", "river", "lake", "sea", "ocean", "flood", "canal", "reservoir", "swimming pool"),
    "#397d49": ("tree", "trees", "forest", "woodland", "wood", "dense tree cover", "greenery"),
    "#88b053": ("grass", "grassland", "low vegetation", "meadow", "pasture", "vegetation", "lawn"),
    "#7a87c6": ("flooded vegetation", "wetland", "marsh", "swamp"),
    "#e49635": ("crops", "cropland", "agricultural", "agriculture", "farmland", "field", "farm fields"),
    "#dfc35a": ("shrub", "scrub", "shrubland"),
    "#c4281b": ("built", "building", "buildings", "roof", "house", "houses", "city", "village", "town", "facade"),
    "#a59b8f": ("bare", "bareland", "barren", "bare ground", "bare soil", "soil", "sand", "rock", "bareground"),
    "#b39fe1": ("snow", "ice", "snow and ice", "glacier"),
    "#6b6b6b": ("road", "roads", "street", "roadway", "highway", "pavement", "parking lot", "impervious surface"),
    "#f2d13c": ("car", "vehicle", "vehicles", "small vehicle", "large vehicle", "truck"),
    "#dcdcdc": ("background", "other", "others", "clutter"),
}
_COLOUR_OF = {word: colour for colour, words in _KNOWN.items() for word in words}


@dataclass(frozen=True)
class Vocabulary:
    """Classes with their synonyms, in code order.

    Args:
        names: Class names; class ``i`` has code ``i + 1``.
        synonyms: The phrases of each class, in order.
    """

    names: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...]

    @property
    def queries(self) -> tuple[str, ...]:
        """Every phrase, in class order."""
        return tuple(phrase for phrases in self.synonyms for phrase in phrases)

    @property
    def query_class(self) -> tuple[int, ...]:
        """The class of each query, from 0."""
        return tuple(number for number, phrases in enumerate(self.synonyms) for _ in phrases)

    def classes(self) -> tuple[ClassInfo, ...]:
        """The class table: codes from 1, each with a colour of its own."""
        colours = _colours(self.names)
        return tuple(
            ClassInfo(number, name, colour, prompts)
            for number, (name, colour, prompts) in enumerate(
                zip(self.names, colours, self.synonyms, strict=True), start=1
            )
        )


def parse_prompts(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A spec's prompts as pairs of a class name and its synonyms, in order.

    Args:
        value: A mapping of name to a phrase, a list of phrases or nothing (the name itself), a list of names, or
            the pairs that this function returned (a frozen run holds those, since the codes follow their order).

    Raises:
        ValueError: It is something else; there is no class, or too many; a name or phrase is empty, repeated or no
            text.
    """
    if isinstance(value, dict):
        pairs = [(_name(name), _phrases(name, phrases)) for name, phrases in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [_pair(entry) for entry in value]
    else:
        raise ValueError("prompts are names with their synonyms: {water: [water, river], forest: [forest]}")  # noqa: TRY004  (pydantic reports ValueError)
    if not pairs:
        raise ValueError("there is no prompt; name at least one class")
    if len(pairs) > MOST_CLASSES:
        raise ValueError(f"{len(pairs)} classes; a label holds {MOST_CLASSES}")
    _refuse_twice([name for name, _ in pairs], "class")
    _refuse_twice([phrase for _, phrases in pairs for phrase in phrases], "phrase")
    return tuple(pairs)


def parse_text(text: str) -> dict[str, list[str]]:
    """Prompts as people type them: ``"water: river, lake; pine forest"``.

    Args:
        text: Classes separated by semicolons, each a phrase, or a name with its synonyms.

    Raises:
        ValueError: A class without a name or a word, or one that stands twice.
    """
    classes: dict[str, list[str]] = {}
    for entry in filter(str.strip, text.split(";")):
        name, colon, words = map(str.strip, entry.partition(":"))
        phrases = [word.strip() for word in (words if colon else name).split(",") if word.strip()]
        if not name or not phrases or name in classes:
            raise ValueError(f"{entry.strip()!r} is no class; write 'water: water, river; land: field'")
        classes[name] = phrases
    return classes


def _pair(entry: Any) -> tuple[str, tuple[str, ...]]:
    if isinstance(entry, list | tuple) and len(entry) == 2:
        return _name(entry[0]), _phrases(entry[0], entry[1])
    if isinstance(entry, dict | list | tuple):
        raise ValueError(f"{entry!r} is no class; write a name, or a mapping of names to their synonyms")  # noqa: TRY004  (pydantic reports ValueError)
    return _name(entry), _phrases(entry, None)


def _name(value: Any) -> str:
    name = _text(value)
    if not name:
        raise ValueError(f"{value!r} is no name of a class; write a word")
    return name


def _phrases(name: object, value: Any) -> tuple[str, ...]:
    raw = [name] if value is None or value == [] else value if isinstance(value, list | tuple) else [value]
    phrases = tuple(map(_text, raw))
    for phrase, value_given in zip(phrases, raw, strict=True):
        if phrase is None:
            raise ValueError(f"class {name!r}: {value_given!r} is no phrase; write a word, in quotes")
        if not phrase:
            raise ValueError(f"class {name!r} has an empty phrase; write a word or remove it")
    return tuple(phrase for phrase in phrases if phrase is not None)


def _text(value: Any) -> str | None:
    """Words, or a number as YAML reads it; None of anything else. Whitespace around words never means anything."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = one_line(value)
    return None if any("\ud800" <= letter <= "\udfff" for letter in text) else text  # halves of a letter, from JSON


def _refuse_twice(words: list[str], kind: str) -> None:
    twice = next((word for number, word in enumerate(words) if word in words[:number]), None)
    if twice is not None:
        raise ValueError(f"the {kind} {twice!r} stands twice; keep one")


def _colours(names: Iterable[str]) -> list[str]:
    """The usual colour where a name has one that is still free, else the next of an evenly spread circle of hues."""
    names = [name.lower() for name in names]
    reserved = {_COLOUR_OF[name] for name in names if name in _COLOUR_OF}
    colours: list[str] = []
    for number, name in enumerate(names):
        colour = _COLOUR_OF.get(name)
        if colour is None and (kin := _COLOUR_OF.get(_head(name))) not in reserved:
            colour = kin
        colours.append(_spread(number) if colour is None or colour in colours else colour)
    return colours


def _head(name: str) -> str:
    """What a name is a kind of: the longest known words that it ends with, such as ``forest`` of ``pine forest``."""
    words = name.split()
    ends = (" ".join(words[start:]) for start in range(1, len(words)))
    return next((end for end in ends if end in _COLOUR_OF), "")


def _spread(number: int) -> str:
    """Golden-angle hues, three lightnesses: neighbours in the list are far apart on the circle."""
    red, green, blue = colorsys.hls_to_rgb(number * 0.618034 % 1, (0.5, 0.35, 0.68)[number % 3], 0.6)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
