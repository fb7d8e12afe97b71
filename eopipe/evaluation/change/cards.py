"""What a set of labelled pairs is: a frozen card a set.

Published settings are in `eopipe.kernels.change.dynamicearth.published_settings`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from eopipe.errors import SpecError

Side = Annotated[int, Field(ge=1)]
Code = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True, kw_only=True)
class ChangeCard:
    """A set of labelled pairs.

    Attributes:
        name: What ``eopipe eval change`` calls it.
        title: What people call it, with the split.
        labels: How labels are read. ``binary``: above 127.5 is change (of files that hold only 0 and 1, 1 is).
            ``classes``: 0 unchanged, 1 changed, 255 not judged. ``either``: a file a date, classes of what changed; a
            category changed where either date is it. ``damage``: xBD's polygons, destroyed and major-damage being
            change. ``scenes``: georeferenced rasters beside STAC items; its places are run, and their mosaics judged.
        categories: What may be asked for; the first where nothing is said.
        dataset: Its name in the published settings and figures; None: there are none.
        folders: Rows of relative folders: before, after, labels (of ``either`` two).
        names: Names without suffix of the same, ``*`` standing for what a pair's files share.
        side: Pixels of a picture's side, as the set comes; None: not one.
        pairs: How many the published figures were measured on; None: not stated.
        label_asset: Of ``scenes``: the asset with the labels.
        changed: Of ``scenes``: the value of change.
        unchanged: Of ``scenes``: the value of no change; others are not judged.
        place: Of ``scenes``: the property that names an item's place; None: items that cover each other are of one.
        gsd: Metres, as its authors say; empty: not stated.
        licence: Its terms, in short.
        note: What else must be known.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    title: str
    labels: Literal["binary", "classes", "either", "damage", "scenes"]
    categories: tuple[str, ...] = ("building",)
    dataset: str | None = None
    folders: tuple[tuple[str, ...], ...] = ()
    names: tuple[str, str, str] = ("*", "*", "*")
    side: Side | None = None
    pairs: Side | None = None
    label_asset: str = "label"
    changed: Code = 1
    unchanged: Code = 0
    place: str | None = None
    gsd: str = ""
    licence: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        wanted = 4 if self.labels == "either" else 3
        if self.labels != "scenes" and (not self.folders or any(len(row) != wanted for row in self.folders)):
            raise ValueError(f"folders needs rows of {wanted}: before, after and labels")
        if not self.categories:
            raise ValueError("categories is empty; name at least one")
        if any(pattern.count("*") != 1 for pattern in self.names):
            raise ValueError("each of names needs one *, for what a pair's files share")
        if self.changed == self.unchanged:
            raise ValueError("changed and unchanged are the same value")

    def category(self, wanted: str | None) -> str:
        """What is asked for.

        Raises:
            SpecError: The set has no such category, or several, of which one must be named.
        """
        if wanted is None and len(self.categories) == 1:
            return self.categories[0]
        if wanted not in self.categories:
            said = "needs a --category" if wanted is None else f"has no category {wanted!r}"
            raise SpecError(f"{self.title} {said}; there {self._are()}")
        return wanted

    def _are(self) -> str:
        named = ", ".join(self.categories)
        return f"are {named}" if len(self.categories) > 1 else f"is {named}"


def find_set(name: str) -> ChangeCard:
    """A shipped card by name, or a user's by the path of a TOML file with the same keys.

    Raises:
        SpecError: No such card, or the file is none.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    try:
        return sets()[name]
    except KeyError:
        raise SpecError(
            f"no change set {name!r}; there are {', '.join(sets())}; or give the path of your own card, FILE.toml"
        ) from None


@lru_cache(maxsize=1)
def sets() -> dict[str, ChangeCard]:
    """The shipped cards by name."""
    text = resources.files("eopipe.evaluation").joinpath("data/change.toml").read_text(encoding="utf-8")
    return {row["name"]: _ADAPTER.validate_python(row) for row in tomllib.loads(text)["card"]}


def _read(path: Path) -> ChangeCard:
    try:
        row: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return _ADAPTER.validate_python(row)
    except FileNotFoundError:
        raise SpecError(f"card {path} does not exist; give the path of a TOML file, or a name of --list") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "card"
        raise SpecError(f"card {path}: {where}: {first['msg']}; see the keys in docs/EVALUATION.md") from None
    except (ValueError, OSError) as error:  # of TOML, of text, of the disk
        raise SpecError(f"card {path} cannot be read ({error}); mend it") from None


_ADAPTER = TypeAdapter(ChangeCard)
