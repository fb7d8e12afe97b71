"""Predictors of change on pairs of 8-bit pictures: DynamicEarth's stages with their settings, and baselines."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from eopipe.errors import SpecError
from eopipe.evaluation.change.cards import figure_of
from eopipe.evaluation.run import choose_device
from eopipe.kernels.change.dynamicearth.assemble import Assembly
from eopipe.kernels.change.dynamicearth.combinations import instantiation
from eopipe.kernels.change.dynamicearth.options import StageOptions
from eopipe.kernels.change.dynamicearth.published_settings import find_settings
from eopipe.kernels.change.spectral.threshold import otsu
from eopipe.kernels.change.stages.pair import RGB, BandStretch, DatePair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.evaluation.change.cards import ChangeCard, ChangeFigure
    from eopipe.evaluation.run import Predictor

WITHOUT_WEIGHTS: Mapping[str, Any] = {"instantiation": "felzenszwalb-spectral", "identifier": "none"}
"""The default: segments whose colour changed, of any class. It needs no weights."""

STAGES = ("proposer", "comparer", "identifier")
"""Options that replace a stage of a combination."""

PICTURE = BandStretch(RGB, black=0.0, white=255.0)
"""8-bit pictures, red first, without a stretch."""


BASELINES = {"change vectors": False, "change vectors, levelled": True}
"""Names of change-vector analysis, and whether its bands are levelled."""


@dataclass(frozen=True)
class StagesPlan:
    """The settings of DynamicEarth's stages on a set.

    Args:
        options: Options of the kernel's stages.
        side: Larger pictures are cut in pieces of this side, pixels; None: they are not.
        published: The figure that was published with these settings.
        differences: Settings that are not the published ones.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    side: int | None = None
    published: ChangeFigure | None = None
    differences: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the combination, and the stages that replace its own."""
        replaced = [f"{stage} {self.options[stage]}" for stage in STAGES if stage in self.options]
        return ", ".join([str(self.options["instantiation"]), *replaced])


@dataclass(frozen=True)
class Method:
    """A predictor of change, ready to use.

    Args:
        name: Name in reports.
        predict: Maps a pair.
        identity: Everything that decides a prediction, as plain JSON.
        provenance: Origin and hashes of its weights.
        notes: Further remarks for the user.
        plan: Its settings beside the published ones; of a baseline empty.
    """

    name: str
    predict: Predictor
    identity: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    plan: StagesPlan = field(default_factory=StagesPlan)


def plan_stages(
    card: ChangeCard, category: str, overrides: Mapping[str, Any], *, side: int | None = None
) -> StagesPlan:
    """A set's published settings, with options of the user in their place.

    Args:
        card: The set.
        category: The category of change.
        overrides: Options of the kernel by name; None means the published, or the kernel's default.
        side: Side of pieces, pixels; None: the published.

    Raises:
        SpecError: There is no such instantiation.
    """
    options = {name: value for name, value in overrides.items() if value is not None}
    name = options.get("instantiation")
    if name is None:
        return StagesPlan({**WITHOUT_WEIGHTS, "prompts": {category: [category]}, **options}, side)
    published, published_side = _published(card, category, name) if instantiation(name).published else ({}, None)
    differences = [
        f"{key} {_text(options[key])} (published: {_text(value)})"
        for key, value in published.items()
        if key in options and options[key] != value
    ]
    # any further option may change a map too, except for the path of a file
    neutral = {*published, "instantiation", "upsampler_checkpoint"}
    differences += [f"{key} {_text(value)}" for key, value in options.items() if published and key not in neutral]
    if published and side not in {None, published_side}:
        differences.append(f"side {side} (published: {published_side})")
    figure = figure_of(card, category, name) if published and not differences else None
    options = {"instantiation": name, "prompts": {category: [category]}, **published, **options}
    return StagesPlan(options, side or published_side, figure, tuple(differences))


def load_methods(plan: StagesPlan, *, baselines: bool, device: str) -> list[Method]:
    """The stages of a plan, then the baselines; files are looked up, checked and loaded.

    Args:
        plan: The settings.
        baselines: Whether change-vector analysis is added.
        device: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        SpecError: An option has a bad value, or a stage needs bands that pictures do not have.
        WeightsError: A file is missing, of another sha256, or unsafe; the message says which file goes where.
    """
    methods = [_load_stages(plan, device)]
    if baselines:
        methods += [Method(name, ChangeVectors(levelled=levelled)) for name, levelled in BASELINES.items()]
    return methods


def change_vectors(before: NDArray[Any], after: NDArray[Any], *, levelled: bool = False) -> NDArray[np.bool_]:
    """Change-vector analysis (Malila 1980): pixels whose difference over all bands exceeds Otsu's threshold (1979).

    Args:
        before: ``[band, ...]``, every pixel valid; the threshold is that of all these pixels.
        after: The same of the later date.
        levelled: Whether each band of each date is first brought to mean 0 and deviation 1.

    Returns:
        True where changed, ``[...]``.
    """
    dates = [np.asarray(date, np.float64) for date in (before, after)]
    if levelled:
        dates = [_levelled(date) for date in dates]
    length = np.sqrt(((dates[1] - dates[0]) ** 2).sum(axis=0))
    return np.asarray(length > otsu(length))


class ChangeVectors:
    """`change_vectors` as a predictor of pairs of pictures.

    Args:
        levelled: See `change_vectors`.
    """

    def __init__(self, *, levelled: bool = False) -> None:
        self._levelled = levelled

    def __call__(self, pair: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """0 and 1, ``[H, W]``, of pictures ``[2, H, W, 3]``."""
        before, after = pair.transpose(0, 3, 1, 2)
        return change_vectors(before, after, levelled=self._levelled).astype(np.uint8)


def _levelled(date: NDArray[np.float64]) -> NDArray[np.float64]:
    axes = tuple(range(1, date.ndim))
    mean, deviation = date.mean(axis=axes, keepdims=True), date.std(axis=axes, keepdims=True)
    return np.asarray((date - mean) / np.where(deviation > 0, deviation, 1))


def _load_stages(plan: StagesPlan, device: str) -> Method:
    options = _options(plan)
    assembly = Assembly.resolve(options)
    lacking = [band for band in assembly.bands if band not in RGB]
    if lacking:
        raise SpecError(
            f"{plan.name} sees {', '.join(lacking)}, and pictures have {', '.join(RGB)} only; name other stages "
            f"with --instantiation, or --set comparer=… and --set identifier=…"
        )
    loaded = assembly.load(PICTURE, device=choose_device(device), threads=os.cpu_count() or 1)

    def predict(pair: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pixels = np.ascontiguousarray(pair.transpose(0, 3, 1, 2), np.float32)
        valid = np.ones((2, *pair.shape[1:3]), np.bool_)
        return loaded(DatePair(pixels, valid)).changes.mask().astype(np.uint8)

    deciding = {name: value for name, value in options.complete().items() if name not in assembly.path_options}
    return Method(
        name=plan.name,
        predict=predict,
        identity={"options": deciding, "weights": assembly.weights, "side": plan.side},
        provenance=assembly.provenance,
        notes=assembly.notes,
        plan=plan,
    )


def _options(plan: StagesPlan) -> StageOptions:
    try:
        return StageOptions.model_validate(dict(plan.options))
    except ValidationError as error:
        first = error.errors()[0]
        key = "".join(f"{name}: " for name in first["loc"][:1])
        problem = " ".join(str(first["msg"]).removeprefix("Value error, ").split())
        raise SpecError(f"{key}{problem}; give such options with --set KEY=VALUE") from None


def _published(card: ChangeCard, category: str, name: str) -> tuple[dict[str, Any], int | None]:
    """Options and side of the published settings; none where the paper has none for the set."""
    if card.dataset is None:
        return {}, None
    settings = find_settings(name, card.dataset, category)
    options: dict[str, Any] = {
        "prompts": {category: list(settings.foreground)},
        **{name: getattr(settings, name) for name in ("beta", "rule", "points", "resize")},
        "background": list(settings.background) or None,
    }
    return {key: value for key, value in options.items() if value is not None}, settings.side


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
