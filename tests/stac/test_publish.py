"""What a run publishes: valid, readable by others, movable, silent about secrets, and fast for many tiles."""

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import rustac
import shapely
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import ModelInput, ModelOutput
from pystac.extensions.projection import ProjectionExtension
from pystac.validation import validate_dict
from rasterio.shutil import copy as gdal_copy

from eopipe.area.on_grid import Area, GridArea
from eopipe.grid import Grid, Tile
from eopipe.kernelinfo import ArraySpec, ClassInfo, Inputs, KernelInfo, Window
from eopipe.run_folder import OutputFile
from eopipe.stac.publish import publish
from eopipe.stac.publish_input import PublishInfo, SceneRef, TileOutput
from eopipe.storage import Storage
from tests.support.s3 import S3Server, s3, s3_uri  # noqa: F401  (fixtures)

NOW = datetime(2025, 10, 1, tzinfo=UTC)
TIMES = (datetime(2025, 5, 1, 10, tzinfo=UTC), datetime(2025, 9, 30, 10, tzinfo=UTC))
LABEL = ArraySpec(
    "label",
    "uint8",
    255,
    0,
    (
        ClassInfo(1, "water", "#419bdf", ("water", "river")),
        ClassInfo(2, "flooded vegetation", "#7a87c6"),
    ),
    (0, 255),
    long_name="land cover",
)
CONFIDENCE = ArraySpec("confidence", "uint8", 255, 255, long_name="confidence, percent")
KERNEL = KernelInfo(
    name="land-cover",
    version="1",
    inputs=Inputs("optical", ("blue", "green"), 10.0),
    window=Window(256, 128, 64),
    arrays=(LABEL, CONFIDENCE),
    options={"precision": "float32"},
    weights={"dynamicworld_v1.npz": "ab" * 32},
    provenance={"model": "Dynamic World v1", "licence": "Apache-2.0", "source": "a folder"},
)
SECRET = "se=2025&sp=r&sig=TOPSECRET%3D"
PISA = (10.36, 43.68, 10.45, 43.75)


def scene(number: int, href: str | None = None) -> SceneRef:
    return SceneRef(f"S2A_{number}", "sentinel-2-l2a", TIMES[number % 2], href)


def info_for(area: Area, grid: Grid, size: int = 512, **more) -> PublishInfo:
    region = GridArea.project(area, grid)
    return PublishInfo(
        name="pisa",
        description="Land cover of Pisa.",
        area=area,
        region=region,
        tile_size=size,
        kernel=KERNEL,
        arrays=KERNEL.arrays,
        interval=TIMES,
        created=NOW,
        software={"eopipe": "0.1.0", "torch": "2.6.0"},
        **more,
    )


def write_cog(storage: Storage, grid: Grid, tile: Tile, size: int) -> OutputFile:
    """A real COG of two bands: the label is the tile's column, so that places can be told apart."""
    path = f"cog/{tile.name}-abc.tif"
    target = storage.local_path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    plain = target.with_suffix(".plain.tif")
    pixels = np.zeros((2, size, size), np.uint8)
    pixels[0] = 1 + (tile.col % 2)
    pixels[0, :100, :100] = 255
    pixels[1] = 77
    transform = rasterio.Affine(*grid.geobox(tile.box(size)).affine[:6])
    with rasterio.open(plain, "w", "GTiff", size, size, 2, grid.crs, transform, "uint8", nodata=255) as file:
        file.write(pixels)
    gdal_copy(plain, target, driver="COG")
    plain.unlink()
    data = target.read_bytes()
    return OutputFile(path, len(data), hashlib.sha256(data).hexdigest())


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pisa on six tiles of 512, one of which failed."""
    folder = tmp_path_factory.mktemp("out")
    storage = Storage.open(str(folder))
    area, grid = Area.parse(PISA), Grid("EPSG:32632", 10)
    tiles = GridArea.project(area, grid).tiles(512)
    scenes = (
        scene(1, f"https://user:TOPSECRET@example.com/items/a?{SECRET}"),
        scene(2, "https://example.com/items/b"),
        scene(3),
    )
    outputs = [
        TileOutput(tile, "abc", "done", scenes, {"map": write_cog(storage, grid, tile, 512)}, {0: 10, 1: 70, 2: 20})
        for tile in tiles[:-1]
    ]
    picture = OutputFile("quicklook.png", 5, "cd" * 32)
    info = info_for(
        area,
        grid,
        failed={tiles[-1].name: "read.http_429"},
        counts={"done": 5, "failed": 1},
        quicklook=picture,
    )
    assert publish(storage, info, outputs) == 5
    return folder


def documents(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((folder / "stac").rglob("*.json"))]


def test_every_document_is_valid_by_pystacs_core_schemas(published: Path) -> None:
    found = documents(published)
    assert len(found) == 6
    for document in found:
        validate_dict(document, extensions=[])


def test_every_document_is_valid_by_rustac(published: Path, tmp_path: Path) -> None:
    rustac_cli = Path(sys.executable).with_name("rustac")
    for number, document in enumerate(documents(published)):
        document["stac_extensions"] = []  # their schemas are on the net only
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(document))
        subprocess.run([rustac_cli, "validate", path], check=True, capture_output=True)
    document["id"] = 5
    path.write_text(json.dumps(document))
    assert subprocess.run([rustac_cli, "validate", path], check=False, capture_output=True).returncode != 0


def test_pystac_reads_the_collection_and_walks_to_the_items(published: Path) -> None:
    collection = pystac.Collection.from_file(str(published / "stac" / "collection.json"))
    items = list(collection.get_items())
    assert len(items) == 5
    assert collection.extent.spatial.bboxes == [list(PISA)]
    assert collection.extent.temporal.intervals == [[TIMES[0], TIMES[1]]]
    item = items[0]
    assert item.get_collection().id == "pisa"
    asset = item.assets["map"]
    assert Path(asset.get_absolute_href()).is_file()
    data = Path(asset.get_absolute_href()).read_bytes()
    file = FileExtension.ext(asset)
    assert file.size == len(data)
    assert file.checksum == "1220" + hashlib.sha256(data).hexdigest()
    projection = ProjectionExtension.ext(asset)
    with rasterio.open(asset.get_absolute_href()) as source:
        assert projection.code == source.crs.to_string()
        assert projection.shape == list(source.shape)
        assert projection.transform == list(source.transform)[:6]
        assert projection.bbox == list(source.bounds)
        assert [band["nodata"] for band in asset.extra_fields["bands"]] == list(source.nodatavals)


def test_classes_carry_names_colours_prompts_and_counts(published: Path) -> None:
    collection = pystac.Collection.from_file(str(published / "stac" / "collection.json"))
    band = next(collection.get_items()).assets["map"].extra_fields["bands"][0]
    classes = {entry["value"]: entry for entry in band["classification:classes"]}
    assert list(classes) == [1, 2, 0, 255]
    assert classes[1] == {
        "value": 1,
        "name": "water",
        "title": "water",
        "description": "prompts: water, river",
        "nodata": False,
        "color_hint": "419BDF",
        "count": 70,
    }
    assert classes[2]["name"] == "flooded_vegetation"
    assert classes[0]["nodata"]
    assert classes[255]["nodata"]
    assert band["statistics"] == {"valid_percent": 90.0}
    template = collection.item_assets["map"].properties["bands"][0]["classification:classes"]
    assert [entry["value"] for entry in template] == [1, 2, 0, 255]
    assert "count" not in template[0]
    assert ClassificationExtension.has_extension(next(collection.get_items()))


def test_the_collection_says_what_failed_and_the_tile_has_no_item(published: Path) -> None:
    collection = json.loads((published / "stac" / "collection.json").read_text())
    (name,) = collection["eopipe:failed"]
    assert collection["eopipe:failed_tiles"] == 1
    assert collection["eopipe:tiles"] == 6
    assert collection["eopipe:counts"] == {"done": 5, "failed": 1}
    assert "1 of 6 tiles failed" in collection["description"]
    assert not list((published / "stac").rglob(f"{name}.json"))


def test_every_scene_is_linked_unsigned(published: Path) -> None:
    item = documents(published)[1]
    hrefs = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert hrefs == ["https://example.com/items/a", "https://example.com/items/b"]
    assert item["properties"]["eopipe:scenes"] == ["S2A_1", "S2A_2", "S2A_3"]
    for path in (published / "stac").rglob("*"):
        if path.is_file():
            assert b"TOPSECRET" not in path.read_bytes(), path


def test_the_model_asset_reads_as_mlm(published: Path) -> None:
    collection = json.loads((published / "stac" / "collection.json").read_text())
    model = collection["assets"]["model"]
    assert model["roles"] == ["mlm:model"]
    assert model["mlm:artifact_type"] == "npz"
    assert ModelInput(model["mlm:input"][0]).input.shape == [-1, 1, 2, 256, 256]
    outputs = [ModelOutput(found) for found in model["mlm:output"]]
    assert [found.name for found in outputs] == ["label", "confidence"]
    assert (published / "stac" / model["href"]).resolve() == published / "run.json"


@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")  # odc-geo's, not ours
def test_odc_stac_loads_the_items(published: Path) -> None:
    collection = pystac.Collection.from_file(str(published / "stac" / "collection.json"))
    items = list(collection.get_items())
    cube = odc.stac.load(items, chunks=None, groupby="id", bands=["map.1", "map.2"])
    assert cube.sizes["time"] == 5
    assert cube["map.1"].dtype == np.uint8
    assert cube["map.1"].attrs["nodata"] == 255
    assert cube.odc.crs.epsg == 32632
    merged = odc.stac.load(items, chunks=None, groupby="solar_day", bands=["map.1", "map.2"])
    assert merged.sizes["time"] == 1
    assert set(np.unique(merged["map.1"])) == {1, 2, 255}
    assert set(np.unique(merged["map.2"])) == {77, 255}


def test_the_table_holds_the_items_with_hrefs_from_its_own_place(published: Path) -> None:
    table = rustac.read_sync(str(published / "stac" / "items.parquet"))
    singles = {document["id"]: document for document in documents(published) if document["type"] == "Feature"}
    assert {found["id"] for found in table["features"]} == set(singles)
    for found in table["features"]:
        single = singles[found["id"]]
        assert (published / "stac" / found["assets"]["map"]["href"]).resolve().is_file()
        assert found["properties"]["eopipe:inputs"] == "abc"
        assert found["properties"]["start_datetime"] == single["properties"]["start_datetime"]
        assert shapely.geometry.shape(found["geometry"]).equals(shapely.geometry.shape(single["geometry"]))


def test_a_moved_folder_still_reads(published: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(published, tmp_path / "elsewhere")
    assert str(published).encode() not in b"".join(p.read_bytes() for p in (moved / "stac").rglob("*.json"))
    collection = pystac.Collection.from_file(str(moved / "stac" / "collection.json"))
    for item in collection.get_items():
        assert Path(item.assets["map"].get_absolute_href()).is_relative_to(moved)
    assert Path(collection.assets["quicklook"].get_absolute_href()) == moved / "quicklook.png"


def test_footprints_are_the_tiles_parts_of_the_area(published: Path) -> None:
    area = shapely.box(*PISA)
    items = [document for document in documents(published) if document["type"] == "Feature"]
    shapes = [shapely.geometry.shape(item["geometry"]) for item in items]
    assert all(shape.is_valid for shape in shapes)
    assert all(shapely.difference(shape, area.buffer(1e-3)).is_empty for shape in shapes)
    whole = shapely.union_all(shapes)
    assert sum(shape.area for shape in shapes) == pytest.approx(whole.area, rel=1e-3)


def test_publishing_again_removes_what_is_no_longer_there(tmp_path: Path) -> None:
    storage = Storage.open(str(tmp_path))
    info = info_for(Area.parse(PISA), Grid("EPSG:32632", 10))
    tiles = info.region.tiles(512)
    publish(storage, info, [TileOutput(tile, "a", "done") for tile in tiles])
    publish(storage, info, [TileOutput(tile, "a", "done") for tile in tiles[:2]])
    assert len(list((tmp_path / "stac" / "items").rglob("*.json"))) == 2
    publish(storage, info, [])
    assert [path.name for path in (tmp_path / "stac").rglob("*.*")] == ["collection.json"]
    validate_dict(json.loads((tmp_path / "stac" / "collection.json").read_text()), extensions=[])


def test_publishing_to_a_bucket_writes_the_same_documents(s3: S3Server, s3_uri: str, tmp_path: Path) -> None:  # noqa: F811
    info = info_for(Area.parse(PISA), Grid("EPSG:32632", 10))
    outputs = [
        TileOutput(tile, "a", "done", (scene(1),), {"map": OutputFile(f"cog/{tile.name}.tif", 1, "ab" * 32)})
        for tile in info.region.tiles(512)
    ]
    there, here = Storage.open(s3_uri), Storage.open(str(tmp_path))
    publish(there, info, outputs)
    publish(here, info, outputs)
    paths = sorted(here.list("stac"))
    assert sorted(there.list("stac")) == paths
    for path in paths:
        assert there.get(path) == here.get(path) or path.endswith(".parquet")


def test_without_cogs_an_item_points_to_the_mosaic(tmp_path: Path) -> None:
    storage = Storage.open(str(tmp_path))
    info = info_for(Area.parse(PISA), Grid("EPSG:32632", 10), 4096)
    tiles = info.region.tiles(4096)
    publish(storage, info, [TileOutput(tile, "a", "empty") for tile in tiles])
    document = json.loads(next((tmp_path / "stac" / "items").rglob("*.json")).read_text())
    validate_dict(document, extensions=[])
    assert document["assets"]["mosaic"]["href"] == "../../../mosaic.zarr"
    assert document["properties"]["start_datetime"] == "2025-05-01T10:00:00Z"


@pytest.mark.parametrize(
    ("bbox", "crs", "resolution"),
    [
        ((178.0, -18.0, -179.0, -16.0), "EPSG:32760", 80.0),
        ((-180.0, 60.0, 180.0, 90.0), "EPSG:3413", 2000.0),
        ((-180.0, -90.0, 180.0, -60.0), "EPSG:3031", 2000.0),
        ((-180.0, -90.0, 180.0, 90.0), "EPSG:8857", 8000.0),
        ((-180.0, -90.0, 180.0, 90.0), "EPSG:4326", 0.1),
        ((170.0, 60.0, -170.0, 89.0), "EPSG:3413", 1500.0),
    ],
)
def test_footprints_hold_at_the_antimeridian_and_the_poles(tmp_path: Path, bbox, crs, resolution) -> None:
    storage = Storage.open(str(tmp_path))
    area = Area.parse(list(bbox))
    info = info_for(area, Grid(crs, resolution), 512)
    outputs = [TileOutput(tile, "a", "done", (scene(1), scene(2))) for tile in info.region.tiles(512)]
    publish(storage, info, outputs)
    shapes = []
    for path in (tmp_path / "stac" / "items").rglob("*.json"):
        document = json.loads(path.read_text())
        validate_dict(document, extensions=[])
        shapes.append(shapely.geometry.shape(document["geometry"]))
        west, south, east, north = shapes[-1].bounds
        assert west >= -180
        assert east <= 180
        assert south >= -90
        assert north <= 90
    assert all(shape.is_valid for shape in shapes)
    # together they are the area: none is inside out, none lies on the wrong side of the world
    assert sum(Area(shape).km2 for shape in shapes) == pytest.approx(area.km2, rel=0.01)
    outside = shapely.difference(shapely.union_all(shapes), area.geometry)
    assert outside.area < 0.02 * area.geometry.area


def test_above_a_thousand_items_the_collection_points_to_the_table(tmp_path: Path) -> None:
    storage = Storage.open(str(tmp_path))
    info = info_for(Area.parse([8.0, 43.0, 9.8, 44.8]), Grid("EPSG:32632", 10), 512)
    tiles = info.region.tiles(512)
    assert len(tiles) > 1000
    publish(storage, info, [TileOutput(tile, "a", "done", (scene(1),)) for tile in tiles])
    collection = json.loads((tmp_path / "stac" / "collection.json").read_text())
    assert [link["rel"] for link in collection["links"]] == ["root", "items"]
    assert collection["assets"]["items"]["roles"] == ["collection-mirror"]
    assert len(list((tmp_path / "stac" / "items").rglob("*.json"))) == len(tiles)
