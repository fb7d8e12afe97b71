"""Old names of modules: importable, the same object, with a warning that gives the present name."""

import importlib
import subprocess
import sys

import pytest

from eopipe.moved import MODULES


@pytest.mark.parametrize("old", MODULES)
def test_an_old_name_is_the_present_module(old):
    with pytest.warns(DeprecationWarning, match=f"^{old} is now {MODULES[old]}$"):
        module = importlib.import_module(old)
    assert module is importlib.import_module(MODULES[old])
    assert module.__name__ == module.__spec__.name == MODULES[old]
    del sys.modules[old]


def test_a_constant_set_by_the_old_name_takes_effect():
    script = (
        "from eopipe.engine import driver; from eopipe.engine.display import Quiet; driver.NO_WORKER_SECONDS = 5\n"
        "from eopipe.engine.work import driver as present; assert present.NO_WORKER_SECONDS == 5\n"
    )
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", script], check=True)


def test_a_name_that_never_was_is_not_there():
    with pytest.raises(ModuleNotFoundError, match=r"eopipe\.engine\.nothing"):
        importlib.import_module("eopipe.engine.nothing")
