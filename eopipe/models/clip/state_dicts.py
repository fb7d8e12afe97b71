"""One tower's tensors out of a checkpoint: every one that the architecture has, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from eopipe.errors import WeightsError
from eopipe.models.clip.architecture import HARMLESS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from eopipe.models.clip.architecture import Architecture


def take_tower(
    tensors: Mapping[str, Tensor], which: Literal["image", "text"], architecture: Architecture, path: Path
) -> dict[str, Tensor]:
    """One tower's tensors, float32, with open_clip's names less the tower's prefix.

    Args:
        tensors: A whole checkpoint by open_clip's names (``visual.…``; the text tower's bare or after ``text.``).
        which: The tower.
        architecture: What it must be.
        path: Of the checkpoint, for errors.

    Raises:
        WeightsError: The names are another library's, a tensor is missing, is of another shape, or is one that the
            architecture does not have; tensors that no product uses are ignored.
    """
    _must_be_open_clip(tensors, path)
    shapes = architecture.image_shapes() if which == "image" else architecture.text_shapes()
    names = _image_names(tensors) if which == "image" else _text_names(tensors)
    missing, extra = sorted(shapes.keys() - names), sorted(names.keys() - shapes)
    if missing or extra:
        faults = [f"{len(missing)} missing, such as {name}" for name in missing[:1]]
        faults += [f"{len(extra)} unknown, such as {names[name]}" for name in extra[:1]]
        raise WeightsError(
            f"weights {path} are not of this architecture ({which} tower: {'; '.join(faults)}); give the right one"
        )
    state = {name: tensors[names[name]].float() for name in shapes}
    for name, shape in shapes.items():
        if state[name].shape != shape:
            raise WeightsError(
                f"weights {path} are not of this architecture: {names[name]} is {_times(tuple(state[name].shape))}, "
                f"expected {_times(shape)}; give the right one"
            )
    return state


def _image_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {name.removeprefix("visual."): name for name in tensors if name.startswith("visual.")}


def _text_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    bare = {name.removeprefix("text."): name for name in tensors if not name.startswith("visual.")}
    return {name: full for name, full in bare.items() if name not in HARMLESS}


def _must_be_open_clip(tensors: Mapping[str, Tensor], path: Path) -> None:
    if "visual.conv1.weight" in tensors:
        return
    if any(name.startswith(("vision_model.", "text_model.")) for name in tensors):
        raise WeightsError(
            f"weights {path} are laid out for the transformers library; open_clip's layout is needed "
            f"(visual.conv1.weight, …): take the repository's open_clip_model.safetensors, or convert them"
        )
    raise WeightsError(
        f"weights {path} are no CLIP in open_clip's layout: there is no visual.conv1.weight but "
        f"{', '.join(sorted(tensors)[:3])}, …; give a whole CLIP's checkpoint"
    )


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))  # noqa: RUF001  (a size, for people)
