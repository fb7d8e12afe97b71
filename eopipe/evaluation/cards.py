"""Benchmark sets of labelled images: one frozen card a set, and the figures that were published on it.

Cards and figures ship as TOML files; a user's own card is a TOML file with the same keys.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from eopipe.errors import SpecError
from eopipe.evaluation.labels import LabelRule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Side = Annotated[int, Field(ge=1)]
Channel = Annotated[int, Field(ge=0, le=255)]
Share = Annotated[float, Field(ge=0, le=1)]

CardType = TypeVar("CardType")

COMPARED = ("model", "attention", "upsampler", "bias", "resize")
"""Settings by which the rows of the published tables differ."""


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """A labelled data set and the settings its published figures were made with (arXiv 2410.01768, 2508.18067).

    Attributes:
        name: Name on the command line.
        title: Usual name, with the split.
        classes: Classes between ``|``, synonyms between ``,``; the order is the class number.
        threshold: A pixel whose best class has a lower score becomes ``background``.
        background: Number of that class.
        metric: Published metric: the mean over all classes, or the IoU of the second class.
        modality: ``optical`` or ``sar``.
        column: Column of the set in the published tables; None: no figure is known.
        bias: Lambda of the global bias alleviation.
        resize: Long side of the picture that the model sees, pixels.
        crop: Side of a window in that picture; 0: the whole picture at once.
        stride: Distance of windows.
        attention: Attention of the image tower's last blocks.
        last_layers: Number of these blocks.
        upsampler: From patches to pixels.
        model: Name in ``eopipe models``.
        reduce_zero: See `LabelRule`.
        binarise: See `LabelRule`.
        colours: Rows of red, green, blue, class (255: not judged).
        patch: Rows and columns of the pieces that larger images are cut in; None: images are used whole.
        patch_stride: Distance of pieces; the last ones are shifted back inside.
        patch_pad: Whether an image smaller than a piece is padded, black, without truth.
        image_names: Names of images without suffix, ``*`` standing for what image and label share; tried in order.
        label_names: The same of labels.
        skip: Names of files that are neither.
        images: Number of images (after cutting) behind the published figure; None: not stated.
        gsd: Ground sampling distance in metres, as the authors state it; empty: not stated.
        licence: Terms, in short.
        note: Shown with every result.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    title: str
    classes: str
    threshold: Share = 0.0
    background: Annotated[int, Field(ge=0)] = 0
    metric: Literal["mIoU", "IoU of class 1"] = "mIoU"
    modality: Literal["optical", "sar"] = "optical"
    column: str | None = None
    bias: float = -0.3
    resize: Side = 448
    crop: Annotated[int, Field(ge=0)] = 224
    stride: Side = 112
    attention: Literal["vanilla", "MaskCLIP", "SCLIP", "ClearCLIP", "SegEarth"] = "SegEarth"
    last_layers: Side = 1
    upsampler: Literal["bilinear", "jbu_one", "jbu_stack", "anyup"] = "jbu_one"
    model: str = "ViT-B-16/openai"
    reduce_zero: bool = False
    binarise: Annotated[int, Field(ge=1, le=255)] | None = None
    colours: tuple[tuple[Channel, Channel, Channel, Channel], ...] = ()
    patch: tuple[Side, Side] | None = None
    patch_stride: tuple[Side, Side] | None = None
    patch_pad: bool = False
    image_names: tuple[str, ...] = ("*",)
    label_names: tuple[str, ...] = ("*",)
    skip: tuple[str, ...] = ()
    images: Side | None = None
    gsd: str = ""
    licence: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not all(word for words in self.synonyms for word in words):
            raise ValueError("classes has an empty word; write classes between | and synonyms between ,")
        if self.background >= len(self.names):
            raise ValueError(f"background {self.background} is no class; there are 0 to {len(self.names) - 1}")
        if any(number >= len(self.names) and number != 255 for *_, number in self.colours):
            raise ValueError(f"a colour stands for a class above {len(self.names) - 1} that is not 255")
        if self.metric == "IoU of class 1" and len(self.names) < 2:
            raise ValueError("metric is the IoU of class 1, and there is one class only")

    @property
    def synonyms(self) -> tuple[tuple[str, ...], ...]:
        """The phrases of each class."""
        return parse_classes(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, each by its first phrase."""
        return tuple(words[0] for words in self.synonyms)

    def label_rule(self, *, ignore_unknown: bool = False) -> LabelRule:
        """The rule by which its label files are read."""
        colours = {(red, green, blue): number for red, green, blue, number in self.colours}
        return LabelRule(len(self.names), self.reduce_zero, self.binarise, colours, ignore_unknown)


def parse_classes(text: str) -> tuple[tuple[str, ...], ...]:
    """Classes and their synonyms: ``"background | building,roof"``, or one class a line."""
    lines = text.replace("\n", "|").split("|")
    return tuple(tuple(word.strip() for word in line.split(",")) for line in lines if line.strip())


def find_card(name: str) -> DatasetCard:
    """A shipped card by name, or a user's by the path of its TOML file.

    Raises:
        SpecError: No such card, or the file is none.
    """
    return look_up(name, cards(), _ADAPTER, kind="card")


@lru_cache(maxsize=1)
def cards() -> dict[str, DatasetCard]:
    """The shipped cards by name, in the papers' order."""
    tables = shipped_tables("cards.toml")
    radar = {**tables["defaults"], **{key: value for key, value in tables["sar"].items() if key != "card"}}
    rows = [(tables["defaults"], row) for row in tables["card"]] + [(radar, row) for row in tables["sar"]["card"]]
    raw: dict[str, dict[str, Any]] = {}
    for defaults, row in rows:
        start = raw[row["like"]] if "like" in row else defaults
        raw[row["name"]] = {**start, **{key: value for key, value in row.items() if key != "like"}}
    return {name: _ADAPTER.validate_python(row) for name, row in raw.items()}


def look_up(name: str, shipped: Mapping[str, CardType], adapter: TypeAdapter[CardType], *, kind: str) -> CardType:
    """A shipped card by name, or a user's by the path of its TOML file.

    Args:
        name: A key of ``shipped``, or a path that ends with ``.toml``.
        shipped: The shipped cards by name.
        adapter: Validates the keys of a file.
        kind: Word for such a card in messages.

    Raises:
        SpecError: No such card; or the file does not exist, is no TOML, or has a wrong key or value.
    """
    if not name.endswith(".toml"):
        if name in shipped:
            return shipped[name]
        raise SpecError(f"no {kind} {name!r}; there are {', '.join(shipped)}; or give your own card, FILE.toml")
    try:
        return adapter.validate_python(tomllib.loads(Path(name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SpecError(f"card {name} does not exist; give the path of a TOML file, or a name of --list") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "card"
        raise SpecError(f"card {name}: {key}: {first['msg']}; see the keys in docs/EVALUATION.md") from None
    except (ValueError, OSError) as error:  # of TOML, of UTF-8, of the disk
        raise SpecError(f"card {name} cannot be read ({error}); correct the file") from None


def shipped_tables(file: str) -> dict[str, Any]:
    """A TOML file of this package's ``data``."""
    return tomllib.loads(resources.files("eopipe.evaluation").joinpath("data", file).read_text(encoding="utf-8"))


def printed_cells(file: str, *headings: str) -> Iterator[tuple[dict[str, Any], str, tuple[str, ...], Any]]:
    """The cells of the published tables in a shipped file.

    Args:
        file: Name in this package's ``data``.
        headings: Keys of a table under which its columns' headings stand, such as ``columns``.

    Yields:
        The table, the method of the row, the column's headings, and what is printed.
    """
    for table in shipped_tables(file)["table"]:
        columns = [*zip(*(table[key] for key in headings), strict=True)]
        for method, row in table["rows"].items():
            for column, cell in zip(columns, row, strict=True):
                yield table, method, column, cell


@dataclass(frozen=True)
class Figure:
    """A published number.

    Args:
        method: The row.
        percent: mIoU, or IoU of class 1, as printed.
        table: Title of the table.
        encoder: The image tower of the table.
        settings: Settings that a comparable run has; empty: no run is comparable.
        note: Remark on the table.
    """

    method: str
    percent: float
    table: str
    encoder: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {name: getattr(self, name) for name in ("method", "percent", "encoder", "table", "note")}


def figures(card: DatasetCard) -> list[Figure]:
    """Everything published on a card's data set, table by table."""
    return [figure for column, figure in _published() if column == card.column]


def comparable(card: DatasetCard, settings: Mapping[str, Any]) -> Figure | None:
    """The published figure that was made with the settings of a run.

    Args:
        card: The data set.
        settings: Settings of the run, by the names in `COMPARED` at least.

    Returns:
        The first row with these settings, or None.
    """
    for figure in figures(card):
        required = {"model": figure.encoder, "resize": card.resize, **figure.settings}
        required = {key: getattr(card, key) if value == "card" else value for key, value in required.items()}
        if figure.settings and all(_equal(settings[key], value) for key, value in required.items()):
            return figure
    return None


def main_figure(card: DatasetCard) -> Figure | None:
    """The published figure of the card's own settings."""
    return comparable(card, {key: getattr(card, key) for key in COMPARED})


def _equal(first: Any, second: Any) -> bool:
    return first == second if isinstance(first, str) else math.isclose(first, second, abs_tol=1e-9)


@lru_cache(maxsize=1)
def _published() -> list[tuple[str, Figure]]:
    return [
        (column, Figure(method, cell, table["title"], table["encoder"],
                        table.get("settings", {}).get(method, {}), table.get("note", "")))
        for table, method, (column,), cell in printed_cells("published.toml", "columns")
        if not math.isnan(cell)
    ]  # fmt: skip


_ADAPTER = TypeAdapter(DatasetCard)
