import json
import shutil

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from eopipe.errors import CatalogError, ItemError, SpecError
from eopipe.evaluation.cards import cards
from eopipe.evaluation.dataset import ImageReader, Naming, Sample, cut, find_folders, find_items, find_pairs
from eopipe.evaluation.read_images import picture_shape, read_image, read_label
from tests.evaluation.documents import collection, item
from tests.support.paths import needs_shared, shared

PLACE = from_origin(5, 5, 2, 2)
RED = np.array([[[200, 10, 20], [0, 1, 2]]], np.uint8)


def picture(path, array=None, size=(4, 3), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros(size, np.uint8) if array is None else array).save(path, **options)
    return path


def refuses(error, match, call, *arguments, **named):
    with pytest.raises(error, match=match) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)


# Files as arrays


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_colours_come_red_first(tmp_path, suffix):
    np.testing.assert_array_equal(read_image(str(picture(tmp_path / f"a.{suffix}", RED))), RED)


def test_one_band_is_repeated_a_palette_looked_up_and_opacity_dropped(tmp_path):
    grey = picture(tmp_path / "grey.png", np.array([[7, 9]], np.uint8))
    np.testing.assert_array_equal(read_image(str(grey)), [[[7, 7, 7], [9, 9, 9]]])
    clear = picture(tmp_path / "clear.png", np.dstack([RED, np.array([[0, 90]], np.uint8)]))
    np.testing.assert_array_equal(read_image(str(clear)), RED)
    Image.fromarray(RED).quantize(2).save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(str(tmp_path / "p.png")), RED)


def test_a_grey_geotiff(tmp_path):
    with rasterio.open(
        tmp_path / "g.tif", "w", driver="GTiff", width=2, height=1, count=1, dtype="uint8", transform=PLACE
    ) as file:
        file.write(np.array([[[3, 4]]], np.uint8))
    np.testing.assert_array_equal(read_image(str(tmp_path / "g.tif")), [[[3, 3, 3], [4, 4, 4]]])


def test_a_turned_photograph_is_upright_and_its_label_is_not_touched(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = picture(tmp_path / "a.png", np.arange(6, dtype=np.uint8).reshape(2, 3), exif=exif)
    assert read_image(str(file)).shape == (3, 2, 3)
    assert picture_shape(str(file)) == (3, 2)
    assert picture_shape(str(file), turned=False) == (2, 3)
    assert read_label(str(file)).values.shape == (2, 3)


def test_sixteen_bits_are_refused_with_a_remedy(tmp_path):
    deep = picture(tmp_path / "deep.png", np.zeros((2, 2), np.uint16))
    refuses(SpecError, "no 8-bit picture.*scale it to 0-255", read_image, str(deep))
    with rasterio.open(
        tmp_path / "d.tif", "w", driver="GTiff", width=2, height=1, count=3, dtype="uint16", transform=PLACE
    ) as file:
        file.write(np.zeros((3, 1, 2), np.uint16))
    refuses(SpecError, "uint16", read_image, str(tmp_path / "d.tif"))


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    refuses(SpecError, "x.png cannot be read as a picture", read_image, str(tmp_path / "x.png"))
    whole = picture(tmp_path / "half.png", np.random.default_rng(0).integers(0, 255, (90, 90), np.uint8)).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    refuses(SpecError, "half.png", read_image, str(tmp_path / "half.png"))
    (tmp_path / "x.tif").write_bytes(b"no picture")
    refuses(SpecError, "x.tif", read_label, str(tmp_path / "x.tif"))


def test_labels_keep_their_values_and_palette(tmp_path):
    file = Image.fromarray(np.array([[0, 1]], np.uint8))
    file.putpalette([0, 0, 0, 0, 0, 127])
    file.save(tmp_path / "l.png")
    stored = read_label(str(tmp_path / "l.png"))
    assert stored.values.tolist() == [[0, 1]]
    assert stored.palette[1].tolist() == [0, 0, 127]
    assert read_label(str(picture(tmp_path / "b.png", np.array([[True, False]])))).values.tolist() == [[True, False]]


# Which label belongs to which image


def keys(one, other, **naming):
    return {pair.key: pair.labels[0].rsplit("/", 1)[1] for pair in find_pairs(one, other, Naming(**naming))}


def test_folders_side_by_side_with_subfolders(tmp_path):
    for name in ("a", "val/b"):
        picture(tmp_path / "img_dir" / f"{name}.JPG")
        picture(tmp_path / "ann_dir" / f"{name}.png")
    images, labels = find_folders(tmp_path)
    assert keys(images, labels) == {"a": "a.png", "val/b": "b.png"}


def test_one_folder_for_both(tmp_path):
    for name in ("6383_sat.jpg", "6383_mask.png"):
        picture(tmp_path / name)
    road = cards()["deepglobe-road"]
    assert keys(tmp_path, tmp_path, images=road.image_names, labels=road.label_names) == {"6383_sat": "6383_mask.png"}


def test_isaids_own_names(tmp_path):
    for name in ("P1.png", "P1_instance_color_RGB.png", "P1_instance_id_RGB.png"):
        picture(tmp_path / name)
    card = cards()["isaid"]
    files = keys(tmp_path, tmp_path, images=card.image_names, labels=card.label_names, skip=card.skip)
    assert files == {"P1": "P1_instance_color_RGB.png"}


def test_a_pattern_may_have_a_suffix(tmp_path):
    for name in ("a.tif", "a.png"):
        picture(tmp_path / "images" / "a.tif")
        picture(tmp_path / "labels" / name)
    refuses(SpecError, "two labels, a.png and a.tif", keys, tmp_path / "images", tmp_path / "labels")
    assert keys(tmp_path / "images", tmp_path / "labels", labels=("*.tif",)) == {"a": "a.tif"}


def test_what_is_missing_is_one_line(tmp_path):
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.png")
    (tmp_path / "labels").mkdir()
    refuses(SpecError, "a.png has no label a in .* 1 more have none", find_pairs, *find_folders(tmp_path), Naming())
    refuses(SpecError, "no image in", find_pairs, tmp_path / "labels", tmp_path / "images", Naming())
    refuses(SpecError, "is no folder", find_pairs, tmp_path / "nowhere", tmp_path, Naming())
    refuses(SpecError, "has none of images/ with labels/", find_folders, tmp_path / "labels")
    refuses(SpecError, "needs one \\*", Naming, images=("a",))


def test_two_images_of_one_name(tmp_path):
    for suffix in ("png", "jpg"):
        picture(tmp_path / "images" / f"a.{suffix}")
    picture(tmp_path / "labels" / "a.png")
    refuses(SpecError, "have one name", find_pairs, *find_folders(tmp_path), Naming())


# STAC


def test_a_static_collection(tmp_path):
    named = {"image": {"href": "./b.png"}, "label": {"href": "./b_l.png"}}
    by_role = {"rgb": {"href": "./a.png", "roles": ["data"]}, "gt": {"href": "./a_l.png", "roles": ["labels"]}}
    address = collection(tmp_path, [item("b", named), item("a", by_role)])
    pairs = find_items(address, image="image", label="label")
    assert [pair.key for pair in pairs] == ["a", "b"]
    assert pairs[0].images[0] == str(tmp_path / "a.png")
    assert pairs[1].labels[0] == str(tmp_path / "b_l.png")


def test_an_item_without_labels_names_what_it_has(tmp_path):
    address = collection(tmp_path, [item("a", {"image": {"href": "./a.png"}, "mask": {"href": "./m.png"}})])
    refuses(ItemError, "item a has no asset 'label' .it has image, mask.; name it with --label-asset",
         find_items, address, image="image", label="label")  # fmt: skip
    assert find_items(address, image="image", label="mask")[0].labels[0] == str(tmp_path / "m.png")


def test_an_item_collection_and_no_collection(tmp_path):
    assets = {"image": {"href": str(tmp_path / "a.png")}, "label": {"href": str(tmp_path / "l.png")}}
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item("a", assets)]}))
    assert find_items(str(tmp_path / "items.json"), image="image", label="label")[0].key == "a"
    (tmp_path / "none.json").write_text("{}")
    refuses(CatalogError, "none.json", find_items, str(tmp_path / "none.json"), image="image", label="label")
    refuses(CatalogError, "does not exist", find_items, str(tmp_path / "gone.json"), image="image", label="label")


# Cutting


def pair(folder, size, label_size=None):
    image = picture(folder / "P1.png", np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8))
    label = picture(folder / "P1_l.png", np.ones(label_size or size, np.uint8))
    return Sample("P1", (str(image),), (str(label),))


def test_a_large_image_is_cut_as_isaid_is(tmp_path):
    samples = cut([pair(tmp_path, (1000, 1500))], cards()["isaid"])
    assert [sample.window for sample in samples] == [
        (0, 896, 0, 896), (0, 896, 512, 1408), (0, 896, 604, 1500),
        (104, 1000, 0, 896), (104, 1000, 512, 1408), (104, 1000, 604, 1500),
    ]  # fmt: skip
    assert samples[1].key == "P1_0_896_512_1408"
    image, truth = ImageReader(cards()["isaid"].label_rule())(samples[4])
    np.testing.assert_array_equal(image, read_image(samples[0].images[0])[104:1000, 512:1408])
    assert truth.shape == (896, 896)


def test_a_small_image_is_padded_without_truth(tmp_path):
    (sample,) = cut([pair(tmp_path, (500, 896))], cards()["isaid"])
    assert sample.key == "P1"
    image, truth = ImageReader(cards()["isaid"].label_rule())(sample)
    assert image.shape == (896, 896, 3)
    assert not image[500:].any()
    assert (truth[:500] == 1).all()
    assert (truth[500:] == 255).all()


def test_potsdams_scenes_give_the_published_number_of_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr("eopipe.evaluation.dataset.picture_shape", lambda *_, **__: (6000, 6000))
    scenes = [Sample(str(number), ("i",), ("l",)) for number in range(14)]
    assert len(cut(scenes, cards()["potsdam"])) == cards()["potsdam"].images == 2016
    assert len(cut(scenes, cards()["potsdam"], limit=150)) == 150


def test_a_tile_that_was_cut_before_is_one_piece(tmp_path):
    (sample,) = cut([pair(tmp_path, (512, 512))], cards()["potsdam"])
    assert (sample.key, sample.window) == ("P1", (0, 512, 0, 512))


def test_a_label_of_another_size_is_told_before_anything_is_computed(tmp_path):
    refuses(SpecError, "is 20 x 10 and its label .*P1_l.png 20 x 11", cut, [pair(tmp_path, (10, 20), (11, 20))],
         cards()["loveda"])  # fmt: skip


# The samples at hand


def sample_set(name):
    return shared() / "data" / "optical_seg" / name


@needs_shared
def test_the_samples_are_found_and_hold_the_classes_that_their_readme_says(tmp_path):
    values = {}
    for name, folder in (("loveda", "loveda"), ("potsdam", "isprs_potsdam")):
        card = cards()[name]
        read = ImageReader(card.label_rule())
        samples = cut(find_pairs(*find_folders(sample_set(folder)), Naming()), card)
        for sample in samples:
            image, truth = read(sample)
            assert image.shape[:2] == truth.shape
            values[name, sample.key] = np.unique(truth).tolist()
    assert values == {
        ("loveda", "0"): [0, 1, 2, 3, 6],
        ("loveda", "1"): [0, 1, 2, 3, 5, 6],
        ("potsdam", "2_10_0_0_512_512"): [0, 1, 2, 3, 4, 255],
    }


@needs_shared
def test_isaids_sample_is_cut_in_two_and_its_colours_are_classes():
    card, folder = cards()["isaid"], sample_set("isaid")
    samples = cut(find_pairs(folder, folder, Naming(card.image_names, (*card.label_names, "*"), card.skip)), card)
    assert [sample.window for sample in samples] == [(0, 896, 0, 896), (81, 977, 0, 896)]
    image, truth = ImageReader(card.label_rule())(samples[0])
    assert image.shape == (896, 896, 3)
    assert np.unique(truth).tolist() == [0, 8, 9, 255]  # background, large and small vehicles, and the padding
    assert (truth[:, 884:] == 255).all()


@needs_shared
def test_deepglobes_mask_is_binarised(tmp_path):
    for file in sample_set("deepglobe_road").glob("6383*"):
        shutil.copy(file, tmp_path)
    card = cards()["deepglobe-road"]
    (sample,) = cut(find_pairs(tmp_path, tmp_path, Naming(card.image_names, card.label_names)), card)
    _, truth = ImageReader(card.label_rule())(sample)
    with Image.open(tmp_path / "6383_mask.png") as file:
        np.testing.assert_array_equal(truth, np.asarray(file.convert("L")) // 255)
