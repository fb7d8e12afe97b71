"""The ``change`` kernel as stages: objects, or pixels, proposed, compared and identified (DynamicEarth).

Pictures lie on the absolute lattice (`eopipe.kernels.change.dynamicearth.lattice`), each computed whole and alone;
the map is the union of what they decide. A tile computes every picture that touches it, each once, and hands those
that the strip below needs down. So the map, and the objects, do not depend on tiles, strips, workers or restarts
(docs/ARCHITECTURE.md, "Tiles, tasks, seams").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe.errors import SpecError
from eopipe.grid import CELL
from eopipe.kernelinfo import Inputs, KernelInfo, Window
from eopipe.kernels.change.arrays import (
    PUBLISHED_GSD,
    change_arrays,
    photograph_warnings,
    sentinel_2_warnings,
)
from eopipe.kernels.change.dynamicearth.assemble import Assembly
from eopipe.kernels.change.dynamicearth.cell_cache import CellCache
from eopipe.kernels.change.dynamicearth.lattice import stride_of
from eopipe.kernels.change.dynamicearth.picture import StripPictures
from eopipe.kernels.change.dynamicearth.strip import Carry, map_strip
from eopipe.kernels.change.objects import object_spec
from eopipe.kernels.change.prompt_classes import read_prompts
from eopipe.kernels.change.registration.alignment import MOVE_MARGIN
from eopipe.kernels.change.score import check_threshold
from eopipe.kernels.change.spectral.base import ChangeKernel
from eopipe.kernels.change.spectral.cell import CELL_BYTES, HALO
from eopipe.kernels.change.stages.pair import BandStretch
from eopipe.kernels.change.stages.settings import NONE, PIXELS, SPECTRAL
from eopipe.kernels.land_cover import BANDS, CLASSES
from eopipe.kernels.ovss.picture import REFLECTANCE, STRETCHES, stretch_of
from eopipe.kernels.ovss.prompts import Vocabulary
from eopipe.kernels.protocol import ALONE
from eopipe.models.registry import DYNAMIC_WORLD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernelinfo import ClassInfo
    from eopipe.kernels.change.dynamicearth.assemble import LoadedStages
    from eopipe.kernels.change.dynamicearth.options import StageOptions
    from eopipe.kernels.change.prompt_classes import PromptClasses
    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.protocol import Result, StripContext
    from eopipe.models.dynamicworld.net import DynamicWorldRunner

VERSION = "1"

_DECISION_BYTES, _CELL_BYTES, _PAIR_BYTES = 8, 8, 60
"""Bytes a pixel: what pictures decided, with their masks; scores and labels of cells; a picture's pair, as it is
registered and shown."""


def create(options: StageOptions) -> StagedChange:
    """Make the kernel; see :func:`eopipe.kernels.registry.create`."""
    spectral = options.combination.comparer == SPECTRAL
    if spectral and options.combination.identifier == NONE:
        raise SpecError(
            f"kernel.identifier: {SPECTRAL}'s score is weighed by what is likely in a map, and {NONE} says nothing; "
            f"write {DYNAMIC_WORLD.name}, or another comparer ({NONE} is for pairs of pictures: eopipe eval change)"
        )
    assembly = Assembly.resolve(options)
    return StagedChange(assembly, read_prompts(options.prompts, options.teacher_classes) if spectral else None)


class StagedChange(ChangeKernel):
    """The kernel; see the module.

    Args:
        assembly: The stages.
        prompts: What the prompts mean, where colours are compared; else None.
        threshold: Where ``change_score`` is cut, in hundredths of the threshold, and the map says so; None: at it.
    """

    def __init__(self, assembly: Assembly, prompts: PromptClasses | None, *, threshold: int | None = None) -> None:
        self._assembly, self._options = assembly, assembly.options
        self._stages: LoadedStages | None = None
        info = _describe(assembly, prompts, threshold)
        super().__init__(info, prompts=prompts, registration=self._options.registration, threshold=threshold)

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:
        """Notes of the stages; and warnings of pixels or levels that they were not made for."""
        if self._assembly.of_photographs:
            warnings = photograph_warnings(self._options.instantiation, resolution)
        else:
            warnings = sentinel_2_warnings(levels, self._info.inputs.levels or tuple(levels), resolution)
        return [*self._assembly.notes, *warnings]

    def words(self) -> Sequence[WordNote]:
        """How near each phrase is to what was taught; none where no stage compares it with taught phrases."""
        return self._assembly.words

    def settle(self, sensors: Sequence[str]) -> Mapping[str, Any]:
        """The sensors' stretch; any will do where the search found no scene.

        Raises:
            PlanError: The sensors have no common stretch.
        """
        if self._options.stretch != "auto":
            return {}
        return {"stretch": list(stretch_of(sensors) if sensors else next(iter(STRETCHES.values())))}

    def _read(self, *, device: str, threads: int) -> DynamicWorldRunner | None:
        stretch = self._options.stretch
        assert not isinstance(stretch, str), "settled before the kernel is loaded"
        black, white = (value * REFLECTANCE for value in stretch)
        bands = BandStretch(self._assembly.bands, black, white)
        self._stages = self._assembly.load(bands, device=device, threads=threads)
        return super()._read(device=device, threads=threads)

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the loaded nets."""
        return {**super().__getstate__(), "_stages": None}

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes beside a strip's pixels and results: one picture's work, and what the strip below receives."""
        side, (rows, cols) = self._assembly.combination.window, shape
        spectral = self._prompts is not None
        carried = (_DECISION_BYTES + _CELL_BYTES * spectral) * (rows + side) * (cols + side)
        pair = (_PAIR_BYTES + 10 * len(self._assembly.bands)) * side * side
        return carried + pair + max(self._assembly.memory(side), CELL_BYTES * spectral)

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, context: StripContext = ALONE
    ) -> Result:
        """Map one strip; see :class:`eopipe.kernels.protocol.Kernel`."""
        assert self._stages is not None, "load() comes before the first strip"
        outer, statistics = box.pad(self._info.window.halo), context.statistics
        carry = context.carry if isinstance(context.carry, Carry) else Carry()
        cells = None
        if self._prompts is not None:
            cells = CellCache(self.net, self._prompts, pixels, valid, outer, statistics, dict(carry.cells))
        strip = StripPictures(self._stages, pixels, valid, outer, statistics, cells)
        return map_strip(
            strip, box, combination=self._assembly.combination, area=context.inside, carry=carry,
            threshold=self._threshold,
        )  # fmt: skip

    def with_threshold(self, threshold: int) -> StagedChange:
        """The same kernel with another threshold; see :class:`eopipe.kernels.protocol.Rethresholding`.

        Raises:
            SpecError: It is out of range, or objects were decided on, whose scores a map of pixels does not hold.
        """
        if self._assembly.combination.proposer != PIXELS:
            raise SpecError(
                f"at: {self._options.instantiation} decides on whole objects, whose scores the map does not hold; "
                f"run the spec anew with another beta, or cut a map of pixels ({PIXELS}, spectral-land-cover)"
            )
        return StagedChange(self._assembly, self._prompts, threshold=check_threshold(threshold))


def _describe(assembly: Assembly, prompts: PromptClasses | None, threshold: int | None) -> KernelInfo:
    options, combination = assembly.options, assembly.combination
    names = tuple(name for name, _ in options.prompts)
    phrases = tuple(phrase for _, synonyms in options.prompts for phrase in synonyms)
    classes, kinds = (CLASSES, "land cover") if prompts is not None else (_classes(assembly), "class")
    stride = stride_of(combination.window)
    # where colours are compared, whole cells around the pictures are; else the pictures alone
    halo = CELL + HALO if prompts is not None else stride + MOVE_MARGIN
    return KernelInfo(
        name="change",
        version=VERSION,
        inputs=Inputs(
            "optical",
            assembly.bands,
            gsd=PUBLISHED_GSD[0] if assembly.of_photographs else 10.0,
            epochs=2,
            levels=("L1C",) if assembly.bands == BANDS else (),
        ),
        window=Window(size=combination.window, stride=stride, halo=halo),
        arrays=change_arrays(names, phrases, classes, kinds=kinds, threshold=threshold),
        options=options.complete(),
        objects=object_spec(classes, seams="doubles" if combination.instances else "touching"),
        weights={**assembly.weights, **(prompts.weights if prompts is not None else {})},
        places=assembly.path_options,
        provenance={
            "model": options.instantiation,
            "order": combination.order,
            **assembly.provenance,
            **({"at": threshold} if threshold is not None else {}),
        },
    )


def _classes(assembly: Assembly) -> tuple[ClassInfo, ...]:
    """Codes follow the classes, from 1: background, then the prompts."""
    prompts = dict(assembly.options.prompts)
    return Vocabulary(assembly.classes, tuple(prompts.get(name, (name,)) for name in assembly.classes)).classes()
