"""What a benchmark data set is, and how its papers run it: one frozen card a set."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from eopipe.errors import SpecError
from eopipe.evaluation.labels import LabelRule

Side = Annotated[int, Field(ge=1)]
Channel = Annotated[int, Field(ge=0, le=255)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Card:
    """A labelled data set and the settings its published figures were made with (arXiv 2410.01768, 2508.18067).

    Attributes:
        name: What ``eopipe eval`` calls it.
        title: What people call it, with the split.
        classes: Classes between ``|``, synonyms between ``,``; the order is the class number.
        threshold: A pixel whose best class has a lower score becomes ``background``.
        background: That class's number.
        metric: What is published: the mean over all classes, or the second class's IoU.
        modality: ``optical`` or ``sar``.
        column: The set's column in the published tables; None: no figure is known.
        bias: Lambda of the global bias alleviation.
        resize: Long side of the picture that the model sees, pixels.
        crop: Side of a window in that picture; 0: the whole picture at once.
        stride: Distance of windows.
        attention: Of the image tower's last blocks.
        last_layers: How many of them.
        upsampler: From patches to pixels.
        model: As ``eopipe models`` lists it.
        reduce_zero: See `LabelRule`.
        binarise: See `LabelRule`.
        colours: Rows of red, green, blue, class (255: not judged).
        patch: Rows and columns of the pieces that larger images are cut in; None: images are used whole.
        patch_stride: Distance of pieces; the last ones are shifted back inside.
        patch_pad: Whether an image smaller than a piece is padded, black, without truth.
        image_names: Names of images without suffix, ``*`` standing for what image and label share; tried in order.
        label_names: Likewise of labels.
        skip: Names that are neither.
        images: How many (after cutting) the published figure was measured on; None: not stated.
        gsd: Metres, as its authors say; empty: not stated.
        licence: Its terms, in short.
        note: What else must be known.
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
        """What each class is asked for by."""
        return parse_classes(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, each by its first word."""
        return tuple(words[0] for words in self.synonyms)

    def label_rule(self, *, ignore_unknown: bool = False) -> LabelRule:
        """How its label files are read."""
        return LabelRule(
            classes=len(self.names),
            reduce_zero=self.reduce_zero,
            binarise=self.binarise,
            colours={(red, green, blue): number for red, green, blue, number in self.colours},
            ignore_unknown=ignore_unknown,
        )


def parse_classes(text: str) -> tuple[tuple[str, ...], ...]:
    """Classes and their synonyms: ``"background | building,roof"``, or one class a line."""
    lines = text.replace("\n", "|").split("|")
    return tuple(tuple(word.strip() for word in line.split(",")) for line in lines if line.strip())


def find_card(name: str) -> Card:
    """A shipped card by name, or a user's by the path of a TOML file with the same keys.

    Raises:
        SpecError: No such card, or the file is none.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    try:
        return cards()[name]
    except KeyError:
        raise SpecError(
            f"no card {name!r}; there are {', '.join(cards())}; or give the path of a card of your own, FILE.toml"
        ) from None


@lru_cache(maxsize=1)
def cards() -> dict[str, Card]:
    """The shipped cards by name, in the papers' order."""
    text = resources.files("eopipe.evaluation").joinpath("data/cards.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    radar = {**tables["defaults"], **{key: value for key, value in tables["sar"].items() if key != "card"}}
    rows = [(tables["defaults"], row) for row in tables["card"]] + [(radar, row) for row in tables["sar"]["card"]]
    raw: dict[str, dict[str, Any]] = {}
    for defaults, row in rows:
        start = raw[row["like"]] if "like" in row else defaults
        raw[row["name"]] = {**start, **{key: value for key, value in row.items() if key != "like"}}
    return {name: _card(row) for name, row in raw.items()}


def _read(path: Path) -> Card:
    try:
        return _card(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SpecError(f"card {path} does not exist; give the path of a TOML file, or a name of --list") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SpecError(f"card {path} cannot be read ({error}); mend it") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "card"
        raise SpecError(f"card {path}: {where}: {first['msg']}; see the keys in docs/EVALUATION.md") from None


def _card(row: dict[str, Any]) -> Card:
    return _ADAPTER.validate_python(row)


_ADAPTER = TypeAdapter(Card)
