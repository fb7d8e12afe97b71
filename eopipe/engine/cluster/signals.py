"""Keep Ctrl-C from the workers, so that a run can drain (DESIGN §5: local workers ignore SIGINT).

A terminal sends SIGINT to the whole process group, workers included, and a handler installed in
a worker comes too late: one that is just starting would die in its imports. So the signal is
*blocked* in the thread that starts the cluster. Threads inherit the mask, and so do processes
through fork and exec: the cluster's event loop, each worker it spawns and each that it starts
again later. The main thread gets its own mask back and remains the one that hears Ctrl-C.
"""

from __future__ import annotations

import contextlib
import signal
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT in this thread and in whatever threads and processes it starts meanwhile.

    A SIGINT that arrives meanwhile is delivered at the end. Does nothing on Windows, which has no masks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # multiprocessing starts its tracker at the first spawn and then *unblocks* SIGINT in that
    # thread (up to Python 3.11), so the first worker would hear it after all: start it beforehand.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
