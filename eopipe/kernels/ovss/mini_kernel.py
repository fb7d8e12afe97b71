"""The ``ovss`` kernel with a model that looks at pixels, not patches: ``mini``.

Its net is convolutional, so windows of 512 x 512 lie side by side on the absolute lattice, each computed with a halo
that holds the receptive field: a pixel's bytes depend on its surroundings only, never on the tile
(docs/ARCHITECTURE.md, "Tiles, tasks, seams"). A pixel's vector is a mixture of the concepts' vectors, so its cosine
with a phrase needs only the mixture's weights: the vector itself, hundreds of numbers long, is never made.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch

from eopipe.grid import CELL
from eopipe.kernelinfo import Inputs, KernelInfo, Window
from eopipe.kernels.base import BaseKernel, factor_of, gsd_warnings
from eopipe.kernels.known_words import NAMED
from eopipe.kernels.ovss.class_scores import class_scores
from eopipe.kernels.ovss.strip_arrays import StripArrays, score_arrays
from eopipe.kernels.ovss.taught_vocabulary import TaughtVocabulary
from eopipe.kernels.protocol import ALONE, Result
from eopipe.models.mini import words
from eopipe.models.mini.net import ALIGN, GSD, HALO
from eopipe.models.mini.phrases import CONCEPTS
from eopipe.models.mini.runner import MiniRunner, load_mini
from eopipe.models.registry import get_model
from eopipe.models.registry_entry import DenseEntry
from eopipe.models.weights import file_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from eopipe.grid import PixelBox
    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.ovss.options import DenseOptions
    from eopipe.kernels.protocol import StripContext

VERSION = "1"

assert CELL % ALIGN == 0

_WINDOW_BYTES_A_PIXEL = 500
"""Peak bytes of the net's activations a window pixel; measured (tests/bench/bench_mini.py)."""


def create(options: DenseOptions, *, resolution: float) -> DenseOvss:
    """Make the kernel; see :func:`eopipe.kernels.registry.create`."""
    entry = get_model(options.model)
    assert isinstance(entry, DenseEntry), "the options were chosen by the model"
    return DenseOvss(options, entry, TaughtVocabulary.read(options), factor=factor_of(options.gsd, resolution))


class DenseOvss(BaseKernel[MiniRunner]):
    """The kernel; see the module."""

    def __init__(
        self, options: DenseOptions, entry: DenseEntry, vocabulary: TaughtVocabulary, *, factor: int
    ) -> None:
        super().__init__(_describe(options, entry, vocabulary, factor))
        self._options, self._entry, self._vocabulary = options, entry, vocabulary
        self._mixture = MixtureCosines(words.concept_vectors(), vocabulary.text, sharpness=entry.sharpness)

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:  # noqa: ARG002  (L1C and L2A alike)
        """Warn of prompts that mean the same, and of a ground sample distance far from what the model has seen."""
        gsd = resolution / self._info.factor
        return [*self._vocabulary.alike(), *gsd_warnings(self._options.model, self._entry.gsd, gsd)]

    def words(self) -> Sequence[WordNote]:
        """How near each phrase is to what was taught; see :class:`eopipe.kernels.known_words.KnowsWords`."""
        return self._vocabulary.notes

    def _read(self, *, device: str, threads: int) -> MiniRunner:  # noqa: ARG002  (torch's are set by the caller)
        return load_mini(self._entry, device=device)

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes beside a strip's pixels and results: one window's work, and the means of coarser pixels."""
        side, factor = self._info.window.size, self._info.factor
        queries, classes = len(self._vocabulary.queries), len(self._vocabulary.names)
        means = 2 * 4 * classes * shape[0] * shape[1] // factor**2 if factor > 1 else 0
        window = 4 * CELL * CELL * (3 * queries + 2 * classes + 3 * len(CONCEPTS))
        return _WINDOW_BYTES_A_PIXEL * side * side + window + means

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, context: StripContext = ALONE
    ) -> Result:
        """Map one strip; see :class:`eopipe.kernels.protocol.Kernel`."""
        net, query_class = self.net, self._vocabulary.query_class
        halo, outer = self._info.window.halo, box.pad(self._info.window.halo)
        maps = StripArrays(
            box, valid[0][box.slices(outer)], factor=self._info.factor, classes=max(query_class) + 1,
            threshold=self._options.threshold, background=self._vocabulary.background,
        )  # fmt: skip
        needed = valid[0] if context.inside is None else valid[0] & context.inside
        for window in box.blocks(CELL):
            rows, cols = window.pad(halo).slices(outer)
            if needed[window.slices(outer)].any():  # else no pixel is valid and inside the area: it stays 0
                weights = net.concepts(pixels[0][:, rows, cols], valid[0][rows, cols], crop=halo)
                cosines = self._mixture.cosines(torch.from_numpy(weights))
                maps.put_window(window, class_scores(cosines, query_class, self._options.scale))
        return Result(maps.arrays())


class MixtureCosines:
    """A pixel's vector is ``z = sum_k w_k^s v_k``; its cosine with a phrase, without ever making it.

    ``z·t`` is a mixture of the products ``v_k·t``, and ``|z|²`` one of the products ``v_k·v_l``: per pixel as many
    multiplications as there are concepts, not as the vectors are long.

    Args:
        concepts: ``[K, C]``, one vector a concept.
        text: ``[Q, C]`` unit vectors of the phrases.
        sharpness: The power that weights are raised to. A phrase's own cosine with its concept lies between 0.4 and
            1, so that at a mixed pixel the phrase nearest to the taught words would win, not the larger share;
            sharper weights make such pixels few.
    """

    def __init__(self, concepts: NDArray[np.float32], text: NDArray[np.float32], *, sharpness: float) -> None:
        vectors = torch.from_numpy(concepts)
        self._products = torch.cat([vectors @ torch.from_numpy(text).T, vectors @ vectors.T], dim=1)
        self._queries, self._sharpness = len(text), sharpness

    @torch.inference_mode()
    def cosines(self, weights: Tensor) -> Tensor:
        """Cosines of every phrase at every pixel.

        Args:
            weights: ``[K, y, x]``, sum 1.

        Returns:
            ``[y, x, Q]`` float32.
        """
        mixture = weights.flatten(1).pow(self._sharpness)
        products = mixture.T @ self._products
        length = (mixture.T * products[:, self._queries :]).sum(dim=1).clamp_min(1e-12).sqrt()
        return (products[:, : self._queries] / length[:, None]).view(*weights.shape[1:], -1)


def _describe(options: DenseOptions, entry: DenseEntry, vocabulary: TaughtVocabulary, factor: int) -> KernelInfo:
    return KernelInfo(
        name="ovss",
        version=VERSION,
        inputs=Inputs("optical", entry.bands, gsd=GSD),
        window=Window(size=CELL + 2 * HALO, stride=CELL, halo=HALO),
        arrays=score_arrays(vocabulary.classes()),
        options=options.complete(),
        weights={**file_sha256(entry.weights), **vocabulary.weights, "words as read": _reading(entry)},
        factor=factor,
        provenance={**entry.provenance, "queries": list(vocabulary.queries)},
    )


def _reading(entry: DenseEntry) -> str:
    """A hash over the numbers, beside the files, that stand between pixels, phrases and cosines.

    Not over the phrases' vectors: two processors may differ in their last bits, and a run may move to another.
    """
    numbers = [entry.sharpness, entry.mean, entry.std, words.SHARPNESS, NAMED, [concept.name for concept in CONCEPTS]]
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()
