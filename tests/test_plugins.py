"""Kernels and models from other packages: found by their metadata, imported by name, and one line where they fail."""

import subprocess
import sys

import pytest

import eopipe
from eopipe.engine.work.preflight import require_package
from eopipe.errors import ClusterError, PluginError
from eopipe.kernels import listing as kernel_listing
from eopipe.kernels.registry import KERNELS, create
from eopipe.models.registry import MINI, MODELS, get_model, listing
from tests.support.command import eopipe as command
from tests.support.kernels import Options, make_overlapping
from tests.support.plugins import offer

KERNEL = """
from eopipe.kernels.land_cover import create, options_model
"""
MODEL = """
from dataclasses import replace
from eopipe.models.registry import MINI
ENTRY, OTHER, TEXT = replace(MINI, name="mine"), replace(MINI, name="another"), "text"
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A folder of packages that Python looks into."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_name_is_listed_without_an_import_and_works(path):
    offer(path, "some-kernels", "eopipe.kernels", {"cover": "some_kernels"}, KERNEL, version="2.1")
    code = "import sys; from eopipe.kernels.registry import names; print(names(), 'some_kernels' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r}); {code}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "['change', 'cover', 'land-cover', 'ovss'] False\n"
    assert create("cover", {"gsd": 10}, resolution=20.0).info.factor == 2
    assert KERNELS.source("cover") == "some-kernels 2.1"
    assert KERNELS.source("land-cover") == f"eopipe {eopipe.__version__}"


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("import nowhere_at_all", "cannot be imported \\(ModuleNotFoundError: No module named 'nowhere_at_all'\\)"),
        ("1 / 0", "cannot be imported \\(ZeroDivisionError: division by zero\\)"),
        ("options_model = 3", "bad_kernels is no kernel: bad has no options_model \\(a pydantic model\\)"),
        ("options_model = dict", "bad has no options_model"),
        ("from eopipe.kernels.land_cover import options_model", "bad has no create function"),
    ],
)
def test_a_broken_package_is_one_line_and_only_for_who_names_it(path, module, told):
    offer(path, "bad-kernels", "eopipe.kernels", {"bad": "bad_kernels"}, module)
    sys.modules.pop("bad_kernels", None)
    assert create("land-cover", {}, resolution=10.0)
    with pytest.raises(PluginError, match=f"^kernel 'bad' is offered by bad-kernels 1, .*{told}") as error:
        create("bad", {}, resolution=10.0)
    assert str(error.value).endswith("; upgrade it (pip install -U bad-kernels) or uninstall it")
    assert "\n" not in str(error.value)
    [row] = [row for row in kernel_listing.listing() if row["name"] == "bad"]
    assert row == {"name": "bad", "package": "bad-kernels 1", "error": str(error.value)}
    shown = command("kernels").out
    assert f"bad  (bad-kernels 1)\n  cannot be used: {error.value}\n" in shown
    assert "land-cover  (eopipe " in shown


def test_a_name_that_is_taken_twice_is_refused(path):
    offer(path, "first", "eopipe.kernels", {"cover": "first", "land-cover": "first"}, KERNEL)
    offer(path, "second", "eopipe.kernels", {"cover": "second"}, KERNEL)
    with pytest.raises(PluginError, match="'cover' is offered by first 1 and second 1; keep one of them: pip uninst"):
        create("cover", {}, resolution=10.0)
    with pytest.raises(PluginError, match=r"'land-cover' is offered by eopipe .* and first 1; .*uninstall first$"):
        create("land-cover", {}, resolution=10.0)


def test_a_kernel_is_registered_in_a_process(path):
    offer(path, "some-kernels", "eopipe.kernels", {"cover": "some_kernels"}, KERNEL)
    eopipe.register_kernel("for-a-test", Options, make_overlapping)
    eopipe.register_kernel("for-a-test", Options, make_overlapping)  # a notebook's cell runs twice
    try:
        assert KERNELS.source("for-a-test") == "this process"
        assert create("for-a-test", {}, resolution=10.0).info.name == "overlapping"
    finally:
        KERNELS.forget("for-a-test")
    for name in ("land-cover", "cover"):
        with pytest.raises(PluginError, match=f"kernel '{name}' is .*'s; register it under another name"):
            eopipe.register_kernel(name, Options, make_overlapping)
    with pytest.raises(TypeError, match="no options_model"):
        eopipe.register_kernel("for-a-test", None, make_overlapping)


def test_models_come_from_packages_too(path):
    offer(path, "some-models", "eopipe.models",
          {"mine": "some_models:ENTRY", "yours": "some_models:OTHER", "text": "some_models:TEXT"}, MODEL)  # fmt: skip
    assert get_model("mine").concepts == MINI.concepts
    assert create("ovss", {"model": "mine", "prompts": ["water"]}, resolution=10.0).info.provenance["model"] == "mine"
    with pytest.raises(PluginError, match="some_models:OTHER is another model: it calls itself 'another'; upgrade"):
        get_model("yours")
    with pytest.raises(PluginError, match="some_models:TEXT is no model: it holds a str, not a ModelEntry; upgrade"):
        get_model("text")
    rows = {row["name"]: row for row in listing()}
    assert rows["mine"]["package"] == "some-models 1"
    assert rows["mini"]["package"] == f"eopipe {eopipe.__version__}"
    assert rows["text"]["error"].startswith("model 'text' is offered by some-models 1")
    assert "yours cannot be used: model 'yours'" in command("models").out
    assert "yours" not in {entry.name for entry in MODELS.loaded()}


class Client:
    """Workers with these versions of a package."""

    def __init__(self, *versions):
        self.versions = versions

    def run(self, function, *arguments):
        return {f"tcp://worker:{number}": version for number, version in enumerate(self.versions)}


def test_a_worker_without_the_package_is_named_before_the_run(path):
    offer(path, "some-kernels", "eopipe.kernels", {"cover": "some_kernels"}, KERNEL, version="2.1")
    require_package(Client("2.1", "2.1"), "cover")
    require_package(Client(None), "land-cover")
    with pytest.raises(ClusterError, match="worker tcp://worker:1 has no some-kernels, and kernel 'cover' comes"):
        require_package(Client("2.1", None), "cover")
    with pytest.raises(ClusterError, match=r"has some-kernels 2\.0, .* some-kernels 2\.1; install it there"):
        require_package(Client("2.0"), "cover")
