"""``eopipe eval`` from the command line to its files, with a tiny tower of seeded weights on the real samples."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eopipe.evaluation.cards import cards
from eopipe.models.clip.seeded import TINY, write_seeded_model
from tests.evaluation.documents import collection, item
from tests.evaluation.samples import SETS, classes_by_hand, samples_of
from tests.support.command import eopipe
from tests.support.paths import needs_shared, shared

BARE = ("--upsampler", "bilinear", "--bias", "0", "--attention", "ClearCLIP", "--device", "cpu")


def places(name):
    folder = shared() / "data" / "optical_seg"
    return [word for key, place in SETS[name].items() for word in (f"--{key}", folder / place)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_seeded_model(tmp_path_factory.mktemp("model") / "tiny", 7, **TINY)


@pytest.fixture(scope="module", autouse=True)
def few_sentences(tmp_path_factory):
    """One sentence a word, kept in a cache of our own: eighty take seconds and show nothing more here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EOPIPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("eopipe.models.clip.text.imagenet_templates", lambda: ("a photo of a {}.",))
        yield


@needs_shared
@pytest.mark.parametrize(
    ("name", "key"), [("loveda", "0"), ("potsdam", "2_10_0_0_512_512"), ("isaid", "P0005_0_896_0_896")]
)
def test_the_samples_are_judged_and_kept(model, tmp_path, name, key):
    arguments = (name, *places(name), "--model", model, *BARE, "--limit", 1, "--out", tmp_path, "--json")
    ended = eopipe("eval", *arguments)
    assert (ended.status, ended.err) == (0, "")
    result, card = ended.document, cards()[name]
    with Image.open(tmp_path / "predictions" / f"{key}.png") as file:
        assert file.mode == "P"
        predicted = np.asarray(file).astype(int)
    truth = classes_by_hand(name, samples_of(name)[1][0])
    judged = truth >= 0
    ious = []
    for number, row in enumerate(result["classes"]):
        both = (predicted == number) & (truth == number)
        either = ((predicted == number) & judged) | (truth == number)
        ious.append(both.sum() / either.sum() if either.any() else None)
        assert row["name"] == card.names[number]
        assert row["IoU"] == (None if ious[-1] is None else pytest.approx(100 * ious[-1], abs=0.005))
    assert (
        result["mIoU"]
        == result["ours"]
        == pytest.approx(100 * np.mean([iou for iou in ious if iou is not None]), abs=0.005)
    )
    assert result["accuracy"] == pytest.approx(100 * (predicted == truth)[judged].mean(), abs=0.005)
    assert result["pixels"] == judged.sum()
    assert json.loads((tmp_path / "result.json").read_text()) == result
    again = eopipe("eval", *arguments).document
    assert (again["resumed"], again["images"]) == (1, 1)
    assert again["classes"] == result["classes"]


@needs_shared
def test_people_read_the_figure_the_published_one_and_what_differs(model):
    ended = eopipe("eval", "potsdam", *places("potsdam"), "--model", model, *BARE)
    assert ended.status == 0
    first, *rest = ended.out.splitlines()
    assert first.startswith("ISPRS Potsdam (val), SegEarth-OV-2's words: mIoU ")
    assert "on 1 image, " in first
    assert [line.split()[0] for line in rest[:7]] == ["class", "road", "building", "grass", "tree", "car", "clutter"]
    notes = [line for line in rest if line.startswith("note: ")]
    assert any("is of 2,016 images, this one of 1: a sample" in note for note in notes)
    assert any(
        f"model {model} (card: ViT-B-16/openai); attention ClearCLIP (card: SegEarth)" in note for note in notes
    )
    assert any("the same with ViT-B-16/openai gave 42.0 % (ClearCLIP" in note for note in notes)


@needs_shared
def test_a_file_of_another_architecture_is_not_taken_for_the_cards(model):
    weights = Path(model.removeprefix("local-dir:")) / "open_clip_model.safetensors"
    ended = eopipe("eval", "potsdam", *places("potsdam"), "--checkpoint", weights, *BARE)
    assert ended.status == 2
    assert "open_clip_model.safetensors" in ended.line


@needs_shared
@pytest.mark.parametrize("words", ["road\nbuilding, roof\ngrass\ntree\ncar, lorry\nclutter\n", "road | house"])
def test_words_of_ones_own(model, tmp_path, words):
    (tmp_path / "words.txt").write_text(words)
    ended = eopipe(
        "eval", "potsdam", *places("potsdam"), "--model", model, *BARE, "--prompts", tmp_path / "words.txt", "--json"
    )
    if "|" in words:
        assert ended.status == 2
        assert "has 2 classes, and potsdam has 6 (road, building, grass, tree, car, clutter)" in ended.line
    else:
        assert ended.document["settings"]["prompts"][4] == ["car", ["car", "lorry"]]
        assert any("prompts of your own" in note for note in ended.document["notes"])


@needs_shared
def test_the_demonstrations_way_gives_another_map(model):
    results = [
        eopipe("eval", "potsdam", *places("potsdam"), "--model", model, *BARE, "--preprocess", way, "--json").document
        for way in ("benchmark", "demo")
    ]
    assert results[0]["classes"] != results[1]["classes"]
    assert any("preprocess demo" in note for note in results[1]["notes"])


def test_a_radar_card_on_a_stac_collection(model, tmp_path):
    """One band, seen whole at 224 pixels, with the card's attention over the last two blocks."""
    rng = np.random.default_rng(5)
    assets = {}
    for name, top in (("image", 256), ("label", 5)):
        Image.fromarray(rng.integers(0, top, (64, 64), np.uint8)).save(tmp_path / f"{name}.png")
        assets[name] = {"href": f"./{name}.png"}
    address = collection(tmp_path, [item("scene", assets)])
    arguments = (
        "ddhr-korea",
        "--data",
        address,
        "--model",
        model,
        "--upsampler",
        "bilinear",
        "--out",
        tmp_path / "out",
    )
    result = eopipe("eval", *arguments, "--json").document
    assert (result["pixels"], result["images"]) == (64 * 64, 1)
    chosen = result["settings"]
    assert (chosen["attention"], chosen["last_layers"], chosen["resize"], chosen["bias"]) == ("SCLIP", 2, 224, -0.3)
    assert (tmp_path / "out" / "predictions" / "scene.png").exists()


@needs_shared
def test_without_weights_it_says_which_file_goes_where(tmp_path, monkeypatch):
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    ended = eopipe("eval", "loveda", *places("loveda"), "--out", tmp_path / "out")
    assert ended.status == 2
    assert "ViT-B-16/openai" in ended.line
    assert "open_clip_model.safetensors" in ended.line
    assert str(tmp_path) in ended.line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "eval needs a CARD"),
        (("atlantis",), "no card 'atlantis'"),
        (("loveda",), "Give --data FOLDER"),
        (("loveda", "--data", "x", "--images", "y"), "one or the other"),
        (("loveda", "--data", "/nowhere"), "is no folder"),
        (("loveda", "--data", "/nowhere.json"), "does not exist"),
        (("loveda", "--data", "x", "--attention", "mine"), "--attention: 'mine' is not valid"),
        (("loveda", "--data", "x", "--threshold", "2"), "--threshold: 2.0 is not valid"),
        (("loveda", "--data", "x", "--precision", "auto"), "choose float32 or bfloat16"),
        (("loveda", "--limit", "0"), "limit"),
    ],
)
def test_a_wrong_request_is_one_line(arguments, message):
    ended = eopipe("eval", *arguments)
    assert ended.status == 2
    assert message in ended.line


def test_the_cards_are_listed_for_people_and_programs():
    lines = eopipe("eval", "--list").out.splitlines()
    assert len(lines) == 1 + len(cards())
    assert next(line for line in lines if line.startswith("loveda")).endswith("mIoU 36.9 (SegEarth-OV)")
    document = eopipe("eval", "--list", "--json").document
    (loveda,) = [card for card in document if card["name"] == "loveda"]
    assert loveda["threshold"] == 0.3
    assert {"method": "ClearCLIP", "percent": 32.4}.items() <= loveda["published"][4].items()
