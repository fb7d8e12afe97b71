"""The ``change`` kernel, as ``spectral-land-cover``: which pixels changed into, or from, what was asked for.

Cells of 512 x 512 on the absolute lattice, each compared whole with a halo for everything that its pixels see
(`eopipe.kernels.change.spectral.cell`), against numbers that statistics stages measured in a wider area
(`eopipe.kernels.change.spectral.statistics`): so neither tiles nor blocks can be seen in the map. The score is given
in hundredths of the threshold of its place, as an integer, and the map is that integer's comparison with 100.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.grid import CELL
from eopipe.kernel_info import Inputs, KernelInfo, Window
from eopipe.kernels.change.arrays import change_arrays, of_sentinel_2
from eopipe.kernels.change.cut import AT, NOT_SEEN, changed, checked
from eopipe.kernels.change.objects import changed_regions, cut_again, object_spec
from eopipe.kernels.change.prompt_classes import meaning
from eopipe.kernels.change.registration.residual import Misplaced
from eopipe.kernels.change.score import hundredths
from eopipe.kernels.change.spectral.cell import CELL_BYTES, HALO, SCORES, SHIFT, compare_cell
from eopipe.kernels.change.spectral.statistics import LevelStage, ScoreStage, ShiftStage
from eopipe.kernels.land_cover import BANDS, CLASSES
from eopipe.kernels.objects import FoundObjects
from eopipe.kernels.protocol import ALONE, Result
from eopipe.models.dynamicworld.net import load_dynamic_world
from eopipe.models.registry import DYNAMIC_WORLD
from eopipe.models.weights import locate, sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.prompt_classes import Meaning
    from eopipe.kernels.change.spectral.cell import Compared
    from eopipe.kernels.change.spectral.options import Options
    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.protocol import StatisticsStage, StripContext
    from eopipe.models.dynamicworld.net import DynamicWorldRunner

VERSION = "2"


def create(options: Options, *, resolution: float) -> Change:  # noqa: ARG001  (the kernel's pixels are the grid's)
    """Make the kernel; see :func:`eopipe.kernels.registry.create`."""
    if options.precision == "auto":  # as for land-cover: bfloat16 changes labels
        options = options.model_copy(update={"precision": "float32"})
    return Change(options, meaning(options.prompts, options.teacher_classes))


class Change:
    """The kernel; see the module. Picklable until :meth:`load`, and again after it (weights are re-read).

    Args:
        options: The spec's.
        found: What its prompts mean.
        at: Where ``change_score`` is cut, in hundredths of the threshold, and the map says so; None cuts at `AT`.
    """

    def __init__(self, options: Options, found: Meaning, *, at: int | None = None) -> None:
        self._options, self._meaning, self._at = options, found, at
        self._runner: DynamicWorldRunner | None = None
        self._loaded: tuple[str, int] | None = None
        self._info = _describe(options, found, at)

    @property
    def info(self) -> KernelInfo:
        """What it is."""
        return self._info

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:
        """Warn of Level-2A input and of a ground sample distance far from 10 m."""
        return of_sentinel_2(levels, self._info.inputs.levels, resolution)

    def words(self) -> Sequence[WordNote]:
        """How near each phrase is to what was taught; see :class:`eopipe.kernels.known_words.KnowsWords`."""
        return self._meaning.notes

    def stages(self) -> tuple[StatisticsStage, ...]:
        """Shift (if dates are registered), levels, scores; see :class:`eopipe.kernels.protocol.Measuring`."""
        score = ScoreStage(self._net, self._meaning, self.memory((CELL, CELL)))
        return (*([ShiftStage()] if self._options.registration else []), LevelStage(), score)

    def load(self, *, device: str, threads: int) -> None:
        """Load Dynamic World once."""
        if self._loaded != (device, threads):
            self._runner = load_dynamic_world(self._options.precision, device=device)
            self._loaded = (device, threads)

    def memory(self, shape: tuple[int, int]) -> int:  # noqa: ARG002  (cells are finished one by one)
        """Peak bytes beside a strip's pixels and results: one cell's work."""
        return CELL_BYTES

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, context: StripContext = ALONE
    ) -> Result:
        """Map one strip; see :class:`eopipe.kernels.protocol.Kernel`."""
        outer = box.pad(HALO)
        out = {spec.name: np.full(box.shape, spec.nodata, np.uint8) for spec in self._info.arrays}
        figures, objects = Misplaced(), []
        look = valid[0] if context.inside is None else valid[0] & context.inside
        for cell in box.blocks(CELL):
            near = cell.pad(HALO).slices(outer)
            if not (look[cell.slices(outer)].any() and valid[1][near].any()):
                continue  # nothing to compare, or nobody to see it
            found = compare_cell(
                pixels[:, :, *near], valid[:, *near], cell, context.statistics,
                runner=self._net(), meaning=self._meaning,
            )  # fmt: skip
            limit = context.statistics[SCORES].at("threshold", cell)
            figures.add(cell, found.visible, found.seen, context.statistics.get(SHIFT))
            mine = {name: array[cell.slices(box)] for name, array in out.items()}
            _write(found, limit, mine, self._at or AT)
            shown = None if context.inside is None else context.inside[cell.slices(outer)]
            objects.append(changed_regions(mine, cell, shown))
        return Result(out, FoundObjects.concatenate(objects), figures=figures.sums)

    def with_threshold(self, threshold: int) -> Change:
        """Itself, cut elsewhere; see :class:`eopipe.kernels.protocol.Rethresholding`."""
        return Change(self._options, self._meaning, at=checked(threshold))

    def recompute(self, arrays: Mapping[str, NDArray[Any]], box: PixelBox) -> Result:
        """Arrays of a box as they were stored, with ``change`` as this threshold makes it, and its regions."""
        return cut_again(arrays, box, self._at or AT)

    def _net(self) -> DynamicWorldRunner:
        assert self._runner is not None, "load() comes before the first strip"
        return self._runner

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the loaded net."""
        return {**self.__dict__, "_runner": None, "_loaded": None}


def _write(found: Compared, limit: NDArray[np.float64], out: dict[str, NDArray[Any]], at: int) -> None:
    """A cell's arrays, in place; ``change`` follows from ``change_score`` as it is stored."""
    score = hundredths(found.score / limit)
    out["change_score"][...] = np.where(found.seen, score, NOT_SEEN)
    out["change"][...] = changed(out["change_score"], at)
    out["label_before"][...], out["label_after"][...] = found.labels


def _describe(options: Options, found: Meaning, at: int | None) -> KernelInfo:
    model = DYNAMIC_WORLD
    return KernelInfo(
        name="change",
        version=VERSION,
        inputs=Inputs("optical", BANDS, gsd=10.0, epochs=2, levels=("L1C",)),
        window=Window(size=CELL + 2 * HALO, stride=CELL, halo=HALO),
        arrays=change_arrays(found.names, found.phrases, CLASSES, kinds="land cover", at=at),
        options=options.complete(),
        objects=object_spec(CLASSES, seams="touching"),
        weights={model.weights.file: sha256_of(locate(model.weights)), **found.weights},
        provenance={
            "model": model.name,
            "version": model.version,
            "licence": model.licence,
            "source": model.weights.origin,
            "citation": model.citation,
            "teacher_classes": found.told,
            **({"at": at} if at is not None else {}),
        },
    )
