"""The demo's collections: valid STAC, valid COGs, and read by the ordinary reader as reflectance."""

import json

import numpy as np
import pytest
from pystac.validation import validate_dict
from rio_cogeo.cogeo import cog_validate

import eopipe
from eopipe.demo.collection import build
from eopipe.demo.package_data import package_file, read_scene
from eopipe.demo.run import prepare
from eopipe.demo.scenes import SCENES, choose_scenes
from eopipe.demo.spec import read_words
from eopipe.errors import OutputError, SpecError, WeightsError
from eopipe.spec import load_spec
from eopipe.storage import Storage

SENTINEL2 = SCENES["sentinel-2"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return {key: prepare(scene, read_words(None), out) for key, scene in SCENES.items()}


@pytest.mark.parametrize("key", SCENES)
def test_documents_are_valid_and_say_licences_and_place(scenes, key):
    folder = scenes[key].folder / "scene"
    item, collection = (json.loads((folder / name).read_text()) for name in ("item.json", "collection.json"))
    for document in (item, collection):
        validate_dict(document, extensions=[])
    description = collection["description"]
    assert SCENES[key].place in description
    assert SCENES[key].place in item["properties"]["description"]
    assert "MIT License" in description
    assert "Copernicus" in description
    for name, asset in item["assets"].items():
        assert asset["file:size"] == (folder / asset["href"]).stat().st_size, name


@pytest.mark.parametrize("key", SCENES)
def test_files_are_cogs_with_overviews(scenes, key):
    for band in SCENES[key].bands:
        valid, errors, warnings = cog_validate(scenes[key].folder / f"scene/{band.name}.tif", strict=True)
        assert (valid, errors, warnings) == (True, [], [])


def cube(scene, bands):
    spec = load_spec(scene.spec)
    source = {"catalog": spec.source.catalog, "collections": spec.source.collections}
    snapshot, _ = eopipe.search(area=list(spec.area), **source)
    options = {"resolution": spec.grid.resolution, "composite": spec.source.composite}
    return eopipe.open_cube(snapshot, area=list(spec.area), bands=bands, **options).dataset.load()


def test_the_reader_finds_every_pixel_of_sentinel2_as_reflectance(scenes):
    original = read_scene(package_file("spyndex", SENTINEL2.file, SENTINEL2.version)).values
    reflectance = cube(scenes["sentinel-2"], ["blue", "green", "red", "nir"])
    for plane, band in zip(original, ("blue", "green", "red", "nir"), strict=True):
        np.testing.assert_allclose(reflectance[band].values[0], plane / 10000, atol=1e-7)


def test_a_collection_that_is_there_stays_and_one_that_was_spoilt_is_mended(tmp_path):
    folder = Storage.open(str(tmp_path))
    assert build(SENTINEL2, folder)
    assert not build(SENTINEL2, folder)
    good = (tmp_path / "B04.tif").read_bytes()
    (tmp_path / "B04.tif").write_bytes(good[:100])
    assert build(SENTINEL2, folder)
    assert (tmp_path / "B04.tif").read_bytes() == good


def test_a_missing_package_names_what_to_install():
    with pytest.raises(SpecError, match=r"package no_such_package, which is missing; pip install 'eopipe\[demo\]'"):
        package_file("no_such_package", "a.json", "no_such_package>=1")
    with pytest.raises(SpecError, match=r"this version of spyndex has no b.json.*; pip install 'spyndex>=9'"):
        package_file("spyndex", "b.json", "spyndex>=9")


@pytest.mark.parametrize("text", ["[[1, 2]]", "{", "[]"])
def test_a_package_with_another_scene_is_refused(tmp_path, text):
    file = tmp_path / "scene"
    file.write_text(text)
    with pytest.raises(SpecError, match="is not the demo's scene; pip install"):
        read_scene(file)


def test_scenes_are_those_whose_model_is_there():
    assert choose_scenes(None, frozenset({"mini"})) == (SENTINEL2,)
    with pytest.raises(WeightsError, match="weights of mini are missing"):
        choose_scenes(None, frozenset())
    with pytest.raises(SpecError, match=r"no scene 'mars'; the scenes are sentinel-2"):
        choose_scenes("mars", frozenset({"mini"}))
    with pytest.raises(SpecError, match=r"sentinel-2 needs the model mini, which this version lacks"):
        choose_scenes("sentinel-2", frozenset())


def test_a_folder_that_cannot_be_is_told_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot be the demo's folder .*give another one with --out"):
        prepare(SENTINEL2, read_words(None), tmp_path / "file")
