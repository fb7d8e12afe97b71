"""``eopipe eval change`` on pairs, to its files; and that ``eopipe eval`` is what it was."""

import json
import shutil

import numpy as np
import pytest
import typer
from PIL import Image

from eopipe.cli.app import app
from eopipe.cli.evaluation import CallableGroup
from eopipe.errors import SpecError
from eopipe.evaluation.change.cards import find_set, sets
from eopipe.evaluation.change.command import ChangeRequest, judge_methods
from eopipe.evaluation.change.methods import ChangeVectors, Method, change_vectors
from eopipe.evaluation.change.pairs import find_pairs
from eopipe.evaluation.change.report import result_lines
from tests.support.command import eopipe
from tests.support.paths import needs_shared, shared


class Halves:
    """Says that the right half changed; counts how often it was asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, pair):
        self.calls += 1
        codes = np.zeros(pair.shape[1:3], np.uint8)
        codes[:, codes.shape[1] // 2 :] = 1
        return codes


def run(root, out=None, **options):
    halves, card = Halves(), find_set("levir-cd")
    methods = [Method("halves", halves, {"side": "right"}), Method("change vectors", ChangeVectors())]
    request = ChangeRequest(card="levir-cd", data=str(root), out=out, **options)
    return judge_methods(request, find_pairs(root, card), methods), halves.calls


@pytest.fixture
def levir(tmp_path):
    """Three of the real pairs."""
    root = tmp_path / "levir"
    for name in ("train_386_0512_0768", "test_7_0256_0512", "val_27_0000_0256"):
        for folder in ("A", "B", "label"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(shared() / "data/change/levir_cd" / folder / f"{name}.png", root / folder)
    return root


@needs_shared
def test_figures_are_counted_over_the_set_and_kept(levir, tmp_path):
    out = tmp_path / "out"
    result, calls = run(levir, out)
    assert calls == 3
    right = changed = both = 0
    for path in sorted((levir / "label").iterdir()):
        label = np.asarray(Image.open(path).convert("L")) > 127.5
        right, changed = right + label[:, 128:].size, changed + label.sum()
        both += label[:, 128:].sum()
        with Image.open(out / "halves/predictions" / path.name) as file:
            assert (np.asarray(file)[:, 128:] == 1).all()
    assert result["IoU"] == round(100 * both / (right + changed - both), 2)
    assert result["precision"] == round(100 * both / right, 2)
    assert (result["images"], result["pixels"], result["skipped"]) == (3, 3 * 65536, [])
    assert [row["method"] for row in result["methods"]] == ["halves", "change vectors"]
    assert json.loads((out / "result.json").read_text()) == result
    again, calls = run(levir, out)
    assert (calls, again["resumed"]) == (0, 3)
    assert again["methods"] == result["methods"]
    label = levir / "label" / "test_7_0256_0512.png"
    Image.fromarray(np.full((256, 256), 255, np.uint8)).save(label)
    more, calls = run(levir, out)
    assert calls == 1, "a label that changed is judged again"
    assert more["recall"] != result["recall"]


@needs_shared
def test_pairs_that_do_not_fit_are_left_out_and_told(levir, caplog):
    Image.fromarray(np.zeros((256, 255), np.uint8)).save(levir / "label" / "test_7_0256_0512.png")
    result, calls = run(levir)
    assert (calls, result["images"]) == (2, 2)
    assert result["skipped"] == ["the files of test_7_0256_0512 differ in size (255 x 256, 256 x 256)"]
    assert caplog.text.count("left out: the files of test_7_0256_0512") == 1
    assert any("1 pairs were left out" in note for note in result["notes"])
    lines = [line for line in result_lines(result) if isinstance(line, str)]
    assert "on 2 pairs" in lines[0]
    for path in (levir / "label").iterdir():
        path.write_bytes(b"none")
    with pytest.raises(SpecError, match="none of the set's 3 pictures can be used; of the first"):
        run(levir)


def test_change_vectors_part_at_otsu_s_threshold():
    from skimage.filters import threshold_otsu

    before, after = np.random.default_rng(2).normal(0, [[[1]], [[4]]], (2, 2, 40, 50))
    after[:, :10] += 20
    for levelled in (False, True):
        dates = [before, after]
        if levelled:
            dates = [(date - date.mean((1, 2), keepdims=True)) / date.std((1, 2), keepdims=True) for date in dates]
        length = np.hypot(*(dates[1] - dates[0]))
        codes = change_vectors(before, after, levelled=levelled)
        np.testing.assert_array_equal(codes, length > threshold_otsu(length))
    assert not change_vectors(before, before).any(), "nothing changed"
    assert not change_vectors(np.ones((3, 4, 4)), np.full((3, 4, 4), 9), levelled=True).any()


def test_sets_are_listed_for_people_and_programs():
    lines = eopipe("eval", "change", "--list").out.splitlines()
    assert len(lines) == 1 + len(sets())
    assert next(line for line in lines if line.startswith("levir-cd")).endswith("F1 69.7 (APE-DINO)")
    document = {entry["name"]: entry for entry in eopipe("eval", "change", "--list", "--json").document}
    assert len(document["second"]["settings"]) == 36
    assert document["oscd"]["settings"] == document["oscd"]["published"] == []
    betas = {row["instantiation"]: row["beta"] for row in document["whu-cd"]["settings"]}
    assert betas["SAM2-DINOv2-SegEarth-OV"] == 110


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "eval change needs a SET, or --map OUT"),
        (("atlantis",), "no change set 'atlantis'; there are levir-cd"),
        (("levir-cd",), "Give --data FOLDER of LEVIR-CD"),
        (("levir-cd", "--data", "/nowhere"), "is no folder"),
        (("second", "--data", "/nowhere"), "needs a --category"),
        (("levir-cd", "--labels", "x.tif"), "name it with --map OUT"),
        (("levir-cd", "--place", "x", "--data", "y"), "is a set of pictures"),
        (("--map", "x"), "--map needs --labels"),
        (("--map", "x", "--labels", "y", "--data", "z"), "one or the other"),
        (("oscd",), "Give --data COLLECTION.json"),
        (("oscd", "--data", "/nowhere.json"), "give --out DIR"),
        (("oscd", "--data", "/nowhere.json", "--out", "x"), "does not exist"),
        (("oscd", "--data", "x.json", "--out", "x", "--side", "256"), "leave it out"),
        (("oscd", "--data", "x.json", "--out", "x", "--changed", "1"), "the same value"),
        (("oscd", "--data", "x.json", "--out", "s3://bucket/x"), "is no local folder"),
        (("levir-cd", "--set", "scale"), "write KEY=VALUE"),
        (("levir-cd", "--limit", "0"), "limit"),
        (("levir-cd", "extra"), "unexpected extra argument"),
    ],
)
def test_a_wrong_request_is_one_line(arguments, message):
    ended = eopipe("eval", "change", *arguments)
    assert ended.status == 2
    assert message in ended.line


def test_eval_is_a_command_still_and_says_what_is_below_it():
    usage = eopipe("eval", "--help")
    assert "Usage: eopipe eval [OPTIONS] [CARD] | COMMAND [ARGS]..." in usage.out
    for word in ("--list", "--data", "change", "Judge maps of change"):
        assert word in usage.out
    below = eopipe("eval", "change", "--help").out
    assert "Usage: eopipe eval change [OPTIONS] [SET]" in below
    assert "--map" in below
    assert eopipe("eval", "loveda", "change").line.startswith("eopipe: Got unexpected extra argument")
    assert "no card 'chance'" in eopipe("eval", "--data", "x", "chance").line


def test_the_shell_completes_cards_commands_and_options():
    group = typer.main.get_command(app).commands["eval"]
    assert isinstance(group, CallableGroup)
    with group.make_context("eval", [], resilient_parsing=True) as context:
        (card,) = [param for param in group.get_params(context) if param.param_type_name == "argument"]
        assert [item.value for item in card.shell_complete(context, "ch")] == ["change", "chn6-cug"]
    with group.make_context("eval", ["change", "le"], resilient_parsing=True) as context:
        assert [param for param in group.get_params(context) if param.param_type_name == "argument"] == []
        name, below, rest = group.resolve_command(context, ["change", "le"])
        assert (name, rest) == ("change", ["le"])
        (argument,) = [param for param in below.params if param.param_type_name == "argument"]
        assert [item.value for item in argument.shell_complete(context, "le")] == ["levir-cd"]
