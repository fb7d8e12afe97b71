"""What a spec may say under ``kernel`` beside ``name: change``."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from eopipe.kernels.change.instantiations import INSTANTIATIONS
from eopipe.kernels.land_cover import CLASSES
from eopipe.kernels.ovss.asking import Prompts  # noqa: TC001  (pydantic reads annotations)

SPECTRAL = "spectral-land-cover"
"""The embedded instantiation: pixels' colours compared, Dynamic World to say what they are."""

TEACHER_CLASSES = tuple(info.name for info in CLASSES)


class Options(BaseModel):
    """The kernel's options.

    Args:
        instantiation: The combination of stages; here the embedded one.
        prompts: What may have changed: names with their phrases. A pixel changed if it did for any of them.
        teacher_classes: Land-cover classes that a prompt stands for, by the prompt's name; for the others they are
            read from the phrases, and the plan prints them.
        registration: Whether the second date is moved onto the first by the shift that the area shows.
        precision: Of Dynamic World; ``auto`` is float32, as for ``land-cover``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    instantiation: str = SPECTRAL
    prompts: Prompts = (("construction", ("construction",)),)
    teacher_classes: dict[str, tuple[str, ...]] = {}
    registration: bool = True
    precision: Literal["float32", "auto"] = "float32"

    @field_validator("instantiation")
    @classmethod
    def _embedded(cls, value: str) -> str:
        if value == SPECTRAL:
            return value
        known = INSTANTIATIONS.get(value)
        if known is None:
            close = get_close_matches(value, [SPECTRAL, *INSTANTIATIONS], n=1)
            raise ValueError(f"did you mean {close[0]!r}?" if close else f"write {SPECTRAL}")
        if known.published:
            raise ValueError(
                f"the {known.order} stages that {value} names need weights that are not shipped and cannot be given "
                f"in a spec yet; write {SPECTRAL}, or use eopipe.kernels.change.pipelines in Python"
            )
        raise ValueError(
            f"it needs a comparer and an identifier, which cannot be named in a spec yet; write {SPECTRAL}, or use "
            f"eopipe.kernels.change.pipelines in Python"
        )

    @field_validator("teacher_classes")
    @classmethod
    def _classes_are_known(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for prompt, classes in value.items():
            unknown = [name for name in classes if name not in TEACHER_CLASSES]
            if unknown or not classes:
                said = f"{unknown[0]!r} is no class" if unknown else "there is none"
                raise ValueError(f"of {prompt!r}, {said}; name some of {', '.join(TEACHER_CLASSES)}")
        return value

    @model_validator(mode="after")
    def _prompts_are_there(self) -> Options:
        names = [name for name, _ in self.prompts]
        unknown = [name for name in self.teacher_classes if name not in names]
        if unknown:
            raise ValueError(f"teacher_classes: {unknown[0]!r} is no prompt; the prompts are {', '.join(names)}")
        return self

    def complete(self) -> dict[str, Any]:
        """All options as plain JSON values: part of the tile recipe."""
        return self.model_dump(mode="json")
