"""The ``land-cover`` kernel: Dynamic World v1 on nine Sentinel-2 bands.

Windows of 512 x 512 sit on the absolute lattice and are computed one by one with a halo that
holds the net's receptive field, so a pixel's bytes depend on its surroundings only, never on
the tile it was computed for (DESIGN §6.1). Invalid pixels enter the net as one fixed constant.
Source: Brown et al. 2022 (Dynamic World), weights and normalisation as published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from eopipe.grid import CELL
from eopipe.kernel_info import ArraySpec, ClassInfo, Inputs, KernelInfo, Window
from eopipe.kernels.gsd import factor_of
from eopipe.kernels.protocol import ALONE, Result, StripContext
from eopipe.models.dynamicworld.net import ALIGN, HALO, TorchDynamicWorld, load_dynamic_world
from eopipe.models.registry import DYNAMIC_WORLD, NINE_BANDS
from eopipe.models.weights import locate, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.models.dynamicworld.net import DynamicWorldRunner

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
"""Dynamic World's classes and colours, with DESIGN §5's codes."""

assert HALO % ALIGN == 0
assert CELL % ALIGN == 0


class Options(BaseModel):
    """What a spec may say under ``kernel`` beside ``name: land-cover``.

    Args:
        precision: Arithmetic of the net; ``auto`` is float32 here, see `create`.
        probabilities: Keep the nine class probabilities too (array ``probability``, 0-250 for 0-1).
        gsd: Ground sample distance the net is run at: ``grid``, or metres that divide the grid's resolution.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    probabilities: bool = False
    gsd: Literal["grid"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "grid"


def create(options: Options, *, resolution: float) -> LandCover:
    """Make the kernel for a grid's resolution; see :func:`eopipe.kernels.registry.create`.

    ``auto`` is float32: rounding the net's weights to bfloat16 alone changes 0.4 % of real labels, four times what a
    precision may cost, so no timing can speak for it.
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


class LandCover:
    """The kernel; see the module. Picklable until :meth:`load`, and again after it (weights are re-read)."""

    def __init__(self, options: Options, *, factor: int) -> None:
        self._options = options
        self._runner: DynamicWorldRunner | None = None
        self._loaded: tuple[str, int] | None = None
        model = DYNAMIC_WORLD
        self._info = KernelInfo(
            name="land-cover",
            version=VERSION,
            inputs=Inputs("optical", BANDS, gsd=10.0, levels=("L1C",)),
            window=Window(size=CELL + 2 * HALO, stride=CELL, halo=HALO),
            arrays=_arrays(probabilities=options.probabilities),
            options=options.model_dump(),
            weights={model.weights.file: sha256_of(locate(model.weights))},
            factor=factor,
            provenance={
                "model": model.name,
                "version": model.version,
                "licence": model.licence,
                "source": model.weights.origin,
                "citation": model.citation,
            },
        )

    @property
    def info(self) -> KernelInfo:
        """What it is."""
        return self._info

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:
        """Warn of Level-2A input and of a ground sample distance far from 10 m."""
        warnings = []
        others = sorted({level for level in levels if level not in self._info.inputs.levels})
        if others:
            warnings.append(
                f"land-cover was made for Sentinel-2 L1C; the scenes are {', '.join(others)}, "
                f"for which no agreement figure exists yet: check the map before you rely on it"
            )
        if self._options.precision == "bfloat16":
            warnings.append(
                "land-cover in bfloat16 gives 99.0 to 99.6 % of float32's labels on real scenes (its weights alone, "
                "rounded, cost 0.4 %): take float32 where maps are compared"
            )
        gsd = resolution / self._info.factor
        if not 5 <= gsd <= 20:
            warnings.append(f"land-cover was made for 10 m pixels; it will see {gsd:g} (CRS units): set kernel.gsd")
        return warnings

    def load(self, *, device: str, threads: int) -> None:
        """Load the net once."""
        if self._loaded == (device, threads):
            return
        self._runner = load_dynamic_world(self._options.precision, device=device)
        self._loaded = (device, threads)

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes beside a strip's pixels and results: one window's activations, and the probabilities."""
        side = self._info.window.size
        kept = 9 * 4 * shape[0] * shape[1] if self._info.factor > 1 else 0
        return _WINDOW_BYTES_A_PIXEL * side * side + kept

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
            spec.name: np.full(
                (len(spec.bands), rows // factor, cols // factor)[0 if spec.bands else 1 :], spec.nodata, spec.dtype
            )
            for spec in self._info.arrays
        }
        outer = box.pad(halo)
        crops = {window: window.pad(halo).slices(outer) for window in box.blocks(CELL)}
        # a window with nothing to see, or that nobody will see, stays 0
        look = valid[0] if context.wanted is None else valid[0] & context.wanted
        crops = {window: at for window, at in crops.items() if look[at][halo:-halo, halo:-halo].any()}
        maps = self._probabilities([(pixels[0][:, at[0], at[1]], valid[0][at]) for at in crops.values()])
        seen = valid[0][halo:-halo, halo:-halo]
        whole = np.zeros((len(CLASSES), *box.shape), np.float32) if factor > 1 else None
        for window, probability in zip(crops, maps, strict=True):
            place = window.slices(box)
            if whole is None:
                _decide(probability, seen[place], {name: array[..., *place] for name, array in out.items()})
            else:
                whole[:, *place] = probability
        if whole is not None:
            _decide(*_average(whole, seen, factor), out)
        return Result(out)

    def _probabilities(
        self, crops: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]]
    ) -> Iterator[NDArray[np.float32]]:
        """Probabilities ``[9, 512, 512]`` of each crop: one by one on a CPU, in batches of one shape on a GPU."""
        runner, halo = self._runner, self._info.window.halo
        assert runner is not None, "load() comes before the first strip"
        if not isinstance(runner, TorchDynamicWorld) or runner.device.type == "cpu":
            for pixels, valid in crops:
                yield runner(pixels, valid, crop=halo)
            return
        for start in range(0, len(crops), GPU_BATCH):
            group = crops[start : start + GPU_BATCH]
            pixels = np.zeros((GPU_BATCH, *group[0][0].shape), np.float32)
            valid = np.zeros((GPU_BATCH, *group[0][1].shape), dtype=bool)
            for place, crop in enumerate(group):  # a short group is filled up: one shape, one algorithm, one sum
                pixels[place], valid[place] = crop
            yield from runner.batch(pixels, valid, crop=halo)[: len(group)]

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the loaded net."""
        return {**self.__dict__, "_runner": None, "_loaded": None}


_WINDOW_BYTES_A_PIXEL = 400
"""Peak bytes of the net's activations and results a window pixel; measured (tests/bench/bench_land_cover.py)."""

GPU_BATCH = 8
"""Windows a batch on a GPU: 2.5 million pixels, which keep a large one busy; always full, so always one shape."""


def _decide(probability: NDArray[np.float32], seen: NDArray[np.bool_], out: Mapping[str, NDArray[Any]]) -> None:
    """Probabilities ``[9, y, x]`` to codes, in place; 0 where nothing was seen."""
    best = probability.argmax(axis=0)
    top = np.take_along_axis(probability, best[None], axis=0)[0]
    np.multiply(best + 1, seen, out=out["label"], casting="unsafe")
    np.multiply(np.rint(top * 100), seen, out=out["confidence"], casting="unsafe")
    if "probability" in out:
        out["probability"][...] = np.where(seen, np.rint(probability * 250), 254)


def _average(
    probability: NDArray[np.float32], seen: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Mean over ``factor x factor`` of what was seen (DESIGN §3)."""
    classes, rows, cols = probability.shape
    blocks = (rows // factor, factor, cols // factor, factor)
    weight = seen.reshape(blocks).sum(axis=(1, 3), dtype=np.int32)
    total = (probability * seen).reshape(classes, *blocks).sum(axis=(2, 4), dtype=np.float32)
    return total / np.maximum(weight, 1).astype(np.float32), weight > 0
