"""A block's sums as a file: exact, the same bytes for the same inputs, and damage is found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.canonical_json import canonical_json, digest
from eopipe.errors import DamageError, OutputError, TileFault

if TYPE_CHECKING:
    from eopipe.kernels.statistics import Sums

VERSION = 1
"""Version of the file's form; a reader refuses any other."""

REMEDY = "delete it and run again, which measures the block anew"


@dataclass(frozen=True)
class BlockSums:
    """What a stage measured in a block. No time, host or row of a snapshot: equal inputs give equal bytes.

    Args:
        stage: Name of the stage.
        block: Name of the block.
        inputs: Key of its inputs.
        cells: Names of the cells that had a valid pixel in every epoch, in lattice order.
        sums: Added over those; empty where there was none.
    """

    stage: str
    block: str
    inputs: str
    cells: tuple[str, ...]
    sums: Sums

    def to_bytes(self) -> bytes:
        """JSON whose numbers are read back exactly, with the digest by which damage is found.

        Raises:
            TileFault: A sum is not finite.
        """
        for name, array in self.sums.items():
            if not np.isfinite(array).all():
                raise TileFault("kernel.not_finite", f"stage {self.stage} gave {name} that is not finite")
        body = {
            "version": VERSION,
            "stage": self.stage,
            "block": self.block,
            "inputs": self.inputs,
            "cells": list(self.cells),
            "sums": {name: [list(array.shape), array.ravel().tolist()] for name, array in self.sums.items()},
        }
        return canonical_json({**body, "digest": _digest(body)})

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> BlockSums:
        """Parse a file.

        Raises:
            DamageError: It is empty, cut off, or not what was written.
            OutputError: It is of another version.
        """
        try:
            body: dict[str, Any] = json.loads(data)
            stated = body.pop("digest", None)
            if stated == _digest(body) and body["version"] != VERSION:
                raise OutputError(
                    f"{where} has version {body['version']!r}, and this eopipe reads {VERSION}; "
                    f"use the eopipe that wrote it"
                )
            if stated != _digest(body):
                raise DamageError(f"{where} is damaged: its digest is not that of its content; {REMEDY}")
            sums = {
                name: np.asarray(values, np.float64).reshape(shape) for name, (shape, values) in body["sums"].items()
            }
            return cls(body["stage"], body["block"], body["inputs"], tuple(body["cells"]), sums)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamageError(f"{where} is damaged ({type(error).__name__}, {len(data)} bytes); {REMEDY}") from None


def _digest(body: dict[str, Any]) -> str:
    return digest(body)[:16]
