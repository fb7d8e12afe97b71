"""The kernel's stages on pairs: what runs without weights, to its figures; what needs some, to its one line."""

import numpy as np
import pytest
from PIL import Image

from eopipe.evaluation.change.cards import find_set
from eopipe.evaluation.change.methods import load_methods, plan_stages
from tests.support.command import eopipe
from tests.support.paths import needs_shared, shared


def predictor(**options):
    plan = plan_stages(find_set("levir-cd"), "building", options)
    return load_methods(plan, baselines=False, device="cpu")[0].predict


def scene():
    """A picture with texture."""
    rng = np.random.default_rng(6)
    return np.kron(rng.integers(60, 160, (16, 16, 3)), np.ones((16, 16, 1))).astype(np.uint8)


@pytest.mark.parametrize("proposer", [None, "pixels"])
def test_what_was_painted_is_found_and_a_picture_beside_itself_shows_nothing(proposer):
    predict = predictor(
        proposer=proposer, **({"instantiation": "felzenszwalb-spectral", "identifier": "none"} if proposer else {})
    )
    before = scene()
    after = before.copy()
    after[96:144, 112:160] = (255, 30, 30)
    codes = predict(np.stack([before, after]))
    assert codes.shape == (256, 256)
    assert codes[100:140, 116:156].mean() > 0.95
    around = np.ones((256, 256), bool)
    around[84:156, 100:172] = False
    assert codes[around].mean() < 0.01
    assert not predict(np.stack([before, before])).any()


@needs_shared
def test_the_sample_is_judged_beside_the_baselines(tmp_path):
    root, out = shared() / "data/change/levir_cd", tmp_path / "out"
    ended = eopipe(
        "eval", "change", "levir-cd", "--data", root, "--limit", 3, "--out", out, "--json", "--device", "cpu"
    )
    assert (ended.status, ended.err) == (0, "")
    result = ended.document
    names = ["felzenszwalb-spectral, identifier none", "change vectors", "change vectors, levelled"]
    assert [row["method"] for row in result["methods"]] == names
    assert result["published"] is None
    assert result["settings"]["options"]["identifier"] == "none"
    assert any("a sample" in note for note in result["notes"])
    folders = ["felzenszwalb-spectral-identifier-none", "change-vectors", "change-vectors-levelled"]
    for row, folder in zip(result["methods"], folders, strict=True):
        hits = predicted = true = 0
        for path in (out / folder / "predictions").iterdir():
            with Image.open(path) as one, Image.open(root / "label" / path.name) as other:
                changed, label = np.asarray(one) > 0, np.asarray(other.convert("L")) > 127.5
            hits, predicted, true = hits + (changed & label).sum(), predicted + changed.sum(), true + label.sum()
        assert (row["predicted"], row["truth"]) == (predicted, true)
        assert row["F1"] == pytest.approx(200 * hits / (predicted + true), abs=0.006)
    words = eopipe("eval", "change", "levir-cd", "--data", root, "--limit", 3, "--out", out, "--device", "cpu")
    assert "on 3 pairs, 3 of them from before" in words.out
    other = eopipe(
        "eval", "change", "levir-cd", "--data", root, "--limit", 3, "--out", out, "--set", "segments={scale: 90}"
    )
    assert other.status == 2
    assert "holds an evaluation with other settings (options.segments.scale" in other.line


@needs_shared
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--instantiation", "SAM-DINOv2-SegEarth-OV"), "model 'sam-vit-h'"),
        (("--instantiation", "APE-DINO"), "finds objects with APE, which no library carries"),
        (("--instantiation", "SAM-DINO-SegEarth"), "did you mean 'SAM-DINO-SegEarth-OV'?"),
        (
            ("--set", "identifier=dynamic-world"),
            "sees rededge1, rededge2, rededge3, nir, swir16, swir22, and pictures",
        ),
        (("--beta", "20"), "beta: spectral has a threshold of the wider area"),
        (("--set", "colour=red"), "colour: Extra inputs are not permitted; give such options with --set"),
    ],
)
def test_what_cannot_run_is_one_line(options, message, tmp_path, monkeypatch):
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    root = shared() / "data/change/levir_cd"
    ended = eopipe("eval", "change", "levir-cd", "--data", root, *options, "--out", tmp_path / "out")
    assert ended.status == 2
    assert message in ended.line
    assert not (tmp_path / "out").exists()
