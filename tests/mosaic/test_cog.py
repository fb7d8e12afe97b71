"""COGs, as the programs read them that people use."""

import hashlib

import numpy as np
import pytest
import rasterio
import rioxarray
from pyproj import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rio_cogeo.cogeo import cog_info, cog_validate

from eopipe.grid import Grid, Tile
from eopipe.mosaic.cog import CogInfo, encode_cog, valid, write_cog
from eopipe.storage import Storage
from tests.mosaic.conftest import ARRAYS, CHANGE, CONFIDENCE, LABEL, PROBABILITIES, make_tile
from tests.support.s3 import s3, s3_uri  # noqa: F401  (fixtures)

HERE = Tile(-949, 119)
INFO = CogInfo("pisa", "land-cover", ARRAYS, {"MODEL": "dynamic world"})


@pytest.fixture
def written(tmp_path, layout):
    storage = Storage.open(str(tmp_path))
    arrays = make_tile(layout, HERE)
    files = write_cog(
        storage, path="cog/here-1.tif", geobox=layout.grid.geobox(HERE.box(512)), arrays=arrays, info=INFO
    )
    return tmp_path, arrays, files


def test_one_file_an_array_and_the_map_has_the_plain_name(written):
    _, _, files = written
    assert {name: entry.path for name, entry in files.items()} == {
        "label": "cog/here-1.tif",
        "change": "cog/here-1-change.tif",
        "confidence": "cog/here-1-confidence.tif",
        "probabilities": "cog/here-1-probabilities.tif",
    }


def test_size_and_checksum_are_the_files(written):
    root, _, files = written
    for entry in files.values():
        data = (root / entry.path).read_bytes()
        assert entry.size == len(data)
        assert entry.sha256 == hashlib.sha256(data).hexdigest()


def test_every_file_is_a_valid_cog(written):
    root, _, files = written
    for entry in files.values():
        assert cog_validate(str(root / entry.path), strict=True, quiet=True) == (True, [], [])


@pytest.mark.parametrize("spec", ARRAYS, ids=lambda spec: spec.name)
def test_values_mask_and_place(written, layout, spec):
    root, arrays, files = written
    with rasterio.open(root / files[spec.name].path) as dataset:
        values = arrays[spec.name].reshape(-1, 512, 512)
        assert (dataset.read() == values).all()
        assert dataset.nodata is None
        assert dataset.mask_flag_enums[0] == [MaskFlags.per_dataset]
        assert ((dataset.read_masks(1) > 0) == valid(arrays[spec.name], spec)).all()
        assert dataset.crs.to_epsg() == 32632
        assert dataset.bounds == layout.grid.bounds(HERE.box(512))
        assert dataset.descriptions == (spec.bands or (spec.name,))
        assert dataset.tags()["RUN"] == "pisa"
        assert dataset.tags()["MODEL"] == "dynamic world"


def test_map_is_paletted_and_names_its_classes(written):
    root, _, files = written
    with rasterio.open(root / files["label"].path) as dataset:
        assert dataset.colorinterp == (ColorInterp.palette,)
        assert dataset.colormap(1)[1] == (0x41, 0x9B, 0xDF, 255)
        assert dataset.tags()["CLASS_2"] == "flooded vegetation"


def test_unchanged_is_seen_and_missing_is_not():
    assert valid(np.array([[0, 1, 254, 255]], np.uint8), CHANGE).tolist() == [[True, True, False, False]]
    assert valid(np.array([[0, 1, 254, 255]], np.uint8), LABEL).tolist() == [[False, True, True, False]]


def test_overviews_hold_codes_that_exist(layout):
    array = make_tile(layout, HERE)["label"].repeat(4, 0).repeat(4, 1)
    with rasterio.MemoryFile(encode_cog(array, LABEL, layout.grid.geobox(HERE.box(2048)), INFO)) as file:
        with file.open() as dataset:
            assert dataset.overviews(1) == [2, 4]
        with file.open(overview_level=1) as overview:
            assert set(np.unique(overview.read(1))) <= set(np.unique(array))
            assert (overview.read_masks(1) > 0).any()


def test_rioxarray_reads_it(written):
    root, arrays, _ = written
    with rioxarray.open_rasterio(root / "cog/here-1.tif", masked=True) as array:
        assert array.rio.crs.to_epsg() == 32632
        assert (np.isnan(array.values[0]) == ~valid(arrays["label"], LABEL)).all()
    with rioxarray.open_rasterio(root / "cog/here-1.tif") as array:
        assert array.dtype == np.uint8


def test_same_arrays_same_bytes(layout):
    box = layout.grid.geobox(HERE.box(512))
    array = make_tile(layout, HERE)["confidence"]
    assert encode_cog(array, CONFIDENCE, box, INFO) == encode_cog(array.copy(), CONFIDENCE, box, INFO)


def test_own_crs_and_origin(layout):
    wkt = CRS.from_string("+proj=laea +lat_0=43 +lon_0=10 +datum=WGS84 +units=m").to_wkt()
    data = encode_cog(
        make_tile(layout, HERE)["probabilities"], PROBABILITIES, Grid(wkt, 10.0).geobox(Tile(0, 0).box(512)), INFO
    )
    with rasterio.MemoryFile(data) as file, file.open() as dataset:
        assert dataset.crs.to_dict()["proj"] == "laea"
        assert dataset.count == 3


def test_written_to_a_server(s3_uri, layout):  # noqa: F811  (the fixture)
    storage = Storage.open(s3_uri)
    box = layout.grid.geobox(HERE.box(512))
    files = write_cog(storage, path="cog/x.tif", geobox=box, arrays=make_tile(layout, HERE), info=INFO)
    assert hashlib.sha256(storage.get("cog/x.tif")).hexdigest() == files["label"].sha256


def test_cog_info_has_no_side_files(written):
    root, _, files = written
    assert sorted(path.name for path in (root / "cog").iterdir()) == sorted(
        entry.path.split("/")[1] for entry in files.values()
    )
    assert cog_info(str(root / "cog/here-1.tif")).COG
