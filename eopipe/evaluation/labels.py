"""Class numbers from the values of a label file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.errors import SpecError
from eopipe.evaluation.metrics import IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelRule:
    """How the label files of a data set encode classes.

    Args:
        classes: Number of classes.
        reduce_zero: Files hold 0 for pixels that are not judged and class + 1 for the others (mmsegmentation's
            ``reduce_zero_label``).
        binarise: Lowest value that is class 1, everything below being class 0; None: values are classes. A file that
            holds only 0 and 1 is binary already, and is used as it is.
        colours: RGB to class (or 255) for files that are pictures of the classes; empty: the set has no such files.
        ignore_unknown: Values without a class become 255 (as in mmsegmentation's converters) instead of an error.
    """

    classes: int
    reduce_zero: bool = False
    binarise: int | None = None
    colours: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    ignore_unknown: bool = False

    def __call__(self, label: NDArray[Any], path: str, palette: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Class numbers of a label file.

        Args:
            label: As stored: integers ``[H, W]``, or colours ``[H, W, 3]``.
            path: The file, for messages.
            palette: Colours ``[N, 3]`` of a paletted file; its pixels are the palette's rows.

        Returns:
            uint8 ``[H, W]``: 0 … classes - 1, or 255 where not judged.

        Raises:
            SpecError: A value or a colour has no class.
        """
        if palette is not None and label.ndim == 2 and self._by_palette(label, palette):
            label = palette[label]
        if label.ndim == 3 and not self.colours and (label == label[..., :1]).all():
            label = label[..., 0]  # grey, stored as three equal bands
        if label.ndim == 3:
            return self._from_colours(label, path)
        if not np.issubdtype(label.dtype, np.integer) and label.dtype != np.bool_:
            raise SpecError(f"label {path} holds {label.dtype}; store classes as whole numbers from 0 to 255")
        return self._from_values(label, path)

    def _by_palette(self, label: NDArray[Any], palette: NDArray[np.uint8]) -> bool:
        """Whether the palette holds the classes: all colours in use are known, one is not black, no ramp of grey."""
        if (palette == np.arange(len(palette))[:, None]).all():
            return False
        used = [tuple(map(int, palette[value])) for value in np.unique(label) if value < len(palette)]
        return all(colour in self.colours for colour in used) and any(any(colour) for colour in used)

    def _from_colours(self, label: NDArray[Any], path: str) -> NDArray[np.uint8]:
        if not self.colours:
            raise SpecError(f"label {path} is a colour picture, and this card has no colours; store class numbers")
        table = sorted((red << 16 | green << 8 | blue, number) for (red, green, blue), number in self.colours.items())
        keys = np.array([key for key, _ in table], np.uint32)
        classes = np.array([number for _, number in table], np.uint8)
        packed = label.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        row = np.minimum(np.searchsorted(keys, packed), len(keys) - 1)
        truth, unknown = classes[row], keys[row] != packed
        if unknown.any() and not self.ignore_unknown:
            first = label[unknown][0].tolist()
            raise SpecError(
                f"label {path}: colour {tuple(first)} on {int(unknown.sum()):,} pixels is none of the card's"
                f" {len(keys)}; correct the file, or ignore such pixels with --unknown ignore"
            )
        truth[unknown] = IGNORE
        return truth

    def _from_values(self, label: NDArray[Any], path: str) -> NDArray[np.uint8]:
        if self.binarise is not None:
            least = 1 if label.max(initial=0) <= 1 else self.binarise
            return (label >= least).astype(np.uint8)
        values = label.astype(np.int64)
        if self.reduce_zero:
            values = np.where((values == 0) | (values == IGNORE), IGNORE, values - 1)
        unknown = ((values < 0) | (values >= self.classes)) & (values != IGNORE)
        if unknown.any() and not self.ignore_unknown:
            shift = int(self.reduce_zero)
            first = ", ".join(map(str, np.unique(label[unknown])[:5].tolist()))
            raise SpecError(
                f"label {path}: value {first} on {int(unknown.sum()):,} pixels is none of the classes"
                f" {shift} to {self.classes - 1 + shift}{', nor 0' * shift}, nor 255; is it another set's, or not"
                " converted yet? Correct the file, or ignore such pixels with --unknown ignore"
            )
        values[unknown] = IGNORE
        return values.astype(np.uint8)
