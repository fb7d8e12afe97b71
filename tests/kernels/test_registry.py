"""Kernels by name: what naming one costs, and how a wrong option is told."""

import subprocess
import sys

import pytest

from eopipe.errors import EopipeError
from eopipe.kernels import registry
from eopipe.models.clip.seeded import write_seeded_model
from tests.support.ovss import options as ovss_options


def test_to_name_a_kernel_loads_no_library_of_another():
    heavy = {"open_clip", "torchvision", "timm", "transformers", "triton", "huggingface_hub"}
    code = f"import sys, eopipe.kernels.registry; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "sky"}, r"^kernel\.background: 'sky' is no prompt; name one of water, or none$"),
        ({"prompts": {str(n): None for n in range(255)}}, "255 classes; a label holds 254$"),
        ({"prompts": [1, {"a": "b"}]}, r"^kernel\.prompts: .*\{'a': 'b'\} is no class; write a name"),
        ({"prompts": {"water": {"a": "b"}}}, "class 'water'.*is no phrase; write a word, in quotes"),
        ({"prompts": {"water": True}}, "True is no phrase"),
        ({"prompts": {"water": [None]}}, "None is no phrase"),
        ({"prompts": {"": ["water"]}}, "'' is no name of a class"),
        ({"stretch": [0, float("inf")]}, r"^kernel\.stretch.*finite"),
        ({"templates": []}, r"^kernel\.templates: there is none"),
    ],
)
def test_wrong_options_are_one_short_line(options, message):
    with pytest.raises(EopipeError, match=message) as error:
        registry.create("ovss", {"model": "m", "prompts": {"water": None}, **options}, resolution=10.0)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("patch", "options", "message"),
    [
        (32, {"upsampler": "jbu_stack"}, "jbu_stack makes features 16 times finer.*32 pixels a side"),
        (14, {"upsampler": "jbu_one"}, "jbu_one makes features 16 times finer.*14 pixels a side"),
        (24, {}, "patches of 24 do not fill a window of 224"),
        (16, {"last_layers": 3}, "last_layers: 3, and .* has 2 blocks"),
        (16, {"features": {"pca": 33}}, "33 components, and .* has 32 channels"),
    ],
)
def test_what_does_not_go_together_is_told_before_a_worker_starts(tmp_path, monkeypatch, patch, options, message):
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))
    model = write_seeded_model(tmp_path / "m", 1, width=64, layers=2, heads=2, patch=patch, image=240, out=32)
    with pytest.raises(EopipeError, match=message):
        registry.create("ovss", {**ovss_options(tmp_path), "model": model, **options}, resolution=10.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"upsampler": "bilinear"},
            r"upsampler: unknown key; ovss with these options has model, prompts, .*background, scale$",
        ),
        ({"background": "sky"}, r"background: 'sky' is no prompt; name one of water, or auto, or none$"),
        (
            {"threshold": 0.3, "background": "none"},
            r"threshold: 0\.3 sends pixels to the background, and there is none",
        ),
        ({"prompts": ["other"]}, r"background: 'auto' adds a class 'other', and a prompt has that name"),
    ],
)
def test_a_model_that_looks_at_pixels_has_options_of_its_own(options, message):
    with pytest.raises(EopipeError, match=rf"^kernel\.{message}") as error:
        registry.create("ovss", {"model": "mini", "prompts": {"water": None}, **options}, resolution=10.0)
    assert "\n" not in str(error.value)
