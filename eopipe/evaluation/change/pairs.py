"""Pairs of labelled pictures: which belong together, and how their files become pixels and truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import SpecError
from eopipe.evaluation.change.labels import CHANGE_RULES, damage, either
from eopipe.evaluation.dataset import shared_part
from eopipe.evaluation.read_images import is_picture, read_image, read_label
from eopipe.evaluation.run import Unusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from eopipe.evaluation.change.cards import ChangeCard


@dataclass(frozen=True)
class PairSample:
    """What is judged as one picture: a pair, or a piece of one.

    Args:
        key: Names it within the set, as a relative path.
        before: The earlier picture's path.
        after: The later one's.
        labels: Of the label file, or of two where each date has its own.
        window: Rows and columns ``(y0, y1, x0, x1)`` of the piece; None: all.
    """

    key: str
    before: str
    after: str
    labels: tuple[str, ...]
    window: tuple[int, int, int, int] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that it is read from."""
        return self.before, self.after, *self.labels


def find_pairs(root: Path, card: ChangeCard) -> list[PairSample]:
    """The pairs below a set's folder, in order, with any subfolders.

    Raises:
        SpecError: The folders are not there, are empty, or a file has no partner.
    """
    if not root.is_dir():
        raise SpecError(f"{root} is no folder; give the set's, with {_rows(card)}")
    row = next((row for row in card.folders if all((root / name).is_dir() for name in row)), None)
    if row is None:
        raise SpecError(f"{root} has not {_rows(card)}; give the folder that holds them, or a card with yours")
    before, after, *labels = (
        _index(root / folder, pattern, ".json" if number >= 2 and card.labels == "damage" else None)
        for number, (folder, pattern) in enumerate(zip(row, (*card.names, card.names[2]), strict=False))
    )
    _refuse_alone(before, [(after, row[1]), *zip(labels, row[2:], strict=True)])
    if not before:
        raise SpecError(f"no picture named {card.names[0]} in {root / row[0]}; give the folder that holds them")
    return [
        PairSample(key, str(path), str(after[key]), tuple(str(index[key]) for index in labels))
        for key, path in sorted(before.items())
    ]


def cut(pairs: Sequence[PairSample], side: int | None, *, limit: int | None = None) -> Iterator[PairSample]:
    """What is judged, in order: pairs, or their pieces where pictures are larger than a side.

    Args:
        pairs: In order.
        side: Pixels of a piece's side; pieces lie side by side, the last ones smaller. None: pictures are used whole.
        limit: At most so many pairs, before they are cut.
    """
    for pair in pairs[:limit]:
        shape = None if side is None else _shape(pair.before)
        if side is None or shape is None or max(shape) <= side:
            yield pair
            continue
        for top in range(0, shape[0], side):
            for left in range(0, shape[1], side):
                window = top, min(top + side, shape[0]), left, min(left + side, shape[1])
                yield PairSample(
                    "_".join(map(str, (pair.key, *window))), pair.before, pair.after, pair.labels, window
                )


class PairReader:
    """Reads samples; the last files stay in memory, for the pieces of one pair follow each other.

    Args:
        card: Says how labels are read.
        category: What was asked for.
        number: Of ``either``: the category's code.
    """

    def __init__(self, card: ChangeCard, *, number: int | None = None) -> None:
        self._card, self._number = card, number
        self._files: tuple[str, ...] = ()
        self._content: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def __call__(self, sample: PairSample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """A sample's pictures ``[2, H, W, 3]``, red first, and its truth ``[H, W]``: 0, 1, 255 not judged.

        Raises:
            Unusable: A file cannot be read, or their shapes differ.
            SpecError: A label holds values that mean nothing.
        """
        if self._files != sample.files or self._content is None:
            self._content, self._files = self._read(sample), sample.files
        pictures, truth = self._content
        if sample.window is None:
            return pictures, truth
        top, bottom, left, right = sample.window
        return pictures[:, top:bottom, left:right], truth[top:bottom, left:right]

    def _read(self, sample: PairSample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        try:
            dates = [read_image(path) for path in (sample.before, sample.after)]
            if self._card.labels == "damage":
                truth = damage(Path(sample.labels[0]), dates[1].shape[:2])
                stored = []
            else:
                stored = [read_label(path) for path in sample.labels]
                truth = np.zeros(stored[0].values.shape[:2], np.uint8)
        except SpecError as error:
            raise Unusable(str(error)) from None
        shapes = {each.shape[:2] for each in (*dates, truth, *(label.values for label in stored))}
        if len(shapes) > 1:
            told = ", ".join(f"{width} x {height}" for height, width in sorted(shapes))
            raise Unusable(f"the files of {sample.key} differ in size ({told})")
        if self._card.labels == "either":
            assert self._number is not None, "a category of such a set has a number"
            truth = either(stored, sample.labels, self._number)
        elif stored:
            truth = CHANGE_RULES[self._card.labels](stored[0].values, sample.labels[0], stored[0].palette)
        return np.stack(dates), truth


def _shape(address: str) -> tuple[int, int] | None:
    """Of a picture; None: it cannot be read, which its reader will tell."""
    from eopipe.evaluation.read_images import picture_shape  # noqa: PLC0415

    try:
        return picture_shape(address)
    except SpecError:
        return None


def _index(folder: Path, pattern: str, suffix: str | None) -> dict[str, Path]:
    """Files by what they share with their partners: their subfolder and the star's part of the name."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() != suffix if suffix else not is_picture(path):
            continue
        part = shared_part(pattern, path.name)
        if part is None:
            continue
        key = (path.relative_to(folder).parent / part).as_posix()
        if key in found:
            raise SpecError(f"{path} and {found[key]} have one name; keep one of them")
        found[key] = path
    return found


def _refuse_alone(before: dict[str, Path], others: Sequence[tuple[dict[str, Path], str]]) -> None:
    for index, folder in others:
        missing = sorted(before.keys() - index.keys())
        extra = sorted(index.keys() - before.keys())
        more = len(missing) + len(extra) - 1
        if missing:
            raise SpecError(
                f"{before[missing[0]]} has no partner in {folder}/{_and(more)}; a pair is two pictures and its labels"
            )
        if extra:
            raise SpecError(
                f"{index[extra[0]]} has no earlier picture{_and(more)}; a pair is two pictures and its labels"
            )


def _and(more: int) -> str:
    return f" (and {more:,} more have none)" if more else ""


def _rows(card: ChangeCard) -> str:
    return " or ".join(", ".join(f"{name}/" for name in dict.fromkeys(row)) for row in card.folders)
