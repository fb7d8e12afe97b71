"""The lattice windows of one strip: which there are, what the tower sees of them, and their logits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch

from eopipe.errors import TileFault
from eopipe.kernels.ovss.segmentor import lay_windows
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
class ScoredWindow:
    """A window with its logits ``[y, x, Q]`` and, where the run stores them, features ``[tokens, C]``.

    The class token comes first.
    """

    window: PixelBox
    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None


@dataclass(frozen=True)
class StripWindows:
    """A strip's pixels, and how its windows are scored.

    Args:
        segmentor: The model with its words.
        picture_of: Turns ``[band, y, x]`` and ``[y, x]`` validity into what the tower sees, ``[3, y, x]``.
        pixels: ``[band, y, x]`` over ``outer``.
        valid: ``[y, x]`` likewise.
        outer: The strip with its halo.
        group: Windows that share a pass: neighbours in a lattice row, beginning at a multiple of ``group``.
        stored: Features that are scored instead of encoding; None encodes.
        inside: ``[y, x]`` over ``outer``: the pixels inside the area of interest; None: all.
        gives_features: Whether the windows' features are handed out.
    """

    segmentor: Segmentor
    picture_of: Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.float32]]
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    outer: PixelBox
    group: int
    stored: FeatureSource | None
    inside: NDArray[np.bool_] | None
    gives_features: bool

    def rows(self, box: PixelBox, *, carried: bool) -> Iterator[tuple[int, Iterator[ScoredWindow]]]:
        """The windows that a box needs, by their first row, downwards.

        Those without a valid pixel, or without one inside the area of interest, are left out.

        Args:
            box: The strip.
            carried: Whether the strip above has scored the windows that begin above this one.
        """
        windows = (
            window
            for window in lay_windows(box, size=SIZE, stride=STRIDE, lattice=True)
            if not (carried and window.row0 < box.row0) and self._is_needed(window)
        )
        for row, windows_of_row in groupby(windows, key=lambda window: window.row0):
            yield row, self._scored(list(windows_of_row))

    def _is_needed(self, window: PixelBox) -> bool:
        pixels = window.slices(self.outer)
        return bool(self.valid[pixels].any()) and (self.inside is None or bool(self.inside[pixels].any()))

    def _scored(self, windows: list[PixelBox]) -> Iterator[ScoredWindow]:
        for _, group in groupby(windows, key=lambda window: window.col0 // STRIDE // self.group):
            yield from self._pass(list(group))

    def _pass(self, windows: list[PixelBox]) -> Iterator[ScoredWindow]:
        """One pass, always of ``group`` windows; a window's slot among them is fixed on the lattice."""
        slots = [window.col0 // STRIDE % self.group for window in windows]
        batch = np.zeros((self.group, 3, SIZE, SIZE), np.float32)
        for slot, window in zip(slots, windows, strict=True):
            rows, cols = window.slices(self.outer)
            batch[slot] = self.picture_of(self.pixels[:, rows, cols], self.valid[rows, cols])
        device = self.segmentor.text.device
        pictures = torch.from_numpy(batch).to(device)
        with torch.inference_mode():
            features = self.segmentor.encoder(pictures) if self.stored is None else self._stored(windows, slots)
            logits = self.segmentor.score(features, pictures).cpu().numpy()
        tokens = _tokens(features) if self.gives_features else None
        for slot, window in zip(slots, windows, strict=True):
            yield ScoredWindow(window, logits[slot], None if tokens is None else tokens[slot])

    def _stored(self, windows: list[PixelBox], slots: list[int]) -> Features:
        """Stored features of a group, as the tower would have given them."""
        assert self.stored is not None
        patch, width = self.segmentor.encoder.patch, self.segmentor.encoder.width
        side = SIZE // patch
        tokens = np.zeros((self.group, tokens_of(patch), width), np.float32)
        for slot, window in zip(slots, windows, strict=True):
            row, col = window.row0 // STRIDE, window.col0 // STRIDE
            stored = self.stored.get(row, col)
            if stored is None:
                raise TileFault("features.missing", f"no features were kept of window {row}, {col}")
            tokens[slot] = stored
        stacked = torch.from_numpy(tokens).to(self.segmentor.text.device)
        patches = stacked[:, 1:].transpose(1, 2).reshape(self.group, -1, side, side).contiguous()
        return Features(cls=stacked[:, 0].contiguous(), patches=patches)


@torch.inference_mode()
def _tokens(features: Features) -> NDArray[np.float32]:
    """``[B, tokens, C]``, the class token first."""
    rows = torch.cat([features.cls[:, None], features.patches.flatten(2).transpose(1, 2)], dim=1)
    return np.asarray(rows.cpu().numpy())
