"""The ``ovss`` kernel with a CLIP: open-vocabulary segmentation on the absolute lattice.

Windows sit at the multiples of their stride on the lattice, each pixel lies in the same windows whichever tile is
made, and their logits are added in row order; so the map does not depend on tiles, strips, workers or restarts
(docs/ARCHITECTURE.md, "Tiles, tasks, seams"). The bias that a window takes off its logits is that of the absolute
window. On a CPU windows go through the tower one by one (a window has rows enough for the matrix products); on a GPU
in groups that are fixed on the lattice, always of one shape. A window without a valid pixel is skipped; an invalid
pixel is the mean colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from eopipe.errors import PlanError
from eopipe.grid import PixelBox
from eopipe.kernelinfo import FeatureSpec, Inputs, KernelInfo, Window
from eopipe.kernels.base import BaseKernel, factor_of, gsd_warnings
from eopipe.kernels.ovss.class_scores import RowSums, class_scores
from eopipe.kernels.ovss.model import OvssModel
from eopipe.kernels.ovss.options import ReducedFeatures
from eopipe.kernels.ovss.picture import STRETCHES, normalise, optical_picture, sar_picture, stretch_of
from eopipe.kernels.ovss.segmentor import Segmentor
from eopipe.kernels.ovss.strip_arrays import StripArrays, score_arrays
from eopipe.kernels.ovss.strip_windows import OVERLAP, SIZE, STRIDE, StripWindows, tokens_of
from eopipe.kernels.protocol import ALONE, Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.kernels.ovss.options import OvssOptions
    from eopipe.kernels.protocol import StripContext

VERSION = "1"

FREE = ("prompts", "background", "upsampler", "upsampler_checkpoint", "bias", "scale", "threshold", "templates")
"""Options that do not shape a window's features."""

TOWER_COLUMNS = 16
"""Floats a token and channel of the tower that a block holds at its peak: its MLP's four, three of attention, its
input and its output; tests/bench/bench_ovss_tile.py measures the whole."""

GPU_GROUP = 8
"""Windows of a lattice row that go through a GPU together: 1,576 tokens, enough to fill its products."""


def create(options: OvssOptions, *, resolution: float) -> OvssKernel:
    """Make the kernel; see :func:`eopipe.kernels.registry.create`."""
    model = OvssModel.resolve(options)
    if SIZE % (patch := model.clip.entry.patch):
        raise PlanError(f"kernel.model: patches of {patch} do not fill a window of {SIZE}; take another model")
    return OvssKernel(model, factor=factor_of(options.gsd, resolution))


class OvssKernel(BaseKernel[Segmentor]):
    """The kernel; see the module."""

    def __init__(self, model: OvssModel, *, factor: int) -> None:
        super().__init__(_describe(model, factor))
        self._model, self._options = model, model.options
        self._query_class = model.options.vocabulary.query_class

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:  # noqa: ARG002  (any optical level will do)
        """Warn of a ground sample distance far from what the model has seen, and of unpinned weights."""
        gsd = resolution / self._info.factor
        return [*self._model.notes, *gsd_warnings(self._options.model, self._model.clip.entry.gsd, gsd)]

    def settle(self, sensors: Sequence[str]) -> Mapping[str, Any]:
        """The stretch of the scenes' sensors; any will do where there is no scene.

        Raises:
            PlanError: The sensors have no common stretch.
        """
        if self._options.stretch != "auto" or self._info.inputs.modality != "optical":
            return {}
        return {"stretch": list(stretch_of(sensors) if sensors else next(iter(STRETCHES.values())))}

    def _read(self, *, device: str, threads: int) -> Segmentor:
        """Tower and upsampler."""
        return self._model.load(device=device, threads=threads)

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes beside a strip's pixels and results: sums of one row of windows, and one group's work."""
        queries, classes = len(self._model.text), len(self._options.prompts)
        rows, width = shape
        sums = 2 * 4 * SIZE * width * queries
        deciding = 4 * STRIDE * width * (3 * queries + 2 * classes)
        means = 4 * classes * rows * width // self._info.factor**2 if self._info.factor > 1 else 0
        return sums + deciding + means + self._window_bytes()

    def _window_bytes(self) -> int:
        """One group: its picture, the tower's activations, the upsampler's work, and its logits."""
        queries = len(self._model.text)
        clip = self._model.clip
        tower = 4 * self._group * tokens_of(clip.entry.patch) * TOWER_COLUMNS * clip.architecture.image.width
        upsampling = self._model.upsampling_memory(self._group, SIZE)
        return int(tower + upsampling + 4 * self._group * SIZE * SIZE * (3 + 2 * queries))

    @property
    def _group(self) -> int:
        return GPU_GROUP if self._loaded is not None and self._loaded[0].startswith("cuda") else 1

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, context: StripContext = ALONE
    ) -> Result:
        """Map one strip; see :class:`eopipe.kernels.protocol.Kernel`."""
        options, info = self._options, self._info
        outer = box.pad(info.window.halo)
        strip = StripWindows(
            segmentor=self.net,
            picture_of=self._picture,
            pixels=pixels[0],
            valid=valid[0],
            outer=outer,
            group=self._group,
            stored=context.features,
            inside=context.inside,
            gives_features=info.features is not None,
        )
        maps = StripArrays(
            box, valid[0][box.slices(outer)], factor=info.factor, classes=len(options.prompts),
            threshold=options.threshold, background=options.background_class,
        )  # fmt: skip
        carried = isinstance(context.carry, RowSums)
        sums = context.carry if carried else RowSums.zeros(_first_rows(box), len(self._model.text))
        windows: dict[tuple[int, int], NDArray[np.float32]] = {}
        for row, windows_of_row in strip.rows(box, carried=carried):
            sums = self._finish(sums, row, box, maps)
            for scored in windows_of_row:
                sums.add(scored.window, scored.logits)
                if scored.features is not None:
                    windows[scored.window.row0 // STRIDE, scored.window.col0 // STRIDE] = scored.features
        sums = self._finish(sums, box.row1, box, maps)
        return Result(maps.arrays(), carry=sums, windows=windows)

    def _finish(self, sums: RowSums, row: int, box: PixelBox, maps: StripArrays) -> RowSums:
        """Decide the rows above ``row``, whose sums are complete; returns the sums from ``row`` on."""
        upper, lower = sums.box.row0, min(row, box.row1)
        if lower <= upper:
            return sums
        end = min(lower, sums.box.row1)  # nothing below is valid: the windows there were left out
        for top in range(upper, end, STRIDE):  # as many rows at once as a row of windows completes
            rows = slice(top - upper, min(top + STRIDE, end) - upper)
            logits = torch.from_numpy(sums.values[rows]) / OVERLAP
            scores = class_scores(logits, self._query_class, self._options.scale)
            maps.put_rows(slice(rows.start + upper - box.row0, rows.stop + upper - box.row0), scores)
        return sums.moved(lower)

    def _picture(self, pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """What the tower sees of a window."""
        entry, options = self._model.clip.entry, self._options
        if self._info.inputs.modality == "sar":
            picture = sar_picture(pixels, channels=options.channels)
        else:
            assert not isinstance(options.stretch, str), "settled before the kernel is loaded"
            picture = optical_picture(pixels, stretch=options.stretch)
        return normalise(picture, valid, mean=entry.mean, std=entry.std)


def _first_rows(box: PixelBox) -> PixelBox:
    """What a row of windows can reach at a strip's top."""
    return PixelBox(box.row0, box.col0, box.row0 + SIZE, box.col1)


def _describe(model: OvssModel, factor: int) -> KernelInfo:
    entry, options = model.clip.entry, model.options
    features = FeatureSpec(
        tokens=tokens_of(entry.patch),
        channels=entry.width,
        reduced=options.features.pca if isinstance(options.features, ReducedFeatures) else None,
        free=FREE,
    )
    return KernelInfo(
        name="ovss",
        version=VERSION,
        inputs=Inputs(entry.modality, _bands(entry.modality, options), gsd=entry.gsd[1]),
        window=Window(size=SIZE, stride=STRIDE, halo=SIZE - 1),
        arrays=score_arrays(options.vocabulary.classes()),
        options=options.complete(),
        weights=model.weights,
        places=model.places,
        factor=factor,
        features=None if options.features == "none" else features,
        provenance=model.provenance,
    )


def _bands(modality: str, options: OvssOptions) -> tuple[str, ...]:
    if modality == "optical":
        return ("red", "green", "blue")
    return ("vv",) if options.channels == "vv" else ("vv", "vh")
