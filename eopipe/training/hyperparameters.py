"""What makes mini's weights: every number of the training, in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

FOUR_BANDS = ("blue", "green", "red", "nir")
TRUE_COLOUR = ("blue", "green", "red")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training.

    Args:
        bands: What the student sees.
        seed: Of everything drawn.
        alone: Steps in which the imputer learns the missing bands by themselves.
        joint: Steps in which imputer and trunk learn the teacher's answers together.
        size: Patches a step.
        side: Of a patch, pixels.
        rate: Peak learning rate of the imputer; half of it while all learn together.
        trunk_rate: Of the trunk, which starts from the teacher's weights.
        decay: Weight decay.
        bands_weight: Of the imputed bands' mean square error, beside the teacher's cross-entropy.
        embedding_weight: Of one minus the cosine with the teacher's embeddings; in every second step.
        average: Decay of the weights' running mean, which is what ships.
        precision: Of the products.
    """

    bands: tuple[str, ...] = FOUR_BANDS
    seed: int = 0
    alone: int = 1500
    joint: int = 700
    size: int = 8
    side: int = 128
    rate: float = 2e-3
    trunk_rate: float = 2e-4
    decay: float = 1e-3
    bands_weight: float = 20.0
    embedding_weight: float = 1.0
    average: float = 0.995
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def steps(self) -> int:
        """All of them."""
        return self.alone + self.joint

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"bands": list(self.bands)}
