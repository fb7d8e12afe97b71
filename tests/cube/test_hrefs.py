"""Addresses as people write them: read from disk, HTTP and S3, and one address for one file."""

import json
import shutil
import urllib.request
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import rasterio.shutil

import eopipe
from eopipe.cube.asset_file import AssetFile, ReadStats
from eopipe.cube.gdal_settings import gdal_path, worker_settings
from eopipe.cube.item_scenes import resolve_scene
from eopipe.cube.scenes import AssetRef
from eopipe.errors import TileFault
from eopipe.grid import PixelBox
from eopipe.hrefs import canonical_href
from eopipe.snapshot.snapshot import resolve_href
from tests.cube.helpers import QUICK, write_tif
from tests.support import s3
from tests.support.http_files import serve

NAMES = ("plain.tif",
         "with space.tif", "réd.tif", "a+b.tif", "a#1.tif", "100%.tif", "a%20b.tif", "q&a=1.tif", "[1].tif",
         "日本/ü (1).tif")  # fmt: skip
VALUES = np.arange(100 * 120, dtype="uint16").reshape(100, 120)


@pytest.fixture(autouse=True)
def worker(monkeypatch):
    for name, value in worker_settings(64 * 2**20).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "20")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One file under each name, each with other values."""
    root = tmp_path_factory.mktemp("files")
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(exist_ok=True)
        write_tif(root / name, VALUES + number, blockxsize=64, blockysize=64)
    return root


def first_pixel(href, **more):
    """The file's first pixel: the number of its name in NAMES."""
    ref = AssetRef(href, nodata=None, **more)
    file = AssetFile(ref, sign=None, requester_pays=False, retry=QUICK, stats=ReadStats())
    try:
        return int(file.read(ref, PixelBox(0, 0, 1, 1), -1)[0, 0])
    finally:
        file.close()


@pytest.mark.parametrize(("number", "name"), list(enumerate(NAMES)), ids=NAMES)
def test_a_local_file_by_path_and_by_uri(folder, number, name):
    path = str(folder / name)
    forms = [path, Path(path).as_uri(), f"file:{quote(path)}", f"file://localhost{quote(path)}", f"file://{path}"]
    assert [first_pixel(form) for form in forms] == [number] * 5
    assert {canonical_href(form) for form in forms} == {path}


def test_an_encoded_path_means_the_decoded_file_where_only_that_one_exists(folder):
    assert first_pixel(str(folder / "with%20space.tif")) == NAMES.index("with space.tif")
    assert first_pixel(str(folder / "a%20b.tif")) == NAMES.index("a%20b.tif")
    assert canonical_href(str(folder / "r%C3%A9d.tif")) == str(folder / "réd.tif")


@pytest.mark.parametrize(("number", "name"), list(enumerate(NAMES)), ids=NAMES)
def test_a_file_on_a_server_written_raw_and_encoded(folder, number, name):
    with serve(folder) as server:
        encoded = f"{server.url}/{quote(name)}"
        raw = f"{server.url}/{name}"
        if "%" not in name or name == "100%.tif":  # a%20b.tif in an URL is the escape of a space
            assert canonical_href(raw).lower() == encoded.lower() or name in {
                "a+b.tif",
                "q&a=1.tif",
                "[1].tif",
                NAMES[-1],
            }
            assert first_pixel(raw) == number
        assert first_pixel(encoded) == number


@pytest.mark.parametrize(("number", "name"), list(enumerate(NAMES)), ids=NAMES)
def test_an_object_in_a_bucket_by_its_key(folder, number, name, bucket):
    assert first_pixel(f"s3://{bucket}/{name}") == number


def test_an_encoded_key_means_the_decoded_object_where_only_that_one_exists(bucket):
    item = {"id": "x", "properties": {"datetime": "2020-01-01T00:00:00Z"}}
    item["assets"] = {"red": {"href": f"s3://{bucket}/with%20space.tif"}}
    ref = resolve_scene(item, ("red",)).bands["red"]
    assert ref.alternates == ((f"s3://{bucket}/with space.tif", False),)
    assert first_pixel(ref.href, alternates=ref.alternates) == NAMES.index("with space.tif")


@pytest.fixture(scope="module")
def objects(folder):
    """A bucket with all of the files."""
    server = s3.server()
    bucket = server.make_bucket()
    for name in NAMES:
        url, kind = f"{server.endpoint}/{bucket}/{quote(name)}", {"Content-Type": "image/tiff"}
        request = urllib.request.Request(url, (folder / name).read_bytes(), kind, method="PUT")
        with urllib.request.urlopen(request, timeout=20):
            pass
    return bucket


@pytest.fixture
def bucket(objects, monkeypatch):
    server = s3.server()
    host = server.endpoint.removeprefix("http://")
    settings = {"AWS_S3_ENDPOINT": host, "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE", **server.env}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return objects


@pytest.mark.parametrize(
    ("href", "canonical"),
    [
        ("https://HOST.org/a b.tif", "https://host.org/a%20b.tif"),
        ("https://host.org/a%20b.tif", "https://host.org/a%20b.tif"),
        ("https://host.org/r%c3%a9d.tif", "https://host.org/r%C3%A9d.tif"),
        ("https://host.org/réd.tif", "https://host.org/r%C3%A9d.tif"),
        ("https://host.org/a#1.tif", "https://host.org/a%231.tif"),
        ("https://host.org/a.tif#page=1", "https://host.org/a.tif"),
        ("https://host.org/a%.tif?x=1%2F2&y=a b", "https://host.org/a%25.tif?x=1%2F2&y=a%20b"),
        ("https://user:Pass@Host.org/a.tif", "https://user:Pass@host.org/a.tif"),
        ("https://bücher.example/a.tif", "https://xn--bcher-kva.example/a.tif"),
        ("https://host.org/a.tif?sig=aB%2fc%3D&se=2030-01-01T00%3A00%3A00Z",) * 2,
        ("s3://bucket/a b#é%20.tif",) * 2,
        ("gs://bucket/a?b.tif",) * 2,
        ("/data/none such%20.tif",) * 2,
        ("file:///d/e%20f.tif", "/d/e f.tif"),
        ("/vsizip//d/e.zip/f.tif",) * 2,
    ],
)
def test_one_spelling(href, canonical):
    assert canonical_href(href) == canonical
    assert canonical_href(canonical) == canonical


def test_gdals_names_keep_a_key_whole_and_a_file_of_another_machine_is_refused():
    assert gdal_path("s3://bucket/a b#1?.tif") == "/vsis3/bucket/a b#1?.tif"
    assert gdal_path("https://host.org/é.tif") == "/vsicurl/https://host.org/%C3%A9.tif"
    with pytest.raises(TileFault, match="names a file of another machine; use file:///path"):
        gdal_path("file://nas/data/a.tif")


@pytest.mark.parametrize(
    ("href", "base", "absolute"),
    [
        ("./a b.tif", "/data/my cat/item.json", "/data/my cat/a b.tif"),
        ("a#1.tif", "/data/item.json", "/data/a#1.tif"),
        ("../é.tif", "https://host.org/x/y/item.json", "https://host.org/x/é.tif"),
        ("a%20b.tif", "file:///data/my%20cat/item.json", "file:///data/my%20cat/a%20b.tif"),
        ("file:/data/a.tif", "/cat/item.json", "file:/data/a.tif"),
        ("get?url=https://host.org/a.tif", "https://host.org/x/item.json", "https://host.org/x/get?url=https://host.org/a.tif"),
        ("a b.tif", "s3://bucket/x/item.json", "s3://bucket/x/a b.tif"),
    ],
)  # fmt: skip
def test_relative_hrefs(href, base, absolute):
    assert resolve_href(href, base) == absolute


def test_one_file_written_in_three_ways_is_opened_once(folder):
    path = folder / "with space.tif"
    item = {"id": "x", "properties": {"datetime": "2020-01-01T00:00:00Z"}}
    forms = {"red": str(path), "green": path.as_uri(), "blue": str(path).replace(" ", "%20")}
    item["assets"] = {band: {"href": form} for band, form in forms.items()}
    assert {ref.href for ref in resolve_scene(item, tuple(forms)).bands.values()} == {str(path)}


def test_a_catalogue_in_a_folder_with_a_space_and_relative_encoded_hrefs(folder, tmp_path):
    """The whole way: search, snapshot, cube."""
    home = tmp_path / "my catalogue é"
    home.mkdir()
    shutil.copy(folder / "with space.tif", home / "b 04.tif")
    ring = [[10.25, 43.79], [10.256, 43.79], [10.256, 43.8], [10.25, 43.8], [10.25, 43.79]]
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "x", "collection": "c", "links": [],
        "bbox": [10.24, 43.78, 10.27, 43.81], "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": "2020-01-01T00:00:00Z", "proj:epsg": 32632, "proj:shape": [100, 120],
                       "proj:transform": [10, 0, 600000, 0, -10, 4850000]},
        "assets": {"red": {"href": "./b%2004.tif", "raster:bands": [{"scale": 0.0001, "offset": 0, "nodata": 0}]}},
    }  # fmt: skip
    (home / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    area = [10.246, 43.794, 10.25, 43.797]
    snapshot, _ = eopipe.search(catalog=str(home / "items.json"), area=area)
    cube = eopipe.open_cube(snapshot, area=area, bands=["red"], resolution=10)
    assert np.isfinite(cube.dataset.red.compute(scheduler="synchronous").values).any()


JP2 = ("content", "B04.tif", "B04.jp2", "B04.JP2", "$value")


@pytest.mark.parametrize("name", JP2)
def test_a_jpeg_2000_is_known_by_its_first_bytes(tmp_path, name):
    """Whatever its name says; locally and from a server that states no type."""
    source = write_tif(tmp_path / "source.tif", VALUES)
    rasterio.shutil.copy(source.href, str(tmp_path / "x.jp2"), driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    (tmp_path / "x.jp2").replace(tmp_path / name)
    with serve(tmp_path) as server:
        for href in (str(tmp_path / name), f"{server.url}/{name}"):
            ref = AssetRef(href)
            file = AssetFile(ref, sign=None, requester_pays=False, retry=QUICK, stats=ReadStats())
            assert (file.read(ref, PixelBox(0, 0, 100, 120), -1) == VALUES).all()
            file.close()


@pytest.mark.parametrize("name", ["a.jp2", "content"])
def test_a_geotiff_is_known_by_its_first_bytes_too(tmp_path, name):
    source = write_tif(tmp_path / "a.tif", VALUES)
    Path(source.href).replace(tmp_path / name)
    assert first_pixel(str(tmp_path / name)) == 0


def test_no_other_format_is_opened_by_its_content(tmp_path):
    """A VRT could name any file of the worker."""
    source = write_tif(tmp_path / "a.tif", VALUES)
    with rasterio.open(source.href) as file:
        rasterio.shutil.copy(file, str(tmp_path / "b.vrt"), driver="VRT")
    (tmp_path / "b.vrt").replace(tmp_path / "b.tif")
    with pytest.raises(TileFault, match=r"read\.corrupt"):
        first_pixel(str(tmp_path / "b.tif"))
