"""DynamicEarth's stages on pairs of 8-bit pictures, as the kernel assembles them for maps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from eopipe.errors import SpecError
from eopipe.evaluation.change.methods import STAGES, Method
from eopipe.evaluation.device import choose
from eopipe.kernels.change.dynamicearth.assemble import Assembly
from eopipe.kernels.change.dynamicearth.options import StageOptions
from eopipe.kernels.change.stages.pair import RGB, BandStretch, DatePair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.evaluation.change.methods import Plan
    from eopipe.kernels.change.dynamicearth.assemble import LoadedStages

PICTURE = BandStretch(RGB, black=0.0, white=255.0)
"""8-bit pictures, red first, as they are."""


class Stages:
    """A loaded combination as a predictor of pairs of pictures.

    Args:
        loaded: Stages, for `PICTURE`.
    """

    def __init__(self, loaded: LoadedStages) -> None:
        self._loaded = loaded

    def __call__(self, pair: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """0 and 1, ``[H, W]``, of pictures ``[2, H, W, 3]``."""
        pixels = np.ascontiguousarray(pair.transpose(0, 3, 1, 2), np.float32)
        seen = np.ones((2, *pair.shape[1:3]), np.bool_)
        return self._loaded(DatePair(pixels, seen)).changes.mask().astype(np.uint8)


def stages(plan: Plan, *, device: str) -> Method:
    """What a plan asks for, found, checked and loaded.

    Args:
        plan: Options and the figure that may stand beside.
        device: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        SpecError: An option has a bad value, or a stage sees more than pictures have.
        WeightsError: A file is missing, of another sha256, or unsafe.
    """
    options = _options(plan)
    assembly = Assembly.resolve(options)
    unseen = [band for band in assembly.bands if band not in RGB]
    if unseen:
        raise SpecError(
            f"{_name(plan)} sees {', '.join(unseen)}, and pictures have {', '.join(RGB)} only; name other stages "
            f"with --instantiation, or --set comparer=… and --set identifier=…"
        )
    loaded = assembly.load(PICTURE, device=choose(device), threads=os.cpu_count() or 1)
    decided = {name: value for name, value in options.complete().items() if name not in assembly.path_options}
    return Method(
        name=_name(plan),
        predict=Stages(loaded),
        identity={"options": decided, "weights": assembly.weights, "side": plan.side},
        provenance=assembly.provenance,
        published=plan.published,
        differences=plan.differences,
        notes=assembly.notes,
        side=plan.side,
    )


def _options(plan: Plan) -> StageOptions:
    try:
        return StageOptions.model_validate(dict(plan.options))
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"][:1])
        said = " ".join(str(first["msg"]).removeprefix("Value error, ").split())
        raise SpecError(f"{where}{said}; give such options with --set KEY=VALUE") from None


def _name(plan: Plan) -> str:
    """The combination's, and what is put in place of its stages."""
    other = [f"{stage} {plan.options[stage]}" for stage in STAGES if stage in plan.options]
    return ", ".join([str(plan.options["instantiation"]), *other])
