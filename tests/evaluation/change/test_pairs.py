"""Pairs found and read: real samples against counts made another way, and made sets of every layout."""

import json

import numpy as np
import pytest
import shapely
from PIL import Image

from eopipe.errors import SpecError
from eopipe.evaluation.change.cards import ChangeCard, find_set
from eopipe.evaluation.change.pairs import PairReader, cut, find_pairs
from eopipe.evaluation.run import Unusable
from tests.support.paths import needs_shared, shared

SECOND_COLOURS = [(255, 255, 255), (0, 0, 255), (128, 128, 128), (0, 128, 0), (0, 255, 0), (128, 0, 0), (255, 0, 0)]


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def write_pictures(root, folders, names, shape=(6, 9)):
    rng = np.random.default_rng(3)
    for folder in folders:
        for name in names:
            save(root / folder / name, rng.integers(0, 256, (*shape, 3)))


@needs_shared
@pytest.mark.parametrize(("name", "folder", "pairs"), [("levir-cd", "levir_cd", 11), ("dsifn", "dsifn", 6)])
def test_binary_samples_are_read_right(name, folder, pairs):
    root, card = shared() / "data/change" / folder, find_set(name)
    samples = list(cut(find_pairs(root, card), None))
    assert len(samples) == pairs
    for sample in samples:
        pictures, truth = PairReader(card)(sample)
        for picture, date in zip(pictures, "AB", strict=True):
            with Image.open(root / date / f"{sample.key}.png") as file:
                np.testing.assert_array_equal(picture, np.asarray(file.convert("RGB")))
        with Image.open(root / "label" / f"{sample.key}.png") as file:
            histogram = file.convert("L").histogram()
        assert np.bincount(truth.ravel(), minlength=2).tolist() == [sum(histogram[:128]), sum(histogram[128:])]


@needs_shared
def test_xbd_s_changed_buildings_are_the_destroyed_and_the_badly_damaged():
    """Against shapely's own answer for every pixel's centre."""
    root, card = shared() / "data/change/xbd_joplin", find_set("xbd")
    (sample,) = find_pairs(root, card)
    assert sample.key == "joplin-tornado_00000002"
    pictures, truth = PairReader(card)(sample)
    assert pictures.shape == (2, 1024, 1024, 3)
    document = json.loads((root / "joplin-tornado_00000002_post_disaster.json").read_text())
    by_kind = {}
    for feature in document["features"]["xy"]:
        by_kind.setdefault(feature["properties"]["subtype"], []).append(shapely.from_wkt(feature["wkt"]))
    x, y = np.meshgrid(np.arange(1024) + 0.5, np.arange(1024) + 0.5)
    changed = shapely.contains_xy(shapely.union_all(by_kind["destroyed"] + by_kind["major-damage"]), x, y)
    unknown = shapely.contains_xy(shapely.union_all(by_kind["un-classified"]), x, y) & ~changed
    assert len(by_kind["destroyed"]) + len(by_kind["major-damage"]) == 20
    assert (truth == 1).sum() > 5000
    assert ((truth == 1) != changed).sum() <= 3  # a centre on an edge
    assert ((truth == 255) != unknown).sum() <= 3


def test_a_category_changed_where_either_date_is_it_by_codes_or_colours(tmp_path):
    card = find_set("second")
    first, second = np.random.default_rng(1).integers(0, 7, (2, 6, 9))
    for colours in (False, True):
        root = tmp_path / str(colours)
        write_pictures(root, ("im1", "im2"), ["a.png"])
        for name, codes in (("label1", first), ("label2", second)):
            save(root / name / "a.png", np.array(SECOND_COLOURS)[codes] if colours else codes)
        (sample,) = find_pairs(root, card)
        for number in range(1, 7):
            truth = PairReader(card, number=number)(sample)[1]
            np.testing.assert_array_equal(truth, (first == number) | (second == number))


def test_a_set_with_labels_of_three_values_leaves_some_out(tmp_path):
    write_pictures(tmp_path, ("imgs/A", "imgs/B"), ["bj/a.jpg"])
    save(tmp_path / "labels/bj/a.png", np.tile([0, 1, 255], (6, 3)))
    card = find_set("bandon")
    (sample,) = find_pairs(tmp_path, card)
    assert sample.key == "bj/a"
    assert np.bincount(PairReader(card)(sample)[1].ravel())[[0, 1, 255]].tolist() == [18, 18, 18]


def test_pieces_lie_side_by_side_and_cover_a_pair_once(tmp_path):
    write_pictures(tmp_path, "AB", ["a.png", "b.png"], shape=(200, 130))
    for name in "ab":
        save(tmp_path / "label" / f"{name}.png", np.zeros((200, 130)))
    card, times = find_set("levir-cd"), np.zeros((200, 130), int)
    samples = list(cut(find_pairs(tmp_path, card), 96, limit=1))
    reader = PairReader(card)
    for sample in samples:
        top, bottom, left, right = sample.window
        times[top:bottom, left:right] += 1
        pictures, truth = reader(sample)
        assert pictures.shape[1:3] == truth.shape == (bottom - top, right - left)
    assert len(samples) == 6
    assert len({sample.key for sample in samples}) == 6
    assert (times == 1).all()
    assert len(list(cut(find_pairs(tmp_path, card), 200))) == 2


def test_what_cannot_be_read_or_does_not_fit_is_unusable(tmp_path):
    write_pictures(tmp_path, "AB", ["a.png", "b.png", "c.png"])
    for name, shape in (("a", (6, 9)), ("b", (6, 8)), ("c", (6, 9))):
        save(tmp_path / "label" / f"{name}.png", np.zeros(shape))
    (tmp_path / "B" / "c.png").write_bytes(b"no picture")
    card = find_set("levir-cd")
    good, narrow, broken = find_pairs(tmp_path, card)
    PairReader(card)(good)
    with pytest.raises(Unusable, match=r"the files of b differ in size \(8 x 6, 9 x 6\)"):
        PairReader(card)(narrow)
    with pytest.raises(Unusable, match=r"c\.png cannot be read as a picture"):
        PairReader(card)(broken)


def test_what_makes_no_pair_is_one_line(tmp_path):
    card = find_set("levir-cd")
    for message, step in (
        ("has not A/, B/, label/", lambda: None),
        ("no picture named", lambda: [(tmp_path / name).mkdir() for name in ("A", "B", "label")]),
        ("has no partner in B/", lambda: write_pictures(tmp_path, "A", ["a.png"])),
        ("has no partner in label/", lambda: write_pictures(tmp_path, "B", ["a.png"])),
        (
            "b.png has no earlier picture",
            lambda: [write_pictures(tmp_path, ("label",), ["a.png"]), write_pictures(tmp_path, "B", ["b.png"])],
        ),
    ):
        step()
        with pytest.raises(SpecError, match=message) as error:
            find_pairs(tmp_path, card)
        assert "\n" not in str(error.value)
    with pytest.raises(SpecError, match="is no folder"):
        find_pairs(tmp_path / "nowhere", card)


def test_labels_that_are_none_are_refused(tmp_path):
    card = ChangeCard(
        name="mine", title="Mine", labels="damage", folders=((".", ".", "."),), names=("*_1", "*_2", "*_2")
    )
    write_pictures(tmp_path, (".",), ["a_1.png", "a_2.png"])
    (tmp_path / "a_2.json").write_text('{"features": {}}')
    (sample,) = find_pairs(tmp_path, card)
    with pytest.raises(Unusable, match="cannot be read as xBD's labels"):
        PairReader(card)(sample)
