"""The ``land-cover`` kernel: Dynamic World v1 on nine Sentinel-2 bands.

Windows of 512 x 512 lie on the absolute lattice and are computed one by one with a halo that holds the net's
receptive field, so a pixel's bytes depend on its surroundings only, never on its tile (docs/ARCHITECTURE.md, "Tiles,
tasks, seams"). Invalid pixels enter the net as one fixed constant.
Source: Brown et al. 2022 (Dynamic World), weights and normalisation as published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from eopipe.grid import CELL
from eopipe.kernelinfo import ArraySpec, ClassInfo, Inputs, KernelInfo, Window
from eopipe.kernels.base import BaseKernel, factor_of, level_warnings, ten_metre_warnings
from eopipe.kernels.protocol import ALONE, Result, StripContext
from eopipe.models.dynamicworld.net import ALIGN, HALO, DynamicWorldRunner, TorchDynamicWorld, load_dynamic_world
from eopipe.models.registry import DYNAMIC_WORLD, NINE_BANDS
from eopipe.models.weights import file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox

VERSION = "1"
BANDS = NINE_BANDS

CLASSES = (
    ClassInfo(1, "water", "#419bdf"),
    ClassInfo(2, "trees", "#397d49"),
    ClassInfo(3, "grass", "#88b053"),
    ClassInfo(4, "flooded vegetation", "#7a87c6"),
    ClassInfo(5, "crops", "#e49635"),
    ClassInfo(6, "shrub", "#dfc35a"),
    ClassInfo(7, "built", "#c4281b"),
    ClassInfo(8, "bare", "#a59b8f"),
    ClassInfo(9, "snow", "#b39fe1"),
)
"""Dynamic World's classes and colours; codes from 1, in the order of the net's outputs."""

assert HALO % ALIGN == 0
assert CELL % ALIGN == 0

_WINDOW_BYTES_A_PIXEL = 400
"""Peak bytes of the net's activations and results a window pixel; measured: 116 MB for a window of 560², beside 28 MB
of OpenVINO itself. The graph keeps most of it between windows, so a calibrated base holds it too."""

GPU_BATCH = 8
"""Windows a batch on a GPU: 2.5 million pixels, which keep a large one busy; always full, so always one shape."""


class LandCoverOptions(BaseModel, extra="forbid", frozen=True):
    """What a spec may say under ``kernel`` beside ``name: land-cover``.

    Args:
        precision: Arithmetic of the net; ``auto`` is float32.
        probabilities: Keep the nine class probabilities too (array ``probability``, 0-250 for 0-1).
        gsd: Ground sample distance the net is run at: ``grid``, or metres that divide the grid's resolution.
    """

    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    probabilities: bool = False
    gsd: Literal["grid"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "grid"


options_model = LandCoverOptions


def create(options: LandCoverOptions, *, resolution: float) -> LandCover:
    """Make the kernel for a grid's resolution; see :func:`eopipe.kernels.registry.create`.

    ``auto`` is float32: rounding the net's weights to bfloat16 alone changes 0.4 % of real labels, four times the
    limit of a precision, so no timing can speak for it.
    """
    if options.precision == "auto":
        options = options.model_copy(update={"precision": "float32"})
    return LandCover(options, factor=factor_of(options.gsd, resolution))


def _arrays(*, probabilities: bool) -> tuple[ArraySpec, ...]:
    label = ArraySpec("label", "uint8", 255, 0, CLASSES, losers=(0, 255), long_name="land cover class")
    confidence = ArraySpec(
        "confidence", "uint8", 255, 0, losers=(0, 255), long_name="probability of the class, percent (0-100)"
    )
    if not probabilities:
        return (label, confidence)
    names = tuple(info.name for info in CLASSES)
    planes = ArraySpec(
        "probability", "uint8", 255, 254, losers=(254, 255), bands=names, long_name="class probability, 0-250 for 0-1"
    )
    return (label, confidence, planes)


class LandCover(BaseKernel[DynamicWorldRunner]):
    """The kernel; see the module."""

    def __init__(self, options: LandCoverOptions, *, factor: int) -> None:
        self._options = options
        super().__init__(
            KernelInfo(
                name="land-cover",
                version=VERSION,
                inputs=Inputs("optical", BANDS, gsd=10.0, levels=("L1C",)),
                window=Window(size=CELL + 2 * HALO, stride=CELL, halo=HALO),
                arrays=_arrays(probabilities=options.probabilities),
                options=options.model_dump(),
                weights=file_sha256(DYNAMIC_WORLD.weights),
                factor=factor,
                provenance=DYNAMIC_WORLD.provenance,
            )
        )

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:
        """Warn of Level-2A input and of a ground sample distance far from 10 m."""
        name, known, gsd = self._info.name, self._info.inputs.levels, resolution / self._info.factor
        rounded = (
            "land-cover in bfloat16 gives 99.0 to 99.6 % of float32's labels on real scenes (its weights alone, "
            "rounded, cost 0.4 %): take float32 where maps are compared"
        )
        return [
            *level_warnings(name, levels, known, figure="agreement figure"),
            *([rounded] if self._options.precision == "bfloat16" else []),
            *ten_metre_warnings(name, gsd, key="kernel.gsd"),
        ]

    def _read(self, *, device: str, threads: int) -> DynamicWorldRunner:  # noqa: ARG002  (the net needs none)
        return load_dynamic_world(self._options.precision, device=device)

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes beside a strip's pixels and results: one window's activations, and the probabilities."""
        side = self._info.window.size
        probabilities = 9 * 4 * shape[0] * shape[1] if self._info.factor > 1 else 0
        return _WINDOW_BYTES_A_PIXEL * side * side + probabilities

    def __call__(
        self,
        pixels: NDArray[np.float32],
        valid: NDArray[np.bool_],
        box: PixelBox,
        context: StripContext = ALONE,
    ) -> Result:
        """Map one strip; see :class:`eopipe.kernels.protocol.Kernel`."""
        factor, halo = self._info.factor, self._info.window.halo
        rows, cols = box.shape
        out = {
            spec.name: np.full((*spec.planes, rows // factor, cols // factor), spec.nodata, spec.dtype)
            for spec in self._info.arrays
        }
        outer = box.pad(halo)
        crops = {window: window.pad(halo).slices(outer) for window in box.blocks(CELL)}
        # a window without a valid pixel inside the area stays 0
        needed = valid[0] if context.inside is None else valid[0] & context.inside
        crops = {window: at for window, at in crops.items() if needed[at][halo:-halo, halo:-halo].any()}
        maps = self._probabilities([(pixels[0][:, at[0], at[1]], valid[0][at]) for at in crops.values()])
        inner = valid[0][halo:-halo, halo:-halo]
        whole = np.zeros((len(CLASSES), *box.shape), np.float32) if factor > 1 else None
        for window, probability in zip(crops, maps, strict=True):
            at = window.slices(box)
            if whole is None:
                _decide(probability, inner[at], {name: array[..., *at] for name, array in out.items()})
            else:
                whole[:, *at] = probability
        if whole is not None:
            _decide(*_average(whole, inner, factor), out)
        return Result(out)

    def _probabilities(
        self, crops: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]]
    ) -> Iterator[NDArray[np.float32]]:
        """Probabilities ``[9, 512, 512]`` of each crop: one by one on a CPU, in batches of one shape on a GPU."""
        net, halo = self.net, self._info.window.halo
        if not isinstance(net, TorchDynamicWorld) or net.device.type == "cpu":
            for pixels, valid in crops:
                yield net(pixels, valid, crop=halo)
            return
        for start in range(0, len(crops), GPU_BATCH):
            group = crops[start : start + GPU_BATCH]
            pixels = np.zeros((GPU_BATCH, *group[0][0].shape), np.float32)
            valid = np.zeros((GPU_BATCH, *group[0][1].shape), dtype=bool)
            for slot, crop in enumerate(group):  # a short group is filled up: one shape, one algorithm, one sum
                pixels[slot], valid[slot] = crop
            yield from net.batch(pixels, valid, crop=halo)[: len(group)]


def _decide(probability: NDArray[np.float32], valid: NDArray[np.bool_], out: Mapping[str, NDArray[Any]]) -> None:
    """Probabilities ``[9, y, x]`` to codes, in place; 0 where no pixel is valid."""
    best = probability.argmax(axis=0)
    top = np.take_along_axis(probability, best[None], axis=0)[0]
    np.multiply(best + 1, valid, out=out["label"], casting="unsafe")
    np.multiply(np.rint(top * 100), valid, out=out["confidence"], casting="unsafe")
    if "probability" in out:
        out["probability"][...] = np.where(valid, np.rint(probability * 250), 254)


def _average(
    probability: NDArray[np.float32], valid: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Mean over the valid pixels of ``factor x factor``, and where there is one."""
    classes, rows, cols = probability.shape
    blocks = (rows // factor, factor, cols // factor, factor)
    weight = valid.reshape(blocks).sum(axis=(1, 3), dtype=np.int32)
    total = (probability * valid).reshape(classes, *blocks).sum(axis=(2, 4), dtype=np.float32)
    return total / np.maximum(weight, 1).astype(np.float32), weight > 0
