"""From the values of a label file to class numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.errors import SpecError
from eopipe.evaluation.metrics import IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LabelRule:
    """How a data set writes its classes down.

    Args:
        classes: How many there are.
        reduce_zero: Files hold 0 for what is not judged and class + 1 for the rest (mmsegmentation's
            ``reduce_zero_label``).
        binarise: Lowest value that is class 1, everything below being class 0; None: values are classes. A file that
            holds only 0 and 1 has been converted before, and is taken as it is.
        colours: RGB to class (or 255) for files that are pictures of the classes; empty: none are known.
        ignore_unknown: Values that mean nothing become 255 (as in mmsegmentation's converters) instead of an error.
    """

    classes: int
    reduce_zero: bool = False
    binarise: int | None = None
    colours: Mapping[Colour, int] = field(default_factory=dict)
    ignore_unknown: bool = False

    def __call__(
        self, label: NDArray[Any], where: str, palette: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Class numbers.

        Args:
            label: As stored: integers ``[H, W]``, or colours ``[H, W, 3]``.
            where: The file, for messages.
            palette: Colours ``[N, 3]`` of a paletted file; its pixels are the palette's rows.

        Returns:
            uint8 ``[H, W]``: 0 … classes - 1, or 255 for what is not judged.

        Raises:
            SpecError: A value or a colour means nothing.
        """
        if palette is not None and label.ndim == 2 and self._by_palette(label, palette):
            label = palette[label]
        if label.ndim == 3 and not self.colours and (label == label[..., :1]).all():
            label = label[..., 0]  # grey, stored as three equal bands
        if label.ndim == 3:
            return self._from_colours(label, where)
        if not np.issubdtype(label.dtype, np.integer) and label.dtype != np.bool_:
            raise SpecError(f"label {where} holds {label.dtype}; store classes as whole numbers from 0 to 255")
        return self._from_values(label, where)

    def _by_palette(self, label: NDArray[Any], palette: NDArray[np.uint8]) -> bool:
        """Whether a paletted file means its colours: all in use are known, one is not black; no ramp of grey."""
        if (palette == np.arange(len(palette))[:, None]).all():
            return False
        used = [tuple(map(int, palette[value])) for value in np.unique(label) if value < len(palette)]
        return all(colour in self.colours for colour in used) and any(any(colour) for colour in used)

    def _from_colours(self, label: NDArray[Any], where: str) -> NDArray[np.uint8]:
        if not self.colours:
            raise SpecError(f"label {where} is a colour picture, and this card knows no colours; store class numbers")
        keys = np.array([_packed(colour) for colour in self.colours], np.uint32)
        order = np.argsort(keys)
        values = np.array([*self.colours.values()], np.uint8)[order]
        packed = label.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        at = np.minimum(np.searchsorted(keys[order], packed), len(keys) - 1)
        found = values[at]
        unknown = keys[order][at] != packed
        if unknown.any() and not self.ignore_unknown:
            first = label[unknown][0].tolist()
            raise SpecError(
                f"label {where}: colour {tuple(first)} on {int(unknown.sum()):,} pixels is none of the card's"
                f" {len(keys)}; mend the file, or ignore such pixels with --unknown ignore"
            )
        found[unknown] = IGNORE
        return found

    def _from_values(self, label: NDArray[Any], where: str) -> NDArray[np.uint8]:
        if self.binarise is not None:
            least = 1 if label.max(initial=0) <= 1 else self.binarise
            return (label >= least).astype(np.uint8)
        values = label.astype(np.int64)
        if self.reduce_zero:
            values = np.where((values == 0) | (values == IGNORE), IGNORE, values - 1)
        unknown = ((values < 0) | (values >= self.classes)) & (values != IGNORE)
        if unknown.any() and not self.ignore_unknown:
            shift = int(self.reduce_zero)
            told = ", ".join(map(str, np.unique(label[unknown])[:5].tolist()))
            raise SpecError(
                f"label {where}: value {told} on {int(unknown.sum()):,} pixels is none of the classes"
                f" {shift} to {self.classes - 1 + shift}{', nor 0' * shift}, nor 255; is it another set's, or not"
                " converted yet? Mend it, or ignore such pixels with --unknown ignore"
            )
        values[unknown] = IGNORE
        return values.astype(np.uint8)


def _packed(colour: Colour) -> int:
    red, green, blue = colour
    return red << 16 | green << 8 | blue
