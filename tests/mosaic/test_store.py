"""The store: whole shards, one file a shard, readable in place."""

import hashlib
import math
import os
import pickle
import resource
import time

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
import zarr

from eopipe.errors import DamageError, OutputError, PlanError
from eopipe.grid import Grid, PixelBox, Tile
from eopipe.kernelinfo import ArraySpec
from eopipe.mosaic.coarse_pyramid import build_coarse, build_parent, coarse_tasks
from eopipe.mosaic.pyramid import reduce
from eopipe.mosaic.store import (
    STATUS,
    Layout,
    MosaicWriter,
    checksum,
    create,
    read_layout,
    read_status,
    write_status,
)
from eopipe.run_folder import MOSAIC
from eopipe.storage import Storage
from tests.mosaic.conftest import ARRAYS, CONFIDENCE, LABEL, make_layout, make_tile

HERE = Tile(-949, 119)


def _shards(storage):
    return sorted(
        path
        for path in storage.list(MOSAIC)
        if "/c/" in path and path.split("/")[2] in {"label", "confidence", "change", "probabilities"}
    )


def test_write_read_erase_anywhere(anywhere, layout):
    create(anywhere, layout, {"title": "test"})
    writer = pickle.loads(pickle.dumps((anywhere, layout)))
    writer = MosaicWriter(*writer)
    arrays = make_tile(layout, HERE)
    sums = writer.write(HERE, arrays)
    for name, values in arrays.items():
        assert (writer.read(HERE, name) == values).all()
        assert sums[name] == hashlib.sha256(values.tobytes()).hexdigest()
        half = reduce(values, layout.spec(name))
        assert (writer.read(HERE, name, 1) == half).all()
        assert sums[f"{name}/1"] == checksum(half)
    assert set(sums) == {f"{name}{end}" for name in arrays for end in ("", "/1")}
    assert len(_shards(anywhere)) == len(sums)
    assert (writer.read(Tile(-950, 118), "label") == 255).all()
    writer.erase(HERE)
    writer.erase(HERE)
    assert _shards(anywhere) == []
    assert (MosaicWriter(anywhere, layout).read(HERE, "label") == 255).all()


def test_shard_is_named_as_its_tile(local, layout):
    MosaicWriter(local, layout).write(HERE, make_tile(layout, HERE))
    attrs = zarr.open_group(local.zarr_store(MOSAIC), path="0", mode="r").attrs
    row0, col0 = attrs["tile_origin"]
    i, j = HERE.row - row0, HERE.col - col0
    assert local.exists(f"{MOSAIC}/0/label/c/{i}/{j}")
    assert local.exists(f"{MOSAIC}/1/probabilities/c/0/{i}/{j}")


def test_one_shard_is_one_put_and_no_get(s3, s3_uri, layout):
    storage = Storage.open(s3_uri)
    create(storage, layout, {})
    writer = MosaicWriter(storage, layout)
    writer.write(Tile(-950, 118), make_tile(layout, HERE))  # opens the arrays
    seen = len(s3.requests())
    sums = writer.write(HERE, make_tile(layout, HERE))
    time.sleep(0.1)
    said = s3.requests()[seen:]
    assert sum('"PUT ' in line for line in said) == len(sums)
    assert [line for line in said if '"PUT ' not in line] == []


def test_a_damaged_shard_is_written_over(local, layout):
    arrays = make_tile(layout, HERE)
    sums = MosaicWriter(local, layout).write(HERE, arrays)
    for path in _shards(local):
        local.put(path, local.get(path)[:100])
    assert MosaicWriter(local, layout).write(HERE, arrays) == sums
    assert (MosaicWriter(local, layout).read(HERE, "label") == arrays["label"]).all()


def _cut(data):
    return data[: len(data) // 2]


def _flip(data):
    return data[:-40] + bytes([data[-40] ^ 255]) + data[-39:]


def _garble(data):
    return bytes(200) + data[200:]


@pytest.mark.parametrize("damage", [_cut, _flip, _garble])
def test_damage_is_named(local, layout, damage):
    MosaicWriter(local, layout).write(HERE, make_tile(layout, HERE))
    path = f"{MOSAIC}/{layout.key(0, 'label', layout.index(HERE))}"
    local.put(path, damage(local.get(path)))
    with pytest.raises(DamageError, match="cannot be decoded") as caught:
        MosaicWriter(local, layout).read(HERE, "label")
    assert "\n" not in str(caught.value)


def test_same_values_same_bytes(tmp_path, layout):
    bytes_of = []
    for name in ("a", "b"):
        storage = Storage.open(str(tmp_path / name))
        create(storage, layout, {})
        MosaicWriter(storage, layout).write(HERE, make_tile(layout, HERE))
        bytes_of.append({path: storage.get(path) for path in _shards(storage)})
    assert bytes_of[0] == bytes_of[1]


def test_zarrs_gives_the_same_values(tmp_path, layout):
    pytest.importorskip("zarrs")
    storage = Storage.open(str(tmp_path))
    create(storage, layout, {})
    arrays = make_tile(layout, HERE)
    fast = MosaicWriter(storage, layout, pipeline="zarrs")
    plain = MosaicWriter(storage, layout, pipeline="zarr")
    sums = fast.write(HERE, arrays)
    assert all((plain.read(HERE, name) == values).all() for name, values in arrays.items())
    assert plain.write(HERE, arrays) == sums
    assert all((fast.read(HERE, name) == values).all() for name, values in arrays.items())


def test_unknown_pipeline_is_refused(tmp_path, layout, monkeypatch):
    monkeypatch.setenv("EOPIPE_CODEC_PIPELINE", "fast")
    with pytest.raises(PlanError, match="use zarr or zarrs"):
        MosaicWriter(Storage.open(str(tmp_path)), layout)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays: {**arrays, "label": arrays["label"][:-1]},
        lambda arrays: {**arrays, "label": arrays["label"].astype(np.int32)},
        lambda arrays: {name: values for name, values in arrays.items() if name != "label"},
        lambda arrays: {**arrays, "more": arrays["label"]},
        lambda arrays: {**arrays, "probabilities": arrays["probabilities"][:1]},
    ],
)
def test_a_write_that_is_no_whole_tile_is_refused_before_anything_is_written(local, layout, spoil):
    with pytest.raises(ValueError, match="a tile has"):
        MosaicWriter(local, layout).write(HERE, spoil(make_tile(layout, HERE)))
    assert _shards(local) == []


def test_a_tile_outside_is_refused(local, layout):
    with pytest.raises(ValueError, match="outside the mosaic"):
        MosaicWriter(local, layout).write(Tile(-947, 118), make_tile(layout, HERE))


def test_create_again_changes_nothing_and_another_layout_is_refused(local, layout):
    MosaicWriter(local, layout).write(HERE, make_tile(layout, HERE))
    before = {path: local.get(path) for path in local.list()}
    create(local, layout, {"title": "other"})
    assert {path: local.get(path) for path in local.list()} == before
    with pytest.raises(OutputError, match="another area"):
        create(local, make_layout(bounds=PixelBox(0, 0, 1, 1)), {})


def test_create_that_was_killed_half_way_starts_over(tmp_path, layout):
    storage = Storage.open(str(tmp_path))
    create(storage, layout, {})
    whole = {path: storage.get(path) for path in storage.list()}
    for path in list(whole)[3::2]:
        storage.delete(path)
    (tmp_path / MOSAIC / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    create(storage, layout, {})
    assert {path: storage.get(path) for path in storage.list()} == whole


def test_layout_can_be_read_back(local, layout):
    assert read_layout(local) == layout


def test_no_mosaic_is_named(tmp_path):
    with pytest.raises(OutputError, match="no eopipe mosaic"):
        read_layout(Storage.open(str(tmp_path)))


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:6933", "EPSG:4326"])
def test_xarray_rio_and_odc_open_each_group_in_place(tmp_path, crs):
    layout = make_layout(crs=crs)
    storage = Storage.open(str(tmp_path))
    create(storage, layout, {"title": "test"})
    MosaicWriter(storage, layout).write(HERE, make_tile(layout, HERE))
    for level in range(layout.levels):
        ds = xr.open_zarr(storage.url(MOSAIC), group=str(level), consolidated=False)
        assert set(ds.data_vars) == {spec.name for spec in ARRAYS}
        assert set(ds.coords) == {"x", "y", "spatial_ref"}
        assert ds.label.dtype == np.uint8  # no _FillValue has made floats of it
        assert ds.label.rio.crs.to_epsg() == int(crs[5:])
        assert tuple(ds.label.rio.transform())[:6] == tuple(layout.transform(level))[:6]
        box = ds.label.odc.geobox
        assert box.shape == layout.shape(level)
        assert tuple(box.affine)[:6] == pytest.approx(tuple(layout.transform(level))[:6])
        assert box.crs.epsg == int(crs[5:])
        assert ds.odc.geobox == box
    assert tuple(ds.probabilities.dims) == ("band", "y", "x")


def test_opens_as_titiler_does_and_from_a_server(anywhere, layout):
    create(anywhere, layout, {})
    arrays = make_tile(layout, HERE)
    MosaicWriter(anywhere, layout).write(HERE, arrays)
    store = anywhere.zarr_store(MOSAIC)
    ds = xr.open_dataset(store, engine="zarr", group="0", consolidated=False, decode_coords="all", chunks={})
    part = ds.label.rio.clip_box(*layout.grid.bounds(HERE.box(512)))
    found = part.compute(scheduler="threads")  # not on a Client that another test may have opened elsewhere
    assert (found.values == arrays["label"]).all()
    assert part.dtype == np.uint8
    assert ds.label.rio.crs.to_epsg() == 32632


def test_codes_are_attributes(local):
    ds = xr.open_zarr(local.url(MOSAIC), group="0", consolidated=False)
    attrs = ds.label.attrs
    assert list(attrs["flag_values"]) == [0, 1, 2, 3, 255]
    assert attrs["flag_meanings"] == "no_valid_observation water flooded_vegetation built not_produced"
    assert attrs["flag_colors"].split()[1:4] == ["#419bdf", "#7a87c6", "#c4281b"]
    assert attrs["prompts"] == {"water": ["river", "sea"]}
    assert "_FillValue" not in ds.label.encoding
    assert list(ds.change.attrs["flag_values"]) == [0, 1, 254, 255]
    assert list(ds.confidence.attrs["flag_values"]) == [255]
    assert ds.probabilities.attrs["band_names"] == ["water", "wetland", "built"]


def test_coordinates_are_pixel_centres(local, layout):
    ds = xr.open_zarr(local.url(MOSAIC), group="1", consolidated=False)
    assert float(ds.x[0]) == 118 * 5120 + 10
    assert float(ds.y[0]) == 950 * 5120 - 10
    assert np.unique(np.diff(ds.x)).tolist() == [20.0]


def test_pyramid_is_described_as_the_conventions_want(local, layout):
    attrs = dict(zarr.open_group(local.zarr_store(MOSAIC), mode="r").attrs)
    levels = attrs["multiscales"]["layout"]
    assert [entry["asset"] for entry in levels] == [str(k) for k in range(layout.levels)]
    assert [entry.get("derived_from") for entry in levels] == [None, *(str(k) for k in range(layout.levels - 1))]
    assert "spatial:transform" not in attrs  # with multiscales it belongs to the levels
    assert attrs["proj:code"] == "EPSG:32632"
    assert len(attrs["zarr_conventions"]) == 3


def test_status_map(anywhere, layout):
    create(anywhere, layout, {})
    assert (read_status(anywhere) == STATUS["not run"]).all()
    write_status(anywhere, layout, {HERE: "done", Tile(-950, 121): "failed"})
    found = read_status(anywhere)
    assert found.shape == (3, 4)
    assert found[1, 1] == STATUS["done"]
    assert found[0, 3] == STATUS["failed"]
    assert found.sum() == STATUS["done"] + STATUS["failed"]
    if anywhere.local_path("") is not None:
        ds = xr.open_zarr(anywhere.url(MOSAIC), consolidated=False)
        assert ds.tile_status.odc.geobox.affine.a == 5120
        assert ds.tile_status.rio.crs.to_epsg() == 32632


def _level(storage, layout, level, name):
    return MosaicWriter(storage, layout).read_region(level, name, slice(None), slice(None))


@pytest.mark.parametrize(("tile", "bounds"), [(512, PixelBox(-7, 3, -2, 6)), (1024, PixelBox(0, 0, 2, 3))])
def test_whole_pyramid_is_the_mosaic_halved_again_and_again(tmp_path, tile, bounds):
    layout = make_layout(tile, bounds, arrays=(LABEL, CONFIDENCE))
    storage = Storage.open(str(tmp_path))
    create(storage, layout, {})
    writer = MosaicWriter(storage, layout)
    for tile_ in list(layout.tiles())[1:]:  # one is missing
        writer.write(tile_, make_tile(layout, tile_))
    build_coarse(storage, layout)
    assert layout.levels > layout.own_levels
    assert max(layout.shape(layout.levels - 1)) <= 512
    for spec in layout.arrays:
        expected = _level(storage, layout, 0, spec.name)
        for level in range(1, layout.levels):
            expected = reduce(expected, spec)
            assert (_level(storage, layout, level, spec.name) == expected).all()


def test_coarse_tasks_own_their_shards(layout):
    tasks = coarse_tasks(layout)
    assert [level[0][0] for level in tasks] == list(range(layout.own_levels, layout.levels))
    for level in tasks:
        assert len(set(level)) == len(level) == math.prod(layout.shards(level[0][0]))


def test_own_levels_are_not_coarse(local, layout):
    with pytest.raises(ValueError, match="not coarse"):
        build_parent(local, layout, 1, 0, 0)


def test_coarse_on_a_server(s3_uri, layout):
    storage = Storage.open(s3_uri)
    create(storage, layout, {})
    MosaicWriter(storage, layout).write(HERE, make_tile(layout, HERE))
    build_coarse(storage, layout)
    assert (_level(storage, layout, 2, "label") != 255).any()


@pytest.mark.alone
def test_twenty_thousand_tiles_are_made_in_a_moment(tmp_path):
    layout = make_layout(4096, PixelBox(-100, -3, 40, 140), arrays=(LABEL, CONFIDENCE))
    assert len(list(layout.tiles())) == 20_020
    begun = time.monotonic()
    storage = Storage.open(str(tmp_path))
    create(storage, layout, {})
    assert time.monotonic() - begun < 5
    assert sum(size for _, size in storage.sizes()) < 8 << 20


@pytest.mark.parametrize("tile", [300, 128])
def test_tiles_without_a_pyramid_are_refused(tile):
    with pytest.raises(PlanError, match="power of two"):
        make_layout(tile)


def test_floats_are_refused():
    with pytest.raises(PlanError, match="float32"):
        make_layout(arrays=(ArraySpec("score", "float32", 0, 0),))


def test_an_empty_area_is_refused():
    with pytest.raises(PlanError, match="no tile"):
        Layout.plan(Grid("EPSG:32632", 10.0), 512, PixelBox(0, 0, 0, 3), ARRAYS)


def test_full_disk_is_one_line_and_no_half_shard(local, layout):
    writer = MosaicWriter(local, layout)
    arrays = make_tile(layout, HERE)
    writer.read(HERE, "label")  # opened before
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
        with pytest.raises(OutputError, match="full") as caught:
            writer.write(HERE, arrays)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert caught.value.reason == "write.full"
    assert "\n" not in str(caught.value)
    assert _shards(local) == []
    assert not any(name.endswith(".partial") for _, _, names in os.walk(local.uri) for name in names)


def test_missing_bucket_on_create(s3, layout):
    with pytest.raises(OutputError, match="bucket does not exist"):
        create(Storage.open("s3://no-such-bucket-at-all/x"), layout, {})
