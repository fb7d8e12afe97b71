"""What a spec may say under ``kernel`` beside ``name: change`` where pixels' colours are compared."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator, model_validator

from eopipe.kernels.change.dynamicearth.combinations import INSTANTIATIONS
from eopipe.kernels.land_cover import CLASSES
from eopipe.kernels.ovss.options import Prompts  # noqa: TC001  (pydantic reads annotations)

SPECTRAL = "spectral-land-cover"
"""The embedded instantiation: pixels' colours compared, Dynamic World to say what they are."""

TEACHER_CLASSES = tuple(info.name for info in CLASSES)


def _known(value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for prompt, classes in value.items():
        unknown = [name for name in classes if name not in TEACHER_CLASSES]
        if unknown or not classes:
            said = f"{unknown[0]!r} is no class" if unknown else "there is none"
            raise ValueError(f"of {prompt!r}, {said}; name some of {', '.join(TEACHER_CLASSES)}")
    return value


TeacherClasses = Annotated[dict[str, tuple[str, ...]], AfterValidator(_known)]
"""Land-cover classes by the name of the prompt that stands for them."""


def refuse_unknown_prompts(classes: dict[str, tuple[str, ...]], prompts: Prompts) -> None:
    """Classes are of prompts that are there.

    Raises:
        ValueError: One is of none.
    """
    names = [name for name, _ in prompts]
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise ValueError(f"teacher_classes: {unknown[0]!r} is no prompt; the prompts are {', '.join(names)}")


class Options(BaseModel):
    """The kernel's options.

    Args:
        instantiation: `SPECTRAL`; what goes through stages has options of its own (`StageOptions`).
        prompts: What may have changed: names with their phrases. A pixel changed if it did for any of them.
        teacher_classes: Land-cover classes that a prompt stands for, by the prompt's name; for the others they are
            read from the phrases, and the plan prints them.
        registration: Whether the second date is moved onto the first by the shift that the area shows.
        precision: Of Dynamic World; ``auto`` is float32, as for ``land-cover``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    instantiation: str = SPECTRAL
    prompts: Prompts = (("construction", ("construction",)),)
    teacher_classes: TeacherClasses = {}
    registration: bool = True
    precision: Literal["float32", "auto"] = "float32"

    @field_validator("instantiation")
    @classmethod
    def _embedded(cls, value: str) -> str:
        if value == SPECTRAL:
            return value
        names = [SPECTRAL, *INSTANTIATIONS]
        close = get_close_matches(value, names, n=1)
        raise ValueError(f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}")

    @model_validator(mode="after")
    def _prompts_are_there(self) -> Options:
        refuse_unknown_prompts(self.teacher_classes, self.prompts)
        return self

    def complete(self) -> dict[str, Any]:
        """All options as plain JSON values: part of the tile recipe."""
        return self.model_dump(mode="json")
