"""The ``change`` kernel as ``spectral-land-cover``: which pixels changed into, or from, what the prompts name.

Cells of 512 x 512 on the absolute lattice, each compared whole with a halo for everything that its pixels depend on
(`eopipe.kernels.change.spectral.cell`), against numbers that statistics stages measured in a wider area
(`eopipe.kernels.change.spectral.statistics`): so neither tiles nor blocks can be seen in the map. The score is given
in hundredths of the threshold of its place, as an integer, and the map is that integer's comparison with 100.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, model_validator

from eopipe.grid import CELL
from eopipe.kernelinfo import Inputs, KernelInfo, Window
from eopipe.kernels.change.arrays import change_arrays, sentinel_2_warnings
from eopipe.kernels.change.objects import changed_regions, object_spec
from eopipe.kernels.change.prompt_classes import TeacherClasses, read_prompts, refuse_unknown_prompts
from eopipe.kernels.change.registration.alignment import SHIFT, RegistrationSums
from eopipe.kernels.change.score import UNOBSERVED, change_of, check_threshold, hundredths
from eopipe.kernels.change.spectral.base import ChangeKernel
from eopipe.kernels.change.spectral.cell import CELL_BYTES, HALO, compare_cell
from eopipe.kernels.land_cover import BANDS, CLASSES
from eopipe.kernels.ovss.options import Prompts  # noqa: TC001  (pydantic reads annotations)
from eopipe.kernels.protocol import ALONE, Result
from eopipe.models.registry import DYNAMIC_WORLD
from eopipe.models.weights import file_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.prompt_classes import PromptClasses
    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.protocol import StripContext

VERSION = "2"

SPECTRAL_LAND_COVER: Final = "spectral-land-cover"
"""The instantiation of a spec that names none."""


class SpectralOptions(BaseModel, extra="forbid", frozen=True, validate_default=True):
    """What a spec may say under ``kernel`` beside ``name: change`` where pixels' colours are compared.

    Args:
        instantiation: `SPECTRAL_LAND_COVER`; combinations of stages have options of their own (`StageOptions`).
        prompts: What may have changed: names with their phrases. A pixel changed if it did for any of them.
        teacher_classes: Land-cover classes that a prompt stands for, by the prompt's name; those of the other
            prompts are read from their phrases, and the plan prints them.
        registration: Whether the second date is moved onto the first by the shift that the area shows.
        precision: Of Dynamic World; ``auto`` is float32, as for ``land-cover``: bfloat16 changes labels.
    """

    instantiation: Literal["spectral-land-cover"] = SPECTRAL_LAND_COVER
    prompts: Prompts = (("construction", ("construction",)),)
    teacher_classes: TeacherClasses = {}
    registration: bool = True
    precision: Literal["float32", "auto"] = "float32"

    @model_validator(mode="after")
    def _classes_are_of_prompts(self) -> SpectralOptions:
        refuse_unknown_prompts(self.teacher_classes, self.prompts)
        return self

    def complete(self) -> dict[str, Any]:
        """All options as plain JSON values, the precision decided: part of the tile recipe."""
        return {**self.model_dump(mode="json"), "precision": "float32"}


def create(options: SpectralOptions) -> SpectralChange:
    """Make the kernel; see :func:`eopipe.kernels.registry.create`."""
    return SpectralChange(options, read_prompts(options.prompts, options.teacher_classes))


class SpectralChange(ChangeKernel):
    """The kernel; see the module.

    Args:
        options: The spec's.
        prompts: What its prompts mean.
        threshold: Where ``change_score`` is cut, in hundredths of the threshold, and the map says so; None: at it.
    """

    _prompts: PromptClasses

    def __init__(self, options: SpectralOptions, prompts: PromptClasses, *, threshold: int | None = None) -> None:
        info = _describe(options, prompts, threshold)
        super().__init__(info, prompts=prompts, registration=options.registration, threshold=threshold)
        self._options = options

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:
        """Warn of Level-2A input and of a ground sample distance far from 10 m."""
        return sentinel_2_warnings(levels, self._info.inputs.levels, resolution)

    def words(self) -> Sequence[WordNote]:
        """How near each phrase is to what was taught; see :class:`eopipe.kernels.known_words.KnowsWords`."""
        return self._prompts.notes

    def memory(self, shape: tuple[int, int]) -> int:  # noqa: ARG002  (cells are finished one by one)
        """Peak bytes beside a strip's pixels and results: one cell's work."""
        return CELL_BYTES

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, context: StripContext = ALONE
    ) -> Result:
        """Map one strip; see :class:`eopipe.kernels.protocol.Kernel`."""
        outer, area, statistics = box.pad(HALO), context.inside, context.statistics
        out = {spec.name: np.full(box.shape, spec.nodata, np.uint8) for spec in self._info.arrays}
        registration = RegistrationSums()
        mapped = valid[0] if area is None else valid[0] & area
        for cell in box.blocks(CELL):
            window, target = cell.pad(HALO).slices(outer), cell.slices(box)
            if not (mapped[cell.slices(outer)].any() and valid[1][window].any()):
                continue  # no pixel to compare, or none inside the area of interest
            compared = compare_cell(
                pixels[:, :, *window], valid[:, *window], cell, statistics, runner=self.net, prompts=self._prompts
            )
            registration.add(cell, compared.visible, compared.valid, statistics.get(SHIFT))
            score = np.where(compared.valid, hundredths(compared.ratio(cell, statistics)), UNOBSERVED)
            out["change_score"][target] = score
            out["change"][target] = change_of(score, self._threshold)
            out["label_before"][target], out["label_after"][target] = compared.labels
        objects = changed_regions(out, box, None if area is None else area[box.slices(outer)])
        return Result(out, objects, figures=registration.sums)

    def with_threshold(self, threshold: int) -> SpectralChange:
        """The same kernel with another threshold; see :class:`eopipe.kernels.protocol.Rethresholding`."""
        return SpectralChange(self._options, self._prompts, threshold=check_threshold(threshold))


def _describe(options: SpectralOptions, prompts: PromptClasses, threshold: int | None) -> KernelInfo:
    return KernelInfo(
        name="change",
        version=VERSION,
        inputs=Inputs("optical", BANDS, gsd=10.0, epochs=2, levels=("L1C",)),
        window=Window(size=CELL + 2 * HALO, stride=CELL, halo=HALO),
        arrays=change_arrays(prompts.names, prompts.phrases, CLASSES, kinds="land cover", threshold=threshold),
        options=options.complete(),
        objects=object_spec(CLASSES, seams="touching"),
        weights={**file_sha256(DYNAMIC_WORLD.weights), **prompts.weights},
        provenance={
            **DYNAMIC_WORLD.provenance,
            "teacher_classes": prompts.by_prompt,
            **({"at": threshold} if threshold is not None else {}),
        },
    )
