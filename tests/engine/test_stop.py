"""Signals: outside of the tiles they end the run there and then; while tiles run they drain."""

import os
import signal

import pytest

from eopipe.engine.work.driver import Stop, catching_signals
from eopipe.errors import Interrupted


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_tiles_ends_the_run(number, status):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="run again to resume") as ended, catching_signals(Stop()):
        os.kill(os.getpid(), number)
    assert ended.value.exit_status == status
    assert signal.getsignal(number) is before


def test_signals_while_tiles_run_are_counted_and_do_not_raise():
    stop = Stop()
    with catching_signals(stop), stop.while_tiles_run():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert (stop.signum, stop.count) == (signal.SIGTERM, 2)
    assert not stop.draining
