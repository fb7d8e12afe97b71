"""The lattice windows of one strip: which there are, what the tower sees of them, and their logits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch

from eopipe.errors import TileFault
from eopipe.kernels.ovss.windows import lay_windows
from eopipe.models.clip.vision import Features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.ovss.segmentor import Segmentor
    from eopipe.kernels.protocol import FeatureSource

SIZE, STRIDE = 224, 112
"""The published window and its stride, in pixels."""

assert SIZE % STRIDE == 0  # so that every pixel lies in equally many windows
OVERLAP = (SIZE // STRIDE) ** 2
"""Windows that a pixel lies in."""


def tokens_of(patch: int) -> int:
    """Rows of a window's features: the class token's, and one a patch."""
    return (SIZE // patch) ** 2 + 1


@dataclass(frozen=True)
class Scored:
    """A window with its logits ``[y, x, Q]`` and, where asked, features ``[tokens, C]`` (the class token first)."""

    window: PixelBox
    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None


@dataclass(frozen=True)
class StripWindows:
    """A strip's pixels, and how its windows are scored.

    Args:
        segmentor: The model with its words.
        look: Turns ``[band, y, x]`` and ``[y, x]`` validity into what the tower sees, ``[3, y, x]``.
        pixels: ``[band, y, x]`` over ``outer``.
        valid: ``[y, x]`` likewise.
        outer: The strip with its halo.
        group: Windows that share a pass: neighbours in a lattice row, beginning at a multiple of ``group``.
        kept: Features that are scored instead of encoding; None encodes.
        wanted: ``[y, x]`` over ``outer``: the pixels that somebody will see; None: all.
        keep: Whether the windows' features are handed out.
    """

    segmentor: Segmentor
    look: Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.float32]]
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    outer: PixelBox
    group: int
    kept: FeatureSource | None
    wanted: NDArray[np.bool_] | None
    keep: bool

    def rows(self, box: PixelBox, *, carried: bool) -> Iterator[tuple[int, Iterator[Scored]]]:
        """The windows that a box needs, by their first row, downwards.

        Those without a valid pixel, or without one that somebody will see, are left out.

        Args:
            box: The strip.
            carried: Whether the strip above has scored the windows that begin above this one.
        """
        windows = (
            window
            for window in lay_windows(box, size=SIZE, stride=STRIDE, lattice=True)
            if not (carried and window.row0 < box.row0) and self._matters(window)
        )
        for row, found in groupby(windows, key=lambda window: window.row0):
            yield row, self._scored(list(found))

    def _matters(self, window: PixelBox) -> bool:
        place = window.slices(self.outer)
        return bool(self.valid[place].any()) and (self.wanted is None or bool(self.wanted[place].any()))

    def _scored(self, windows: list[PixelBox]) -> Iterator[Scored]:
        for _, group in groupby(windows, key=lambda window: window.col0 // STRIDE // self.group):
            yield from self._pass(list(group))

    def _pass(self, windows: list[PixelBox]) -> Iterator[Scored]:
        """One pass, always of ``group`` windows; a window's place among them is fixed on the lattice."""
        places = [window.col0 // STRIDE % self.group for window in windows]
        batch = np.zeros((self.group, 3, SIZE, SIZE), np.float32)
        for place, window in zip(places, windows, strict=True):
            rows, cols = window.slices(self.outer)
            batch[place] = self.look(self.pixels[:, rows, cols], self.valid[rows, cols])
        device = self.segmentor.text.device
        pictures = torch.from_numpy(batch).to(device)
        with torch.inference_mode():
            features = self.segmentor.encoder(pictures) if self.kept is None else self._read(windows, places)
            logits = self.segmentor.score(features, pictures).cpu().numpy()
        tokens = _tokens(features) if self.keep else None
        for place, window in zip(places, windows, strict=True):
            yield Scored(window, logits[place], None if tokens is None else tokens[place])

    def _read(self, windows: list[PixelBox], places: list[int]) -> Features:
        """Kept features of a group, where the tower would have put them."""
        assert self.kept is not None
        patch, width = self.segmentor.encoder.patch, self.segmentor.encoder.width
        side = SIZE // patch
        tokens = np.zeros((self.group, tokens_of(patch), width), np.float32)
        for place, window in zip(places, windows, strict=True):
            index = window.row0 // STRIDE, window.col0 // STRIDE
            found = self.kept.get(*index)
            if found is None:
                raise TileFault("features.missing", f"no features were kept of window {index[0]}, {index[1]}")
            tokens[place] = found
        stacked = torch.from_numpy(tokens).to(self.segmentor.text.device)
        patches = stacked[:, 1:].transpose(1, 2).reshape(self.group, -1, side, side).contiguous()
        return Features(cls=stacked[:, 0].contiguous(), patches=patches)


@torch.inference_mode()
def _tokens(features: Features) -> NDArray[np.float32]:
    """``[B, tokens, C]``, the class token first."""
    rows = torch.cat([features.cls[:, None], features.patches.flatten(2).transpose(1, 2)], dim=1)
    found: NDArray[np.float32] = rows.cpu().numpy()
    return found
