"""The specs that people copy: they are valid, and real items of their providers have what they ask for."""

import json
from datetime import UTC, datetime

import pytest

from eopipe.cube.item_scenes import resolve_scene
from eopipe.cube.sensors import sensor_of
from eopipe.engine.plan.resolved_spec import resolve
from eopipe.kernels.change.dynamicearth.options import StageOptions
from eopipe.kernels.ovss.options import OvssOptions
from eopipe.kernels.ovss.picture import stretch_of
from eopipe.models.registry import MODELS, get_model
from eopipe.models.registry_entry import ClipEntry
from eopipe.spec import load_spec
from eopipe.stac.time_range import Season
from tests.support.paths import ROOT, needs_shared, shared

FLOWS = sorted((ROOT / "flows").glob("land-cover-*.yaml"))
ITEMS = {
    "land-cover-earth-search": "pystac-client/earthsearch_v1_s1grd_s2_20items.json",
    "land-cover-planetary-computer": "pystac-client/planetarycomputer_s2_landsat_2items.json",
}


@pytest.mark.parametrize("file", FLOWS, ids=lambda file: file.stem)
def test_a_flow_resolves(file):
    job = resolve(load_spec(file), datetime(2025, 10, 1, tzinfo=UTC))
    assert job.grid.crs == "EPSG:32632"
    assert job.spec.output_uri(job.now) == str(ROOT / "flows/out" / job.spec.name)


@needs_shared
@pytest.mark.parametrize("file", FLOWS, ids=lambda file: file.stem)
def test_real_items_have_its_bands_and_mask(file):
    spec = load_spec(file)
    kernel = resolve(spec, datetime(2025, 10, 1, tzinfo=UTC)).kernel
    features = json.loads((shared() / "data/stac_raster/stac_items" / ITEMS[file.stem]).read_text())["features"]
    items = [item for item in features if item["collection"] in spec.source.collections]
    assert items
    for item in items:
        scene = resolve_scene(item, kernel.info.inputs.bands, spec.source.mask)
        assert scene.level == "L2A"
        assert scene.mask is not None
        names = [ref.href.rsplit("/", 1)[-1].split("?")[0] for ref in scene.bands.values()]
        assert len({*names, scene.mask.href}) == 10, "ten different files"
        for name, code in zip(names, ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12"), strict=True):
            assert code in name
        (warning,) = kernel.check([scene.level], 10.0)
        assert "made for Sentinel-2 L1C" in warning


@needs_shared
def test_mini_s_flow_resolves_and_real_items_have_its_bands():
    job = resolve(load_spec(ROOT / "flows/open-vocabulary-earth-search.yaml"), datetime(2025, 10, 1, tzinfo=UTC))
    assert job.kernel.check(["L2A"], 10.0) == []
    assert all(note.known for note in job.kernel.words())
    names = [info.name for info in job.kernel.info.arrays[0].classes]
    assert names == ["water", "forest", "fields", "houses", "other"]
    items = shared() / "data/stac_raster/stac_items/pystac-client/earthsearch_v1_s1grd_s2_20items.json"
    found = [item for item in json.loads(items.read_text())["features"] if item["collection"] == "sentinel-2-l2a"]
    assert found
    for item in found:
        scene = resolve_scene(item, job.kernel.info.inputs.bands, job.spec.source.mask)
        files = [scene.bands[band].href.rsplit("/", 1)[-1] for band in ("blue", "green", "red", "nir")]
        assert files == ["B02.tif", "B03.tif", "B04.tif", "B08.tif"]


@needs_shared
def test_the_open_vocabulary_flow_is_valid_and_real_items_have_its_bands():
    """Its towers are not here, so the kernel is not made: its options, and what they ask of the catalogue."""
    spec = load_spec(ROOT / "flows/open-vocabulary-naip.yaml")
    options = OvssOptions.model_validate(spec.kernel.options())
    assert options.vocabulary.names == ("building", "road", "water", "tree", "grass", "car")
    assert isinstance(get_model(options.model), ClipEntry)
    items = shared() / "data/stac_raster/stac_items/pystac-client/planetarycomputer_naip_20items.json"
    for item in json.loads(items.read_text())["features"]:
        assert item["collection"] in spec.source.collections
        scene = resolve_scene(item, ("red", "green", "blue"))
        assert [ref.band_index for ref in scene.bands.values()] == [1, 2, 3]
        assert stretch_of([sensor_of(item).name]) == (0.0, 1.0)


def test_the_flows_of_change_name_two_epochs_and_stages_that_there_are():
    own = load_spec(ROOT / "flows/change-earth-search.yaml")
    job = resolve(own, datetime(2025, 10, 1, tzinfo=UTC))
    assert job.kernel.info.inputs.epochs == len(own.source.ranges()) == 2
    assert Season.parse(own.source.season) == Season((6, 1), (8, 31))
    theirs = load_spec(ROOT / "flows/change-naip.yaml")
    assert len(theirs.source.ranges()) == 2
    stages = StageOptions.model_validate(theirs.kernel.options()).combination
    assert (stages.proposer, stages.comparer) == ("sam2.1-hiera-l", "dinov2-base")
    assert isinstance(get_model(stages.identifier), ClipEntry)
    assert {stages.proposer, stages.comparer} <= set(MODELS)
    assert stretch_of(["NAIP"]) == (0.0, 1.0)
