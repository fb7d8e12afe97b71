"""Compiled functions of the fast upsamplers: numba, for whatever CPU this is.

numba is a dependency anyway, so no compiler is needed on the user's machine, and no thread pool takes part: the same
CPU gives the same bytes whatever torch's or the BLAS's threads are. `eopipe.models._simd_ir` writes the LLVM IR of
those inner loops that a compiler would not keep in registers.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numba

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_R = TypeVar("_R")

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",  # a check for zero before each division would keep loops scalar
    # and no "reassoc": it would cancel the constants by which exp rounds
    "fastmath": {"contract"},
}


def jit(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile with numba, as part of an `entry`: no GIL, contraction to fused multiply-add.

    Args:
        function: A function of the numba subset.

    Returns:
        The compiled function, typed as the original.
    """
    return cast("Callable[_P, _R]", numba.njit(**OPTIONS)(function))


def entry(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile as `jit` does, and keep the machine code on disk where a folder can be written.

    numba compares the time of the function's own file only. The functions that it calls lie in the files beside it
    and beside this one, so the hash of them all must match too, or an old kernel would run after an upgrade. An index
    of an older release may name types that are gone; it is emptied.

    Args:
        function: A function of the numba subset, called from Python.

    Returns:
        The compiled function, typed as the original.
    """
    try:
        compiled = numba.njit(cache=True, **OPTIONS)(function)
        index = compiled._cache._cache_file  # noqa: SLF001  (numba has no public way)
        folder = Path(function.__code__.co_filename).parent
        index._source_stamp = (index._source_stamp, _sources(folder))  # noqa: SLF001
        with suppress(OSError):
            _empty_unreadable(index)
    except (RuntimeError, AttributeError):  # no folder to write to, or a numba that keeps it elsewhere
        return jit(function)
    return cast("Callable[_P, _R]", compiled)


def _empty_unreadable(index: Any) -> None:
    try:
        index._load_index()  # noqa: SLF001
    except Exception:  # noqa: BLE001  (what unpickling raises depends on what has changed)
        index.flush()


@cache
def _sources(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted({*Path(__file__).parent.glob("_*.py"), *folder.glob("_*.py")}):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def vector_width() -> int:
    """Return how many float32 fit a vector register of the CPU that numba compiles for."""
    config: Any = numba.config
    if config.CPU_FEATURES is not None:
        features = str(config.CPU_FEATURES)
    elif config.CPU_NAME is not None:
        return 4
    else:
        features = str(llvm.get_host_cpu_features().flatten())
    if "+avx512f" in features and "+avx512vl" in features:
        return 16
    return 8 if "+avx2" in features and "+fma" in features else 4
