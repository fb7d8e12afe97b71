"""What a spec may say under ``kernel`` beside ``name: ovss`` where the model looks at pixels: ``mini``."""

from __future__ import annotations

from pydantic import model_validator

from eopipe.kernels.ovss.common_options import Asking, Scale
from eopipe.kernels.ovss.prompts import MOST_CLASSES

OTHER = "other"
"""The class of what nobody asked for."""


class DenseOptions(Asking):
    """The kernel's options; none shapes what the net sees but ``gsd``.

    Args:
        background: The class that takes what nobody asked for. ``auto``: a class of its own, ``other``, of every
            taught concept that no prompt names, and of pixels below ``threshold``. ``none``: each pixel gets the
            nearest prompt. Else one of the prompts' names, which takes pixels below ``threshold``.
        scale: What cosines are multiplied by before the softmax; mini's own makes the winner's probability about as
            high as it is often right.
    """

    background: str = "auto"
    scale: Scale = 3.0

    @model_validator(mode="after")
    def _background_is_there(self) -> DenseOptions:
        names = self.vocabulary.names
        same = next((name for name in names if name.casefold() == OTHER), None)
        if self.background == "auto" and same is not None:
            raise ValueError(
                f"background: 'auto' adds a class {OTHER!r}, and a prompt has that name; rename the prompt, or set "
                f"background: {same}"
            )
        if self.background == "auto" and len(names) >= MOST_CLASSES:  # its code would be that of no data
            raise ValueError(
                f"background: 'auto' adds {OTHER!r} to {len(names)} prompts, and a label holds {MOST_CLASSES} "
                f"classes; drop a prompt, or set background: none"
            )
        if self.background not in {"auto", "none", *names}:
            raise ValueError(
                f"background: {self.background!r} is no prompt; name one of {', '.join(names)}, or auto, or none"
            )
        if self.threshold > 0 and self.background == "none":
            raise ValueError(
                f"threshold: {self.threshold:g} sends pixels to the background, and there is none; set "
                f"background: auto, or to one of the prompts ({', '.join(names)})"
            )
        return self
