"""From an exception to the ledger's reason: one table, so that a fault has one name everywhere."""

from __future__ import annotations

import errno

import torch

from eopipe.errors import ItemError, OutputError, TileFault, WeightsError
from eopipe.redact import redact

_ERRNO = {
    errno.ENOSPC: "write.full",
    errno.EDQUOT: "write.full",
    errno.EACCES: "write.denied",
    errno.EPERM: "write.denied",
}


def fault_of(error: BaseException, stage: str) -> TileFault:
    """Name what stopped a tile.

    Args:
        error: What was raised.
        stage: Where: ``scenes``, ``read``, ``kernel``, ``write``, ``cog`` …
    """
    detail = " ".join(redact(str(error)).split())[:500] or type(error).__name__
    if isinstance(error, TileFault):
        return TileFault(error.reason, " ".join(redact(error.detail).split())[:500], transient=error.transient)
    return TileFault(_reason(error, stage), detail)


def _reason(error: BaseException, stage: str) -> str:
    if isinstance(error, OSError) and error.errno in _ERRNO:
        return _ERRNO[error.errno]
    named: dict[type[BaseException], str] = {
        MemoryError: f"{stage}.out_of_memory",
        torch.OutOfMemoryError: f"{stage}.out_of_memory",
        OutputError: getattr(error, "reason", "write.unreachable"),
        ItemError: "read.item",
        WeightsError: "kernel.weights",
    }
    return next(
        (reason for kind, reason in named.items() if isinstance(error, kind)), f"{stage}.{type(error).__name__}"
    )
