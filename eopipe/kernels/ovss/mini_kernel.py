"""The ``ovss`` kernel with a model that looks at pixels, not patches: ``mini``.

Its net is convolutional, so windows of 512 x 512 sit side by side on the absolute lattice, each computed with a halo
that holds the receptive field: a pixel's bytes depend on its surroundings only, never on the tile (DESIGN §6.1). A
pixel's vector is a mixture of the concepts' vectors, so its cosine with a phrase needs only the mixture's weights:
the vector itself, hundreds of numbers long, is never made.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eopipe.grid import CELL
from eopipe.kernel_info import Inputs, KernelInfo, Window
from eopipe.kernels.gsd import factor_of, far_from_seen
from eopipe.kernels.ovss.arrays import score_arrays
from eopipe.kernels.ovss.class_scores import class_scores, decide
from eopipe.kernels.ovss.mixture_cosines import Mixing
from eopipe.kernels.ovss.taught_vocabulary import asked
from eopipe.kernels.prompt_concepts import NAMED
from eopipe.kernels.protocol import ALONE, Result
from eopipe.models.mini import words
from eopipe.models.mini.net import ALIGN, GSD, HALO
from eopipe.models.mini.phrases import CONCEPTS
from eopipe.models.mini.runner import load_mini
from eopipe.models.registry import get_model
from eopipe.models.registry_entry import DenseEntry
from eopipe.models.weights import locate, sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from eopipe.grid import PixelBox
    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.ovss.mini_options import DenseOptions
    from eopipe.kernels.ovss.taught_vocabulary import Asked
    from eopipe.kernels.protocol import StripContext
    from eopipe.models.mini.runner import MiniRunner

VERSION = "1"


def create(options: DenseOptions, *, resolution: float) -> DenseOvss:
    """Make the kernel; see :func:`eopipe.kernels.registry.create`."""
    entry = get_model(options.model)
    assert isinstance(entry, DenseEntry), "the registry chose these options by the model"
    return DenseOvss(options, entry, asked(options), factor=factor_of(options.gsd, resolution))


class DenseOvss:
    """The kernel; see the module. Picklable until :meth:`load`, and again after it (weights are re-read)."""

    def __init__(self, options: DenseOptions, entry: DenseEntry, found: Asked, *, factor: int) -> None:
        self._options, self._entry, self._asked = options, entry, found
        self._mixing = Mixing(words.concept_vectors(), found.text, sharpness=entry.sharpness)
        self._runner: MiniRunner | None = None
        self._loaded: tuple[str, int] | None = None
        self._info = _describe(options, entry, found, factor)

    @property
    def info(self) -> KernelInfo:
        """What it is."""
        return self._info

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:  # noqa: ARG002  (L1C and L2A alike)
        """Warn of prompts that mean the same, and of a ground sample distance far from what the model has seen."""
        gsd = resolution / self._info.factor
        return [*self._asked.alike(), *far_from_seen(self._options.model, self._entry.gsd, gsd)]

    def words(self) -> Sequence[WordNote]:
        """How near each phrase is to what was taught; see :class:`eopipe.kernels.known_words.KnowsWords`."""
        return self._asked.notes

    def load(self, *, device: str, threads: int) -> None:
        """Load the net once."""
        if self._loaded != (device, threads):
            self._runner = load_mini(self._entry, device=device)
            self._loaded = (device, threads)

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes beside a strip's pixels and results: one window's work, and the means of coarser pixels."""
        side, factor = self._info.window.size, self._info.factor
        queries, classes = len(self._asked.queries), len(self._asked.names)
        means = 2 * 4 * classes * shape[0] * shape[1] // factor**2 if factor > 1 else 0
        window = 4 * CELL * CELL * (3 * queries + 2 * classes + 3 * len(CONCEPTS))
        return _WINDOW_BYTES_A_PIXEL * side * side + window + means

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, context: StripContext = ALONE
    ) -> Result:
        """Map one strip; see :class:`eopipe.kernels.protocol.Kernel`."""
        runner = self._runner
        assert runner is not None, "load() comes before the first strip"
        halo, outer = self._info.window.halo, box.pad(self._info.window.halo)
        maps = _Maps(self._options, self._asked, box, valid[0][box.slices(outer)], self._info.factor)
        wanted = valid[0] if context.wanted is None else valid[0] & context.wanted
        for window in box.blocks(CELL):
            rows, cols = window.pad(halo).slices(outer)
            if wanted[window.slices(outer)].any():  # else nothing to see, or nobody to see it: it stays 0
                weights = runner.concepts(pixels[0][:, rows, cols], valid[0][rows, cols], crop=halo)
                cosines = self._mixing.cosines(torch.from_numpy(weights))
                maps.put(window, class_scores(cosines, self._asked.query_class, self._options.scale))
        return Result(maps.arrays())

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the loaded net."""
        return {**self.__dict__, "_runner": None, "_loaded": None}


class _Maps:
    """A strip's arrays, filled window by window; where the kernel's pixels are finer than the grid's, from means."""

    def __init__(
        self, options: DenseOptions, found: Asked, box: PixelBox, seen: NDArray[np.bool_], factor: int
    ) -> None:
        self._threshold, self._background = options.threshold, found.background
        self._box, self._seen, self._factor = box, seen, factor
        shape = (box.shape[0] // factor, box.shape[1] // factor)
        self._out = {name: np.zeros(shape, np.uint8) for name in ("label", "confidence")}
        if factor > 1:
            self._sums = np.zeros((*shape, max(found.query_class) + 1), np.float32)

    def put(self, window: PixelBox, scores: Tensor) -> None:
        """Decide a window from its class scores ``[y, x, K]``, or keep them for the means."""
        rows, cols = window.slices(self._box)
        seen = self._seen[rows, cols]
        if self._factor == 1:
            self._write(scores, seen, rows, cols)
            return
        (down, rows), (right, cols) = (_parts(part, self._factor) for part in (rows, cols))
        sums = np.add.reduceat(scores.numpy() * seen[..., None], down, axis=0)
        self._sums[rows, cols] += np.add.reduceat(sums, right, axis=1)  # in window order, whatever the strip

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays, once every window is there."""
        if self._factor > 1:
            rows, cols = self._out["label"].shape
            blocks = (rows, self._factor, cols, self._factor)
            weight = self._seen.reshape(blocks).sum(axis=(1, 3), dtype=np.int32)
            means = self._sums / np.maximum(weight, 1).astype(np.float32)[..., None]
            self._write(torch.from_numpy(means), weight > 0, slice(0, rows), slice(0, cols))
        return dict(self._out)

    def _write(self, scores: Tensor, seen: NDArray[np.bool_], rows: slice, cols: slice) -> None:
        label, best = decide(scores, threshold=self._threshold, background=self._background)
        np.multiply(label.numpy() + 1, seen, out=self._out["label"][rows, cols], casting="unsafe")
        np.multiply(np.rint(best.numpy() * 100), seen, out=self._out["confidence"][rows, cols], casting="unsafe")


def _parts(part: slice, factor: int) -> tuple[NDArray[np.intp], slice]:
    """Where each grid pixel begins within a window's rows or columns, and which grid pixels those are.

    A window's edge may cut a grid pixel (512 is no multiple of 3): the rest of it comes with the next window.
    """
    first, last = part.start // factor, -(-part.stop // factor)
    return np.maximum(np.arange(first, last) * factor - part.start, 0), slice(first, last)


def _describe(options: DenseOptions, entry: DenseEntry, found: Asked, factor: int) -> KernelInfo:
    return KernelInfo(
        name="ovss",
        version=VERSION,
        inputs=Inputs("optical", entry.bands, gsd=GSD),
        window=Window(size=CELL + 2 * HALO, stride=CELL, halo=HALO),
        arrays=score_arrays(found.classes()),
        options=options.complete(),
        weights={
            entry.weights.file: sha256_of(locate(entry.weights)),
            **found.weights,
            "words as read": _reading(entry),
        },
        factor=factor,
        provenance={
            "model": entry.name,
            "version": entry.version,
            "licence": entry.licence,
            "source": entry.weights.origin,
            "citation": entry.citation,
            "queries": list(found.queries),
        },
    )


def _reading(entry: DenseEntry) -> str:
    """A hash over the numbers, beside the files, that stand between pixels, phrases and cosines.

    Not over the phrases' vectors: two processors may differ in their last bits, and a run may move to another.
    """
    numbers = [entry.sharpness, entry.mean, entry.std, words.SHARPNESS, NAMED, [concept.name for concept in CONCEPTS]]
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()


_WINDOW_BYTES_A_PIXEL = 500
"""Peak bytes of the net's activations a window pixel; measured (tests/bench/bench_mini.py)."""

assert CELL % ALIGN == 0
