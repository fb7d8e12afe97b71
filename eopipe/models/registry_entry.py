"""What a registry knows of a model: all that must travel with its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from eopipe.models.clip.architecture import AttentionSettings, Gelu
    from eopipe.models.weights import WeightsEntry

NO_LICENCE = "none stated"
"""Of weights whose authors say nothing: their users must ask them."""


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model: its weights and where they come from.

    Attributes:
        name: What a spec calls it.
        family: The kind of model.
        version: Of the weights, as their authors count.
        licence: Of the weights: SPDX identifier, or what their authors say.
        weights: The file.
        citation: Paper.
    """

    name: str
    family: Literal["land-cover", "clip", "upsampler", "pixel-text", "foundation"]
    version: str = "1"
    licence: str
    weights: WeightsEntry
    citation: str

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return self.family

    @property
    def provenance(self) -> dict[str, Any]:
        """What a run's record says of it."""
        return {
            "model": self.name,
            "version": self.version,
            "licence": self.licence,
            "source": self.weights.origin,
            "citation": self.citation,
        }


@dataclass(frozen=True, kw_only=True)
class ClassifierEntry(ModelEntry):
    """A net with fixed bands and classes.

    Attributes:
        sensor: Sensor and processing level of the training data.
        bands: The sensor's bands in the order of the input.
        gsd: Ground sample distance it was trained at, metres.
        classes: Names of the outputs, in order.
        normalisation: What happens to the input, for people; the code is in the model's module.
        mean: Per band, of the step that subtracts it, in ``normalisation``'s units.
        std: Per band, of the step that divides by it.
    """

    sensor: str
    bands: tuple[str, ...]
    gsd: float
    classes: tuple[str, ...]
    normalisation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def title(self) -> str:
        """Kernel, classes and sensor."""
        return f"{self.family}, {len(self.classes)} classes, {self.gsd:g} m; {self.sensor}"


@dataclass(frozen=True, kw_only=True)
class DenseEntry(ModelEntry):
    """A net that gives each pixel weights of concepts, and by them a vector in the space of a sentence encoder.

    Attributes:
        sensor: Sensors and processing level of the training data.
        bands: Canonical names in the order of the input, which is reflectance.
        gsd: Lowest and highest ground sample distance that it can be used at, metres.
        concepts: What it was taught, in order.
        text: The sentence encoder.
        mean: Per band, of ``ln(0.005 * DN + 1)``, DN being reflectance * 10000.
        std: Per band, likewise.
        sharpness: The power that a pixel's concept weights are raised to before their vectors are mixed.
        card: What it is made of and good for: a file beside the weights.
    """

    sensor: str
    bands: tuple[str, ...]
    gsd: tuple[float, float]
    concepts: tuple[str, ...]
    text: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sharpness: float
    card: str

    @property
    def title(self) -> str:
        """Kernel, bands and concepts."""
        return f"{len(self.concepts)} concepts in any words, from {', '.join(self.bands)}; {self.sensor}"


@dataclass(frozen=True, kw_only=True)
class ClipEntry(ModelEntry):
    """A pair of towers that put pictures and words into one space.

    Attributes:
        architecture: open_clip's name of it.
        gelu: The activation that the weights are used with.
        modality: What kind of picture the image tower was made for.
        mean: Per channel, of a picture in 0-1.
        std: Per channel, of a picture in 0-1.
        patch: Side of a patch, pixels.
        width: Channels of the joint space.
        gsd: Lowest and highest ground sample distance that published maps were made at with such towers, metres.
        attention: What the last blocks do unless a spec says otherwise.
    """

    architecture: str
    gelu: Gelu
    modality: Literal["optical", "sar"] = "optical"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    patch: int
    width: int
    gsd: tuple[float, float]
    attention: AttentionSettings

    @property
    def title(self) -> str:
        """Modality and patch."""
        return f"CLIP, {self.modality}, patches of {self.patch}"


@dataclass(frozen=True, kw_only=True)
class UpsamplerEntry(ModelEntry):
    """A net that makes a tower's patch features as fine as the picture.

    Attributes:
        made_for: The features it was trained on.
        channels: Of those features; None: any.
        factor: How much finer it makes them; None: any.
    """

    made_for: str
    channels: int | None
    factor: int | None

    @property
    def title(self) -> str:
        """What it was made for."""
        return f"upsampler for {self.made_for}"


FoundationTask = Literal["features", "point-masks", "box-masks", "boxes"]
"""What a foundation model gives: features of patches, masks of points or of boxes, boxes of names."""


@dataclass(frozen=True, kw_only=True)
class FoundationEntry(ModelEntry):
    """A model of the ``transformers`` library: a folder with its configuration and its tensors.

    Attributes:
        kinds: What it can give.
        model_type: What its ``config.json`` calls it.
        patch: Side of a patch, pixels; None where it gives no features.
        width: Channels of its features; None likewise.
        mean: Per channel, of a picture in 0-1.
        std: Per channel, of a picture in 0-1.
    """

    kinds: tuple[FoundationTask, ...]
    model_type: str
    patch: int | None = None
    width: int | None = None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def title(self) -> str:
        """What it can give."""
        if self.patch is not None:
            return f"features of {self.width} channels, patches of {self.patch}"
        return {"point-masks": "masks of points", "boxes": "boxes of what is named"}[self.kinds[0]] + (
            " and of boxes" if "box-masks" in self.kinds else ""
        )
