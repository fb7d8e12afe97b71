"""Invariant 1: tile sizes x workers x any order of resuming: the same bytes, on reprojected scenes too."""

import functools
import json
import shutil

import numpy as np
import pytest
import rasterio
import zarr
from rasterio.warp import Resampling, calculate_default_transform, reproject

from eopipe.kernels import land_cover
from tests.support import seeded_scenes
from tests.support.paths import needs_shared, shared
from tests.support.runs import PISA, mosaic, pisa, records, run, same_pixels
from tests.support.seeded_scenes import SeededScene, seeded


@pytest.fixture(scope="module", params=["seeded", pytest.param("pisa", marks=[needs_shared, pytest.mark.slow])])
def spec(request, catalog):
    """Makes the spec of an output: of the seeded scenes, or of the real one."""
    return functools.partial(seeded, catalog=catalog) if request.param == "seeded" else pisa


@pytest.fixture(scope="module")
def reference(spec, client, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "out"
    assert run(spec(folder))["exit_status"] == 0
    return folder


@pytest.fixture
def workers(client, request):
    """Let only some of the four workers take tasks."""
    addresses = sorted(client.scheduler_info(n_workers=-1)["workers"])
    idle = addresses[request.param :]
    for address in idle:
        client.run(_pause, workers=[address])
    yield request.param
    for address in idle:
        client.run(_resume, workers=[address])


def _pause(dask_worker):
    from distributed.core import Status

    dask_worker.status = Status.paused


def _resume(dask_worker):
    from distributed.core import Status

    dask_worker.status = Status.running


@pytest.mark.parametrize(
    ("tile", "workers"),
    [
        pytest.param(512, 1, marks=pytest.mark.slow),
        pytest.param(1024, 2, marks=pytest.mark.slow),
        (1024, 4),
        (2048, 1),
        pytest.param(2048, 2, marks=pytest.mark.slow),
    ],
    indirect=["workers"],
)
def test_tile_size_and_workers_do_not_show(reference, spec, client, tmp_path, tile, workers):
    assert run(spec(tmp_path / "out", grid__tile=tile))["exit_status"] == 0
    assert same_pixels(mosaic(reference), mosaic(tmp_path / "out")) > 400_000


def test_the_order_of_resuming_does_not_show(reference, spec, client, tmp_path):
    """Half of the tiles are lost, records and shards, and done again on their own."""
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    document = json.loads((out / "run.json").read_text())
    document["spec"]["output"]["uri"] = str(out)
    (out / "run.json").write_text(json.dumps(document))
    group = zarr.open_group(out / "mosaic.zarr", mode="r+")
    layout = group.attrs["eopipe:layout"]["tile_bounds"]
    for number, (name, record) in enumerate(records(out).items()):
        if number % 2:
            next(out.glob(f"ledger/r*/{name}.{record['inputs']}.json")).unlink()
            row, col = (int(number) for number in name[1:].split("c"))
            top, left = 512 * (row - layout["row0"]), 512 * (col - layout["col0"])
            group["0/label"][top : top + 512, left : left + 512] = 77
    summary = run(spec(out))
    assert summary["exit_status"] == 0
    same_pixels(mosaic(reference), mosaic(out))
    assert records(out).keys() == records(reference).keys()


def warped(folder, crs):
    """The real Pisa scene, warped to a UTM zone: files, item and collection (derived, not as published)."""
    source = shared() / "data/sentinel2-oscd"
    item = json.loads((source / "S2_pisa_20150704/S2_pisa_20150704.json").read_text())
    folder.mkdir()
    for name, asset in item["assets"].items():
        with rasterio.open(source / "S2_pisa_20150704" / asset["href"]) as scene:
            res = 10 if scene.width > 500 else 20
            transform, width, height = calculate_default_transform(
                scene.crs, crs, scene.width, scene.height, *scene.bounds, resolution=res
            )
            pixels = np.zeros((height, width), np.uint16)
            reproject(
                rasterio.band(scene, 1), pixels, dst_transform=transform, dst_crs=crs, resampling=Resampling.bilinear
            )
        profile = {"driver": "COG", "crs": crs, "transform": transform, "height": height, "width": width}
        with rasterio.open(folder / f"{name}.tif", "w", **profile, count=1, dtype="uint16", nodata=0) as file:
            file.write(pixels, 1)
        asset |= {"href": f"./{name}.tif", "proj:shape": [height, width], "proj:transform": list(transform)[:6]}
    item["properties"] |= {"proj:code": crs, "proj:epsg": int(crs.split(":")[1])}
    item["links"] = []
    (folder / "item.json").write_text(json.dumps(item))
    collection = json.loads((source / "collection.json").read_text())
    collection["links"] = [{"rel": "item", "href": "./item.json"}]
    (folder / "collection.json").write_text(json.dumps(collection))
    return str(folder / "collection.json")


@pytest.mark.parametrize("scene", ["seeded", pytest.param("pisa", marks=[needs_shared, pytest.mark.slow])])
def test_scenes_of_another_zone_show_no_tiles_either(client, tmp_path, scene):
    """A scene in UTM 32, read in UTM 33, far outside its zone: rotated by some degrees."""
    changes = {"grid__crs": "EPSG:32633", "area": [10.38, 43.69, 10.43, 43.74]}
    if scene == "seeded":
        scenes = [SeededScene("zone-32", "EPSG:32632", PISA, seed=4)]
        make_spec = functools.partial(seeded, catalog=seeded_scenes.write_catalog(tmp_path / "scene", scenes))
    else:
        make_spec = functools.partial(pisa, source__catalog=warped(tmp_path / "scene", "EPSG:32632"))
    maps = {}
    for tile in (512, 1024):
        assert run(make_spec(tmp_path / f"out{tile}", grid__tile=tile, **changes))["exit_status"] == 0
        maps[tile] = mosaic(tmp_path / f"out{tile}")
    assert same_pixels(maps[512], maps[1024]) > 200_000


def test_two_areas_agree_where_they_overlap(reference, spec, client, tmp_path):
    """The lattice is absolute: another area, the same pixels.

    The smaller area lies inside the larger one on every side: an area's edge is drawn from vertices of its own, and
    a pixel whose centre lies on it may belong to the one and not to the other.
    """
    assert run(spec(tmp_path / "out", area=[10.39, 43.70, 10.44, 43.75]))["exit_status"] == 0
    whole, smaller = mosaic(reference), mosaic(tmp_path / "out")
    rows, cols = np.nonzero((smaller.label.values != 0) & (smaller.label.values != 255))
    expected = whole.reindex_like(smaller, fill_value=255)
    np.testing.assert_array_equal(expected.label.values[rows, cols], smaller.label.values[rows, cols])
    assert len(rows) > 150_000


def test_it_fails_when_the_halo_is_not_read():
    """The test can fail: without the halo, tiles of another size give other bytes at their edges."""
    assert land_cover.HALO >= 22
    from eopipe.grid import PixelBox
    from eopipe.kernels.registry import create

    kernel = create("land-cover", {}, resolution=10.0)
    kernel.load(device="cpu", threads=1)
    rng = np.random.default_rng(1)
    pixels = rng.integers(200, 4000, (1, 9, 560, 1072)).astype(np.float32)
    valid = np.ones((1, 560, 1072), bool)
    whole = kernel(pixels, valid, PixelBox(0, 0, 512, 1024)).arrays["confidence"]
    right = kernel(pixels[..., 512:], valid[..., 512:], PixelBox(0, 512, 512, 1024)).arrays["confidence"]
    np.testing.assert_array_equal(whole[:, 512:], right)
    cut = pixels[..., 512:].copy()
    cut[..., :20] = 0  # as if the halo had not been read
    assert (kernel(cut, valid[..., 512:], PixelBox(0, 512, 512, 1024)).arrays["confidence"] != right).any()
