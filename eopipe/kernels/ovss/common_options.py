"""Options that every open-vocabulary model has: what is asked of it, and at which size of pixels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from eopipe.kernels.ovss.prompts import Vocabulary, parse_prompts

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Scale = Annotated[float, Field(gt=0, le=1000)]
"""Beyond a thousand, a cosine's last digit decides, and at last no number is left."""

Prompts = Annotated[
    tuple[tuple[str, tuple[str, ...]], ...],
    BeforeValidator(parse_prompts),
    PlainSerializer(lambda pairs: [[name, list(phrases)] for name, phrases in pairs]),  # JSON keeps a list's order
]


class Asking(BaseModel):
    """What is asked.

    Args:
        model: A name that ``eopipe models`` lists.
        prompts: Class names with their synonyms; codes follow the order, from 1.
        threshold: Pixels whose best class probability is below become background.
        gsd: Ground sample distance the model sees: ``grid``, or metres that divide the grid's resolution.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    prompts: Prompts
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    gsd: Literal["grid"] | Positive = "grid"

    @property
    def vocabulary(self) -> Vocabulary:
        """The prompts as classes and queries."""
        names, synonyms = zip(*self.prompts, strict=True)
        return Vocabulary(names, synonyms)

    def complete(self) -> dict[str, Any]:
        """All options as plain JSON values: part of the tile recipe."""
        return self.model_dump(mode="json")
