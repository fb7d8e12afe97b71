"""The specs that people copy: they are valid, and real items of their providers have what they ask for."""

import json
from datetime import UTC, datetime

import pytest

from eopipe.cube.sensors import resolve_scene
from eopipe.engine.job import resolve
from eopipe.spec import load_spec
from tests.support.paths import ROOT, needs_shared, shared

FLOWS = sorted((ROOT / "flows").glob("*.yaml"))
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
