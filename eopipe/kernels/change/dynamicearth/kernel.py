"""The ``change`` kernel as stages: objects, or pixels, proposed, compared and identified (DynamicEarth).

Pictures lie on the absolute lattice (`eopipe.kernels.change.dynamicearth.lattice`), each computed whole and alone;
the map is the union of what they decide. A tile computes every picture that touches it, each once, and hands those
that the strip below needs down. So the map, and the objects, do not depend on tiles, strips, workers or restarts
(DESIGN §6.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe.errors import SpecError
from eopipe.grid import CELL
from eopipe.kernel_info import Inputs, KernelInfo, Window
from eopipe.kernels.change.arrays import PHOTOGRAPHED, change_arrays, of_photographs, of_sentinel_2
from eopipe.kernels.change.cut import AT, checked
from eopipe.kernels.change.dynamicearth.assemble import Assembly
from eopipe.kernels.change.dynamicearth.cell_cache import Cells
from eopipe.kernels.change.dynamicearth.combinations import DYNAMIC_WORLD, NONE, PIXELS, SPECTRAL
from eopipe.kernels.change.dynamicearth.lattice import stride_of
from eopipe.kernels.change.dynamicearth.picture import Looker
from eopipe.kernels.change.dynamicearth.strip import Carry, StripMap
from eopipe.kernels.change.objects import cut_again, object_spec
from eopipe.kernels.change.prompt_classes import meaning
from eopipe.kernels.change.spectral.cell import CELL_BYTES, HALO, SHIFTED
from eopipe.kernels.change.spectral.statistics import LevelStage, ScoreStage, ShiftStage
from eopipe.kernels.change.stages.rgb import Sight
from eopipe.kernels.land_cover import BANDS, CLASSES
from eopipe.kernels.ovss.picture import REFLECTANCE, STRETCHES, stretch_of
from eopipe.kernels.ovss.prompts import Vocabulary
from eopipe.kernels.protocol import ALONE, Result
from eopipe.models.dynamicworld.net import load_dynamic_world

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernel_info import ClassInfo
    from eopipe.kernels.change.dynamicearth.assemble import Detection
    from eopipe.kernels.change.dynamicearth.options import StageOptions
    from eopipe.kernels.change.prompt_classes import Meaning
    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.protocol import StatisticsStage, StripContext
    from eopipe.models.dynamicworld.net import DynamicWorldRunner

VERSION = "1"


def create(options: StageOptions, *, resolution: float) -> StagedChange:  # noqa: ARG001  (its pixels are the grid's)
    """Make the kernel; see :func:`eopipe.kernels.registry.create`."""
    if options.combination.comparer == SPECTRAL and options.combination.identifier == NONE:
        raise SpecError(
            f"kernel.identifier: {SPECTRAL}'s score is weighed by what is likely in a map, and {NONE} says nothing; "
            f"write {DYNAMIC_WORLD}, or another comparer ({NONE} is for pairs of pictures: eopipe eval change)"
        )
    assembly = Assembly.resolve(options)
    asked = meaning(options.prompts, options.teacher_classes) if assembly.stages.comparer == SPECTRAL else None
    return StagedChange(assembly, asked)


class StagedChange:
    """The kernel; see the module. Picklable until :meth:`load`, and again after it (weights are re-read)."""

    def __init__(self, assembly: Assembly, asked: Meaning | None, *, at: int | None = None) -> None:
        self._assembly, self._options, self._meaning, self._at = assembly, assembly.options, asked, at
        self._detection: Detection | None = None
        self._runner: DynamicWorldRunner | None = None
        self._loaded: tuple[str, int] | None = None
        self._info = _describe(assembly, asked, at)

    @property
    def info(self) -> KernelInfo:
        """What it is."""
        return self._info

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:
        """What the stages' users should know; Dynamic World and mini, who see more than colours, ask for 10 m."""
        if self._assembly.photographs:
            said = of_photographs(self._options.instantiation, resolution)
        else:
            said = of_sentinel_2(levels, self._info.inputs.levels or tuple(levels), resolution)
        return [*self._assembly.notes, *said]

    def words(self) -> Sequence[WordNote]:
        """How near each phrase is to what was taught, where a stage reads it so; else none."""
        return self._assembly.words

    def settle(self, sensors: Sequence[str]) -> Mapping[str, Any]:
        """The sensors' stretch; any will do where nothing was found.

        Raises:
            PlanError: The sensors have no common stretch.
        """
        if self._options.stretch != "auto":
            return {}
        return {"stretch": list(stretch_of(sensors) if sensors else next(iter(STRETCHES.values())))}

    def stages(self) -> tuple[StatisticsStage, ...]:
        """Shift (if dates are registered); levels and scores where colours are compared."""
        shift = [ShiftStage()] if self._options.registration else []
        if self._meaning is None:
            return tuple(shift)
        return (*shift, LevelStage(), ScoreStage(self._net, self._meaning, CELL_BYTES))

    def load(self, *, device: str, threads: int) -> None:
        """Load the stages once."""
        if self._loaded == (device, threads):
            return
        self._detection = self._assembly.load(self._sight(), device=device, threads=threads)
        self._runner = load_dynamic_world(device=device) if self._meaning is not None else None
        self._loaded = (device, threads)

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes beside a strip's pixels and results: one picture's work, and what the strip below is handed."""
        side, (rows, cols) = self._assembly.stages.window, shape
        around = (rows + side) * (cols + side)
        kept = (_KEPT_BYTES if self._meaning is None else _KEPT_BYTES + _CELL_KEPT_BYTES) * around
        picture = (_PAIR_BYTES + 10 * len(self._assembly.bands)) * side * side
        return kept + picture + max(self._assembly.memory(side), CELL_BYTES if self._meaning is not None else 0)

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, context: StripContext = ALONE
    ) -> Result:
        """Map one strip; see :class:`eopipe.kernels.protocol.Kernel`."""
        assert self._detection is not None, "load() comes before the first strip"
        outer = box.pad(self._info.window.halo)
        carry = context.carry if isinstance(context.carry, Carry) else Carry()
        cells = None
        if self._meaning is not None:
            cells = Cells(self._net(), self._meaning, pixels, valid, outer, context.statistics, dict(carry.cells))
        looker = Looker(self._detection, pixels, valid, outer, context.statistics, cells)
        made = StripMap(
            looker,
            box,
            side=self._assembly.stages.window,
            wanted=context.inside,
            carry=carry,
            at=self._at or AT,
            instances=self._assembly.stages.instances,
        )
        arrays = made.arrays()
        return Result(arrays, made.objects(arrays), made.carry(), figures=made.figures().sums)

    def with_threshold(self, threshold: int) -> StagedChange:
        """Itself, cut elsewhere; see :class:`eopipe.kernels.protocol.Rethresholding`.

        Raises:
            SpecError: It is out of range, or objects were decided on, whose scores are no longer told apart.
        """
        if self._assembly.stages.proposer != PIXELS:
            raise SpecError(
                f"at: {self._options.instantiation} decides on whole objects, which scores of pixels do not tell; "
                f"run the spec anew with another beta, or cut a map of pixels ({PIXELS}, spectral-land-cover)"
            )
        return StagedChange(self._assembly, self._meaning, at=checked(threshold))

    def recompute(self, arrays: Mapping[str, NDArray[Any]], box: PixelBox) -> Result:
        """Arrays of a box as they were stored, with ``change`` as this threshold makes it, and its regions."""
        return cut_again(arrays, box, self._at or AT)

    def _sight(self) -> Sight:
        stretch = self._options.stretch
        assert not isinstance(stretch, str), "settled before the kernel is loaded"
        return Sight(self._assembly.bands, stretch[0] * REFLECTANCE, stretch[1] * REFLECTANCE)

    def _net(self) -> DynamicWorldRunner:
        assert self._runner is not None, "load() comes before the first strip"
        return self._runner

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the loaded stages."""
        return {**self.__dict__, "_detection": None, "_runner": None, "_loaded": None}


_KEPT_BYTES, _CELL_KEPT_BYTES, _PAIR_BYTES = 8, 8, 60
"""Bytes a pixel: what pictures decided, with their masks; scores and labels of cells; a picture's pair, as it is
registered and shown."""


def _describe(assembly: Assembly, asked: Meaning | None, at: int | None) -> KernelInfo:
    options = assembly.options
    names = tuple(name for name, _ in options.prompts)
    phrases = tuple(phrase for _, said in options.prompts for phrase in said)
    classes = CLASSES if asked is not None else _classes(assembly)
    stride = stride_of(assembly.stages.window)
    # where colours are compared, whole cells around the pictures are; else the pictures alone
    halo = CELL + HALO if asked is not None else stride + SHIFTED
    embedded = assembly.bands == BANDS
    return KernelInfo(
        name="change",
        version=VERSION,
        inputs=Inputs(
            "optical",
            assembly.bands,
            gsd=PHOTOGRAPHED[0] if assembly.photographs else 10.0,
            epochs=2,
            levels=("L1C",) if embedded else (),
        ),
        window=Window(size=assembly.stages.window, stride=stride, halo=halo),
        arrays=change_arrays(names, phrases, classes, kinds="land cover" if asked is not None else "class", at=at),
        options=options.complete(),
        objects=object_spec(classes, seams="doubles" if assembly.stages.instances else "touching"),
        weights={**assembly.weights, **(asked.weights if asked is not None else {})},
        places=assembly.places,
        provenance={
            "model": options.instantiation,
            "order": assembly.stages.order,
            **assembly.provenance,
            **({"at": at} if at is not None else {}),
        },
    )


def _classes(assembly: Assembly) -> tuple[ClassInfo, ...]:
    """Codes follow the classes, from 1: what is not asked for, then the prompts."""
    names = assembly.classes
    said = dict(assembly.options.prompts)
    return Vocabulary(names, tuple(said.get(name, (name,)) for name in names)).classes()
