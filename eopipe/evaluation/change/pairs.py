"""Pairs of labelled pictures: which files belong together, and how they become pixels and truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import SpecError
from eopipe.evaluation.change.labels import CHANGE_RULES, damage, either
from eopipe.evaluation.dataset import Sample, SampleReader, and_more, shared_stem
from eopipe.evaluation.read_images import is_picture, picture_shape, read_image, read_label
from eopipe.evaluation.run import Unusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from eopipe.evaluation.change.cards import ChangeCard


def find_pairs(root: Path, card: ChangeCard) -> list[Sample]:
    """The pairs below a set's folder, in order, with any subfolders.

    Raises:
        SpecError: The folders do not exist or are empty, or a file has no partner.
    """
    if not root.is_dir():
        raise SpecError(f"{root} is no folder; give the set's, with {_folders(card)}")
    row = next((row for row in card.folders if all((root / name).is_dir() for name in row)), None)
    if row is None:
        raise SpecError(f"{root} has not {_folders(card)}; give the folder that holds them, or a card with yours")
    before, after, *labels = (
        _index(root / folder, pattern, ".json" if number >= 2 and card.labels == "damage" else None)
        for number, (folder, pattern) in enumerate(zip(row, (*card.names, card.names[2]), strict=False))
    )
    _refuse_alone(before, [(after, row[1]), *zip(labels, row[2:], strict=True)])
    if not before:
        raise SpecError(f"no picture named {card.names[0]} in {root / row[0]}; give the folder that holds them")
    return [
        Sample(key, (str(path), str(after[key])), tuple(str(index[key]) for index in labels))
        for key, path in sorted(before.items())
    ]


def cut(pairs: Sequence[Sample], side: int | None, *, limit: int | None = None) -> Iterator[Sample]:
    """What is judged, in order: pairs, or their pieces where pictures are larger than a side.

    Args:
        pairs: In order.
        side: Side of a piece, pixels; pieces lie side by side, the last ones smaller. None: pictures are used whole.
        limit: Highest number of pairs, before they are cut.
    """
    for pair in pairs[:limit]:
        shape = None if side is None else _shape(pair.images[0])
        if side is None or shape is None or max(shape) <= side:
            yield pair
            continue
        for top in range(0, shape[0], side):
            for left in range(0, shape[1], side):
                yield pair.piece((top, min(top + side, shape[0]), left, min(left + side, shape[1])))


class PairReader(SampleReader):
    """Reads pairs: pictures ``[2, H, W, 3]`` and truth ``[H, W]``, 0, 1, or 255 where not judged.

    Args:
        card: Says how labels are read.
        number: Of ``either``: the code of the category.
    """

    def __init__(self, card: ChangeCard, *, number: int | None = None) -> None:
        self._card, self._number = card, number

    def read(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The pictures of both dates and the truth.

        Raises:
            Unusable: A file cannot be read, or their shapes differ.
            SpecError: A label holds a value without a class.
        """
        try:
            dates = [read_image(path) for path in sample.images]
            if self._card.labels == "damage":
                truth = damage(Path(sample.labels[0]), dates[1].shape[:2])
                labels = []
            else:
                labels = [read_label(path) for path in sample.labels]
                truth = np.zeros(labels[0].values.shape[:2], np.uint8)
        except SpecError as error:
            raise Unusable(str(error)) from None
        shapes = {array.shape[:2] for array in (*dates, truth, *(label.values for label in labels))}
        if len(shapes) > 1:
            sizes = ", ".join(f"{width} x {height}" for height, width in sorted(shapes))
            raise Unusable(f"the files of {sample.key} differ in size ({sizes})")
        if self._card.labels == "either":
            assert self._number is not None, "a category of such a set has a number"
            truth = either(labels, sample.labels, self._number)
        elif labels:
            truth = CHANGE_RULES[self._card.labels](labels[0].values, sample.labels[0], labels[0].palette)
        return np.stack(dates), truth


def _shape(address: str) -> tuple[int, int] | None:
    """Rows and columns of a picture; None where it cannot be read, which `PairReader` reports."""
    try:
        return picture_shape(address)
    except SpecError:
        return None


def _index(folder: Path, pattern: str, suffix: str | None) -> dict[str, Path]:
    """Files by what they share with their partners: the subfolder, and the text under the pattern's star."""
    index: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() != suffix if suffix else not is_picture(path):
            continue
        shared = shared_stem(pattern, path.name)
        if shared is None:
            continue
        key = (path.relative_to(folder).parent / shared).as_posix()
        if key in index:
            raise SpecError(f"{path} and {index[key]} have one name; keep one of them")
        index[key] = path
    return index


def _refuse_alone(before: dict[str, Path], partners: Sequence[tuple[dict[str, Path], str]]) -> None:
    for index, folder in partners:
        alone = [(before[key], f"has no partner in {folder}/") for key in sorted(before.keys() - index.keys())]
        alone += [(index[key], "has no earlier picture") for key in sorted(index.keys() - before.keys())]
        if alone:
            (path, problem), more = alone[0], and_more(len(alone) - 1)
            raise SpecError(f"{path} {problem}{more}; a pair is two pictures and its labels")


def _folders(card: ChangeCard) -> str:
    return " or ".join(", ".join(f"{name}/" for name in dict.fromkeys(row)) for row in card.folders)
