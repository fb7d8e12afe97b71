"""What `pip install` gives: a wheel that maps land cover with no checkout, no shared folder, no EOPIPE_WEIGHTS."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SCRIPT = """
import json, sys
import numpy as np
import eopipe
from eopipe import cli
from eopipe.grid import PixelBox
from eopipe.kernels.registry import create

def codes(name, options, infrared):
    # still water: dark, and darker towards the infrared
    kernel = create(name, options, resolution=10.0)
    kernel.load(device="cpu", threads=1)
    box = PixelBox(0, 0, 512, 512)
    shape = box.pad(kernel.info.window.halo).shape
    pixels = np.full((1, len(kernel.info.inputs.bands), *shape), 250.0, np.float32)
    pixels[:, infrared:] = 40.0
    return np.unique(kernel(pixels, np.ones((1, *shape), bool), box).arrays["label"]).tolist()

found = [codes("land-cover", {}, 4), codes("ovss", {"model": "mini", "prompts": ["water", "forest"]}, 3)]
print(json.dumps({"home": eopipe.__file__, "codes": found}))
sys.argv = ["eopipe", "models", "--json"]
cli.main()
"""


MINI = ("mini.safetensors", "words.safetensors", "LICENSE", "README.md")


def pip(*args):
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, args)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, ROOT)
    (found,) = folder.glob("eopipe-*.whl")
    return found


def test_the_wheel_holds_the_weights_their_licence_and_the_types(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    data = "eopipe/models/data/dynamicworld"
    assert {
        f"{data}/dynamicworld_forward_fused.npz",
        f"{data}/LICENSE",
        f"{data}/README.md",
        *(f"eopipe/models/data/mini/{file}" for file in MINI),
        "eopipe/evaluation/data/cards.toml",
        "eopipe/evaluation/data/published.toml",
        "eopipe/demo/data/scenes.toml",
        "eopipe/training/data/common_phrases.txt",
        "eopipe/training/data/heldout.json",
        "eopipe/models/mini/phrases.json",
        "eopipe/py.typed",
    } <= names
    assert all(name.startswith("eopipe") for name in names), "nothing but the package and its metadata"
    assert wheel.stat().st_size < 8_000_000


@pytest.mark.slow
def test_the_kernels_run_from_the_installed_wheel(wheel, tmp_path):
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", target, wheel)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("EOPIPE_")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT],
        cwd=elsewhere,
        env={**plain, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, rest = done.stdout.split("\n", 1)
    said = json.loads(first)
    assert Path(said["home"]).is_relative_to(target)
    assert said["codes"] == [[1], [1]], "water"
    here = [model for model in json.loads(rest) if model["here"]]
    assert [model["name"] for model in here] == ["dynamic-world", "mini"]
    assert all(Path(model["path"]).is_relative_to(target) for model in here)
