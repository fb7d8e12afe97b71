"""``eopipe bench``: how fast a kernel is on this machine, against the plain form of its model, in one run.

A kernel's bench is a module with ``bench(*, rounds) -> dict``; it is imported only when it is asked for.
"""

from __future__ import annotations

import statistics
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BENCHES = {"land-cover": "eopipe.engine.bench.land_cover", "ovss": "eopipe.engine.bench.ovss"}
"""Kernel to the module that times it."""


def bench(kernel: str, *, rounds: int = 5) -> dict[str, Any]:
    """Time a kernel; what comes back is the kernel's own.

    Args:
        kernel: One of :data:`BENCHES`.
        rounds: Timed rounds of each form, after one that warms up.

    Raises:
        SpecError: There is no bench of this kernel.
    """
    if kernel not in BENCHES:
        raise SpecError(f"bench: there is none for {kernel!r}; there is one for {', '.join(sorted(BENCHES))}")
    figures: dict[str, Any] = import_module(BENCHES[kernel]).bench(rounds=rounds)
    return figures


def seconds(form: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    form()
    return time.perf_counter() - start


def median_seconds(forms: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Medians of interleaved rounds, by form."""
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            taken[name].append(seconds(form))
    return {name: statistics.median(times) for name, times in taken.items()}
