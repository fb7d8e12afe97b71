"""A map judged where labels lie, against xarray's own nearest pixels."""

import json

import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import Transformer
from rasterio.transform import from_origin

from eopipe.errors import ItemError, OutputError, SpecError
from eopipe.evaluation.change import mosaics
from eopipe.grid import Grid, PixelBox, Tile
from eopipe.kernelinfo import ArraySpec
from eopipe.mosaic.layout import Layout
from eopipe.mosaic.store import MosaicWriter, create
from eopipe.storage import Storage
from tests.evaluation.documents import collection, item
from tests.support.command import eopipe

CHANGE = ArraySpec("change", "uint8", 255, 254, losers=(254, 255))
OTHER = ArraySpec("label", "uint8", 255, 0)


def write_run(folder, arrays=(CHANGE,), tiles=2):
    """Tiles of 256 near Mumbai; a map of all four codes, a function of the place."""
    layout = Layout.plan(Grid("EPSG:32643", 10.0), 256, PixelBox(-824, 106, -823, 106 + tiles), tuple(arrays))
    storage = Storage.open(str(folder))
    create(storage, layout, {})
    writer, rng = MosaicWriter(storage, layout), np.random.default_rng(4)
    for col in range(106, 106 + tiles):
        codes = np.kron(rng.choice([0, 0, 0, 1, 254, 255], (64, 64)), np.ones((4, 4))).astype(np.uint8)
        writer.write(Tile(-824, col), {spec.name: codes for spec in arrays})
    return layout


def raster(path, values, transform, crs="EPSG:32643"):
    shape = {"height": values.shape[0], "width": values.shape[1]}
    with rasterio.open(path, "w", "GTiff", **shape, count=1, dtype="uint8", crs=crs, transform=transform) as file:
        file.write(values, 1)
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosaic")
    return folder, write_run(folder)


def by_hand(folder, path):
    """Counts over every label pixel, by xarray and a loop of nothing but comparisons."""
    change_map = xr.open_zarr(f"{folder}/mosaic.zarr", group="0", consolidated=False).change
    with rasterio.open(path) as file:
        labels, crs = file.read(1), file.crs
        rows, cols = np.indices(labels.shape)
        x, y = rasterio.transform.xy(file.transform, rows.ravel(), cols.ravel())
    east, north = Transformer.from_crs(crs, "EPSG:32643", always_xy=True).transform(x, y)
    reach = 5.0
    inside = (east > change_map.x.min().item() - reach) & (east < change_map.x.max().item() + reach)
    inside &= (north > change_map.y.min().item() - reach) & (north < change_map.y.max().item() + reach)
    at = {"x": xr.DataArray(east), "y": xr.DataArray(north)}
    codes = change_map.sel(method="nearest", **at).values
    return labels.ravel(), inside, codes


@pytest.mark.parametrize("crs", ["EPSG:32643", "EPSG:4326"])
def test_each_labelled_pixel_is_judged_where_its_centre_falls(run, tmp_path, crs):
    folder, layout = run
    left, _, _, top = layout.grid.bounds(layout.box)
    values = np.random.default_rng(8).integers(0, 4, (700, 610)).astype(np.uint8)  # more than one strip of rows
    transform = from_origin(left - 600, top + 300, 7.3, 4.1)
    if crs == "EPSG:4326":
        west, north = Transformer.from_crs(32643, 4326, always_xy=True).transform(left - 600, top + 300)
        transform = from_origin(west, north, 7e-5, 4e-5)
    path = raster(tmp_path / "labels.tif", values, transform, crs)
    judgement, beside = mosaics.judge_run(str(folder), [mosaics.LabelRaster(path, 2, 1)])
    labels, inside, codes = by_hand(folder, path)
    judged = (labels == 1) | (labels == 2)
    assert beside == []
    assert judgement.outside == (judged & ~inside).sum() > 1000
    assert judgement.unseen == (judged & inside & (codes == 254)).sum() > 1000
    assert judgement.not_produced == (judged & inside & (codes == 255)).sum() > 1000
    assert judgement.confusion.ignored == (~judged).sum()
    for truth in (0, 1):
        for code in (0, 1):
            both = (labels == truth + 1) & inside & (codes == code)
            assert judgement.confusion.counts[truth, code] == both.sum()
        assert judgement.confusion.missed[truth] == ((labels == truth + 1) & (~inside | (codes > 1))).sum()


def test_the_command_says_what_lies_outside_and_keeps_it(run, tmp_path):
    folder, layout = run
    left, _, _, top = layout.grid.bounds(layout.box)
    path = raster(
        tmp_path / "labels.tif", np.tile([0, 1], (40, 30)).astype(np.uint8), from_origin(left - 100, top, 10, 10)
    )
    arguments = ("change", "--map", folder, "--labels", path)
    result = eopipe("eval", *arguments, "--json", "--out", tmp_path / "out").document
    assert result["missed"]["outside"] == 40 * 10
    assert result["missed_pixels"] == sum(result["missed"].values())
    assert result["pixels"] == 40 * 60
    assert json.loads((tmp_path / "out/result.json").read_text()) == result
    ended = eopipe("eval", *arguments)
    assert ended.status == 0
    assert f"F1 {result['F1']:.2f} %" in ended.out
    assert "note: 400 labelled pixels lie outside the mosaic: counted as missed" in ended.out


def test_labels_of_a_collection_and_those_elsewhere(run, tmp_path):
    folder, layout = run
    left, _, _, top = layout.grid.bounds(layout.box)
    values = np.tile([1, 2], (8, 8)).astype(np.uint8)
    raster(tmp_path / "here.tif", values, from_origin(left, top, 10, 10))
    raster(tmp_path / "there.tif", values, from_origin(left + 1e5, top, 10, 10))
    items = [item(name, {"change": {"href": f"./{name}.tif"}}) for name in ("here", "there")]
    address = collection(tmp_path, [*items, item("bare", {"image": {"href": "./x.tif"}})])
    result = eopipe("eval", "change", "oscd", "--map", folder, "--labels", address, "--json").document
    assert (result["pixels"], result["files"]) == (128, 1)
    assert [path.rsplit("/", 1)[-1] for path in result["files_beside"]] == ["there.tif"]
    assert "1 label files lie outside" in result["notes"][-1]
    with pytest.raises(ItemError, match=r"no item of .* has an asset 'labels'"):
        mosaics.find_rasters(address, "labels", changed=1, unchanged=0)


def test_what_cannot_be_judged_is_one_line(run, tmp_path):
    folder, layout = run
    left, _, _, top = layout.grid.bounds(layout.box)
    values = np.full((4, 4), 7, np.uint8)
    seven = raster(tmp_path / "seven.tif", values, from_origin(left, top, 10, 10))
    elsewhere = raster(tmp_path / "far.tif", values % 2, from_origin(left + 1e5, top, 10, 10))
    nowhere = raster(tmp_path / "nowhere.tif", values, from_origin(left, top, 10, 10), crs=None)
    (tmp_path / "text.tif").write_text("none")
    write_run(tmp_path / "labels", (OTHER,), tiles=1)
    for out, labels, error, message in (
        (folder, seven, SpecError, "hold neither 1 .changed. nor 0 .unchanged."),
        (folder, elsewhere, SpecError, "lies in the mosaic of"),
        (folder, nowhere, SpecError, "have no CRS"),
        (folder, str(tmp_path / "text.tif"), SpecError, "cannot be read"),
        (tmp_path / "labels", seven, SpecError, "has no array 'change' .label."),
        (tmp_path / "empty", seven, OutputError, "is no eopipe mosaic"),
    ):
        with pytest.raises(error, match=message) as raised:
            mosaics.judge_run(str(out), [mosaics.LabelRaster(labels, 1, 0)])
        assert "\n" not in str(raised.value)
