"""The choices that go with a CLIP encoder. No torch here: a registry and a spec can name them cheaply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["vanilla", "MaskCLIP", "SCLIP", "ClearCLIP", "SegEarth"]
Gelu = Literal["quick", "exact"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class AttentionSettings:
    """What the last blocks of an image tower do (spec 01 §3).

    Attributes:
        kind: The attention matrix: CLIP's own, the identity, or self-self.
        last: How many of the last blocks use it; their outputs are summed.
        ignore_residual: Leave out the residual, ``ln_2`` and the MLP of those blocks.
    """

    kind: Kind
    last: int = 1
    ignore_residual: bool = True
