"""The models that kernels can name, with all that must travel with their weights."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from eopipe.errors import WeightsError
from eopipe.models.weights import WeightsEntry, find

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model: its weights and what they were trained to see.

    Attributes:
        name: What a spec calls it.
        version: Of the weights, as their authors count.
        family: The kernel that it serves.
        sensor: Sensor and processing level of the training data.
        bands: The sensor's bands in the order of the input.
        gsd: Ground sample distance it was trained at, metres.
        classes: Names of the outputs, in order.
        licence: SPDX identifier of the weights.
        weights: The file.
        normalisation: What happens to the input, for people; the code is in the model's module.
        mean: Per band, of the step that subtracts it, in ``normalisation``'s units.
        std: Per band, of the step that divides by it.
        citation: Paper.
    """

    name: str
    version: str
    family: str
    sensor: str
    bands: tuple[str, ...]
    gsd: float
    classes: tuple[str, ...]
    licence: str
    weights: WeightsEntry
    normalisation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    citation: str


DYNAMIC_WORLD = ModelEntry(
    name="dynamic-world",
    version="1",
    family="land-cover",
    sensor="Sentinel-2 MSI L1C, top-of-atmosphere reflectance",
    bands=("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12"),
    gsd=10.0,
    classes=(
        "water",
        "trees",
        "grass",
        "flooded_vegetation",
        "crops",
        "shrub_and_scrub",
        "built",
        "bare",
        "snow_and_ice",
    ),
    licence="Apache-2.0",
    weights=WeightsEntry(
        name="dynamic-world v1 forward",
        file="dynamicworld/dynamicworld_forward_fused.npz",
        sha256="3b1726946bda77768b66fb50cc5995e7499aea9ab28f2cf7597cdba53f4293b0",
        size=892094,
        licence="Apache-2.0",
        origin="github.com/google/dynamicworld, model/forward, batch norm folded",
    ),
    normalisation="x = ln(0.005*DN + 1); x = (x - mean)/std; x = 1/(1 + exp(1 - 5*x)); DN = reflectance*10000",
    mean=(
        1.7417268007636313,
        1.7261204997060209,
        1.6798346251414997,
        1.7734969472909623,
        2.289154079164943,
        2.382939712192371,
        2.3828939530384052,
        2.1952484264967844,
        1.554812948247501,
    ),
    std=(
        2.023298706048351,
        2.038905204308012,
        2.179592821212937,
        2.2890068333026603,
        2.6171674549378166,
        2.773418590375327,
        2.7578332604178284,
        2.789092484314204,
        2.4140534947492487,
    ),
    citation="Brown et al. 2022, Dynamic World, near real-time global land cover at 10 m, Sci. Data 9:251",
)

MODELS: Mapping[str, ModelEntry] = MappingProxyType({DYNAMIC_WORLD.name: DYNAMIC_WORLD})
"""Every model by name."""


def get_model(name: str) -> ModelEntry:
    """Return a model's entry.

    Args:
        name: A key of `MODELS`.

    Raises:
        WeightsError: No such model; the message lists those there are.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise WeightsError(f"no model {name!r}; there are: {', '.join(sorted(MODELS))}") from None


def listing() -> list[dict[str, object]]:
    """Every model for people and ``--json``: what it is, its licence, and whether its weights are here."""
    rows: list[dict[str, object]] = []
    for model in MODELS.values():
        path = find(model.weights)
        here = str(path) if path is not None else f"missing: put {model.weights.file} into EOPIPE_WEIGHTS"
        rows.append(
            {
                "name": model.name,
                "title": f"{model.family}, {len(model.classes)} classes; {model.sensor}",
                "gsd": model.gsd,
                "bands": list(model.bands),
                "classes": list(model.classes),
                "licence": model.licence,
                "sha256": model.weights.sha256,
                "origin": model.weights.origin,
                "weights": here,
            }
        )
    return rows
