"""Objects of a run: each has one tile, what was cut is whole again, and no tile, kill or resume can be seen in it."""

import hashlib
import json
import os
import subprocess
import sys

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS, Geod, Transformer
from pystac.validation import validate_dict
from skimage.measure import label

from eopipe.area.on_grid import GridArea
from eopipe.engine.display import summary_lines
from eopipe.engine.finish.validate import validate_run
from eopipe.engine.work.tile_objects import TileObjects, owned
from eopipe.errors import DamageError, SpecError
from eopipe.grid import Grid, PixelBox, Tile
from eopipe.kernelinfo import ObjectColumn, ObjectSpec
from eopipe.kernels.objects import FoundObjects
from eopipe.mosaic.objects import ObjectLayout, decode, places_of
from eopipe.mosaic.objects_merge import ObjectsFile, merge
from eopipe.mosaic.polygons import runs_of
from eopipe.storage import Storage
from tests.support.objects import COLUMNS, STRIDE, discs, objects_of, pixels, regions, register, runs
from tests.support.paths import ROOT, needs_shared
from tests.support.runs import mosaic, pisa, records, run

GRID = Grid("EPSG:32632", 10.0)
ORIGIN = (-1024, 2048)
"""Of the maps below on the lattice: a corner of tiles of every size."""

SPEC = ObjectSpec(COLUMNS, "touching")


def blobs(shape=(520, 700), seed=0, share=0.35):
    """A map of shapes of all sizes, and its values."""
    values = np.random.default_rng(seed).normal(size=(shape[0] // 4 + 1, shape[1] // 4 + 1))
    values = values.repeat(4, axis=0).repeat(4, axis=1)[: shape[0], : shape[1]]
    values = values + np.roll(values, 3, axis=0) + np.roll(values, 5, axis=1)
    return values > np.quantile(values, 1 - share), (values * 1000).astype(np.float32)


def windows(mask, values, stride=STRIDE):
    """All windows that meet the map: box and objects."""
    whole = PixelBox(*ORIGIN, ORIGIN[0] + mask.shape[0], ORIGIN[1] + mask.shape[1])
    for window in whole.blocks(stride):
        part = window & whole
        at = part.slices(whole)
        yield window, regions(mask[at], values[at], part)


def written(storage, region, size, all_windows, spec=SPEC):
    """Every tile's file of a run whose kernel hands over the windows that touch the tile."""
    parts, layout = [], ObjectLayout(spec, GRID)
    for tile in region.tiles(size):
        box = tile.box(size)
        inside = region.mask(box)
        keeper = TileObjects(layout, region, box, None if inside.all() else inside)
        for window, objects in all_windows:
            if not (window & box).empty:
                keeper.add(objects)
        files = keeper.write(storage, tile, "ab")
        parts += [ObjectsFile(tile.name, file.path, file.sha256) for file in files.values()]
    return parts, layout


def merged(storage, region, size, all_windows, spec=SPEC):
    parts, layout = written(storage, region, size, all_windows, spec)
    done = merge(storage, "objects.parquet", parts, layout, lambda bounds: {})
    table = pq.read_table(storage.local_path("objects.parquet"))
    assert done.count == len(table)
    return table


def region_of(*corners):
    """An area with corners in pixels of the map: row, column."""
    ring = [((ORIGIN[1] + col) * 10.0, -(ORIGIN[0] + row) * 10.0) for row, col in corners]
    return GridArea(GRID, shapely.Polygon(ring))


WHOLE = region_of((0, 0), (0, 700), (520, 700), (520, 0))
CUT = region_of((-3, 80), (260, 690), (470, 390), (280, 330), (515, 30))


def ground(shape):
    """Square metres on the ellipsoid, of the polygon itself."""
    turned = Transformer.from_crs(GRID.crs, 4326, always_xy=True)
    lonlat = shapely.transform(shapely.segmentize(shape, 100), turned.transform, interleaved=False)
    return abs(Geod(ellps="WGS84").geometry_area_perimeter(shapely.normalize(lonlat))[0])


def by_id(table):
    return {row["id"]: row for row in table.drop_columns(["bbox"]).to_pylist()}


@pytest.mark.parametrize("region", [WHOLE, CUT], ids=["whole", "cut"])
def test_an_object_that_touches_the_area_has_one_owner_whatever_the_tiles(region, tmp_path):
    mask, values = blobs()
    handed = list(windows(mask, values))
    everything = FoundObjects.concatenate([objects for _, objects in handed])
    box = PixelBox(*ORIGIN, ORIGIN[0] + 520, ORIGIN[1] + 700)
    inside = region.mask(box)
    touching = {}
    for number in range(len(everything)):
        one = everything.runs[everything.offsets[number] : everything.offsets[number + 1]]
        places = [(r, c) for r, a, b in one.tolist() for c in range(a, b) if inside[r - box.row0, c - box.col0]]
        if places:
            touching["r{}c{}".format(*places[0])] = sum(b - a for _, a, b in one.tolist())
    assert 50 < len(touching) <= len(everything)
    assert (len(touching) < len(everything)) == (region is CUT)
    for size in (256, 512, 1024):
        storage = Storage.open(str(tmp_path / str(size)))
        parts, layout = written(storage, region, size, handed)
        rows = [row for part in parts for row in decode(storage.get(part.path), layout).to_pylist()]
        assert {row["id"]: row["pixels"] for row in rows} == touching
        assert len(rows) == len(touching), "one owner"
        for part in parts:
            places = places_of(decode(storage.get(part.path), layout).column("id").to_pylist())[:, :2]
            tile = Tile.parse(part.tile).box(size)
            assert ((places >= (tile.row0, tile.col0)) & (places < (tile.row1, tile.col1))).all()
            assert sorted(places.tolist()) == places.tolist(), "in the order of their places"


def test_what_touches_across_seams_is_one_object(tmp_path):
    """As scikit-image labels the map that was never cut."""
    mask, values = blobs()
    table = merged(Storage.open(str(tmp_path)), WHOLE, 256, list(windows(mask, values)))
    shapes = shapely.from_wkb(table.column("geometry").to_numpy())
    assert shapely.is_valid(shapes).all()
    got, ends = runs_of(shapes, GRID)
    painted = np.zeros(mask.shape, int)
    for number in range(len(table)):
        for row, start, stop in (got[ends[number] : ends[number + 1]] - [ORIGIN[0], ORIGIN[1], ORIGIN[1]]).tolist():
            assert not painted[row, start:stop].any()
            painted[row, start:stop] = number + 1
    np.testing.assert_array_equal(painted > 0, mask)
    labels = label(mask, connectivity=2)
    pairs = np.unique(np.stack([painted[mask], labels[mask]]), axis=1)
    assert pairs.shape[1] == len(table) == labels.max() > 100, "each is one region, and each region is one"
    greatest = np.full(len(table) + 1, -np.inf)
    np.maximum.at(greatest, painted[mask], values[mask])
    numbers, firsts, counts = np.unique(painted, return_index=True, return_counts=True)
    rows = table.to_pylist()
    for number, first, count in zip(numbers[1:].tolist(), firsts[1:].tolist(), counts[1:].tolist(), strict=True):
        entry, (row, col) = rows[number - 1], np.array(divmod(first, mask.shape[1])) + ORIGIN
        assert (entry["id"], entry["pixels"], entry["score"]) == (f"r{row}c{col}", count, greatest[number])
        if number % 20 == 0:
            assert entry["area_m2"] == pytest.approx(ground(shapes[number - 1]), rel=1e-5)


def test_a_joined_object_has_the_column_of_its_largest_part(tmp_path):
    small, large = runs(np.ones((2, 2), bool), -10, 20), runs(np.ones((3, 9), bool), -8, 22)
    pair = objects_of([small, large], [True, True], score=np.float32([9, 1]), now=np.uint8([2, 77]))
    alone = objects_of([small - [9, 9, 9]], [False], score=np.float32([4]), now=np.uint8([1]))
    region = GridArea(GRID, shapely.box(0, 0, 400, 300))
    table = merged(
        Storage.open(str(tmp_path)), region, 512, [(PixelBox(-512, 0, 0, 512), one) for one in (pair, alone)]
    )
    first, second = table.to_pylist()
    assert (first["id"], first["pixels"], first["score"], first["now"]) == ("r-19c11", 4, 4.0, "darker")
    assert (second["id"], second["pixels"], second["score"], second["now"]) == ("r-10c20", 31, 9.0, None)


@pytest.mark.parametrize("region", [WHOLE, CUT], ids=["whole", "cut"])
def test_tiles_cannot_be_seen_in_the_whole_file(region, tmp_path):
    handed = list(windows(*blobs(seed=4)))
    tables = [merged(Storage.open(str(tmp_path / str(size))), region, size, handed) for size in (256, 1024)]
    assert by_id(tables[0]) == by_id(tables[1])
    again = merged(Storage.open(str(tmp_path / "again")), region, 256, handed)
    assert again.equals(tables[0])
    files = [tmp_path / name / "objects.parquet" for name in ("256", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_of_doubles_the_better_stays(tmp_path):
    """By dense masks, one after the other; objects that reach no seam are left alone."""
    generator = np.random.default_rng(7)
    masks = discs(generator, 150, (230, 200))
    masks.append(masks[0])  # one of the same pixels and score
    scores = np.append(generator.integers(0, 40, len(masks) - 1), [0]).astype(np.float32)
    scores[-1] = scores[0]
    seams = generator.random(len(masks)) < 0.8
    seams[[0, -1]] = True
    spec = ObjectSpec((ObjectColumn("score", "float32"),), "doubles", double=0.6)
    places = [tuple(np.argwhere(mask)[0]) for mask in masks]
    keys = [(-scores[k], places[k], runs(masks[k]).tolist()) for k in range(len(masks))]
    survivors, dropped = [], 0
    for k in sorted(np.flatnonzero(seams), key=lambda k: keys[k]):
        if all((masks[k] & masks[j]).sum() <= 0.6 * (masks[k] | masks[j]).sum() for j in survivors):
            survivors.append(k)
        else:
            dropped += 1
    assert dropped > 12
    expected = sorted((places[k], scores[k], masks[k].sum()) for k in [*survivors, *np.flatnonzero(~seams)])
    parts = [runs(mask, *ORIGIN) for mask in masks]
    handed = [(PixelBox(*ORIGIN, ORIGIN[0] + 230, ORIGIN[1] + 200), objects_of(parts, seams, score=scores))]
    region = region_of((0, 0), (0, 200), (230, 200), (230, 0))
    tables = [merged(Storage.open(str(tmp_path / str(size))), region, size, handed, spec) for size in (64, 512)]
    assert by_id(tables[0]) == by_id(tables[1])
    rows = tables[0].to_pylist()
    got = sorted((tuple(places_of([row["id"]])[0, :2] - ORIGIN), row["score"], row["pixels"]) for row in rows)
    assert got == expected
    assert len({row["id"] for row in rows}) == len(rows), "several of one place have ids of their own"


def test_no_file_for_a_tile_without_an_object(tmp_path):
    storage = Storage.open(str(tmp_path))
    keeper = TileObjects(ObjectLayout(SPEC, GRID), WHOLE, PixelBox(-1024, 2048, -512, 2560), None)
    keeper.add(
        objects_of([runs(np.ones((2, 2), bool), -300, 2100)], [False], score=np.float32([1]), now=np.uint8([1]))
    )
    assert keeper.write(storage, Tile(-2, 4), "ab") == {}
    assert list(storage.list()) == []


def test_objects_without_a_declared_column_are_refused():
    keeper = TileObjects(ObjectLayout(SPEC, GRID), WHOLE, PixelBox(-1024, 2048, -512, 2560), None)
    with pytest.raises(ValueError, match="declared are"):
        keeper.add(objects_of([runs(np.ones((2, 2), bool), *ORIGIN)], [False], score=np.float32([1])))


def test_an_object_outside_the_area_has_no_owner():
    outside = objects_of([runs(np.ones((4, 4), bool), ORIGIN[0] - 3, ORIGIN[1] + 10)], [False])
    flags, places = owned(outside, PixelBox(-1536, 2048, -1024, 2560), WHOLE, np.zeros((512, 512), bool))
    assert not flags.any()
    flags, places = owned(outside, PixelBox(-1024, 2048, -512, 2560), WHOLE, None)
    assert places.tolist() == [[ORIGIN[0], ORIGIN[1] + 10]], "its first pixel that the area holds"


AREA = [10.38, 43.69, 10.425, 43.735]
DATES = {"before": "2015", "after": "2018"}


def spec(folder, **changes):
    document = pisa(folder, area=AREA, kernel={"name": "blobs", **changes.pop("kernel", {})}, **changes)
    document["source"] |= {"epochs": DATES}
    del document["source"]["datetime"]
    return document


@pytest.fixture(scope="module")
def known():
    register()


@pytest.fixture(scope="module")
def small(known, threads, tmp_path_factory):
    """A run of real scenes with tiles of 512."""
    folder = tmp_path_factory.mktemp("objects") / "out"
    summary = run(spec(folder))
    assert summary["exit_status"] == 0, summary
    return folder, summary


@needs_shared
def test_a_run_s_objects_are_its_map_s(small):
    """Drawn on the area's pixels they are what the map shows; the CRS, dates and names are there."""
    folder, summary = small
    table = geopandas.read_parquet(folder / "objects.parquet")
    assert summary["objects"] == len(table) > 100
    assert any(f"found {len(table):,} objects" in str(line) for line in summary_lines(summary))
    assert table.crs == CRS("EPSG:32632")
    assert list(table.columns) == [
        "id", "geometry", "pixels", "area_m2", "score", "now",
        "date_before_start", "date_before_end", "date_after_start", "date_after_end", "seam",
    ]  # fmt: skip
    assert table.id.is_unique
    assert table.geometry.is_valid.all()
    assert set(table.now) == {"darker", "brighter"}
    for end in ("start", "end"):
        assert {f"{day:%Y-%m}" for day in table[f"date_before_{end}"]} == {"2015-07"}
        assert {f"{day:%Y-%m}" for day in table[f"date_after_{end}"]} == {"2018-02"}
    grid = Grid("EPSG:32632", 10.0)
    shown = mosaic(folder)
    marked = np.zeros(shown.label.shape, int)
    for shape in table.geometry:
        for row, col in pixels(shape, grid):
            y, x = row + round(float(shown.y[0]) / 10 + 0.5), col - round(float(shown.x[0]) / 10 - 0.5)
            if 0 <= y < marked.shape[0] and 0 <= x < marked.shape[1]:
                marked[y, x] += 1
    labelled = (shown.label.values == 1) | (shown.label.values == 2)
    np.testing.assert_array_equal(marked[labelled], (shown.label.values == 2)[labelled])
    near = geopandas.read_parquet(folder / "objects.parquet", bbox=tuple(table.geometry[5].bounds))
    assert 0 < len(near) < len(table)


@needs_shared
def test_a_run_says_where_its_objects_are(small):
    folder, summary = small
    assert validate_run(str(folder)) == []
    collection = json.loads((folder / "stac/collection.json").read_text())
    validate_dict(collection, extensions=[])
    asset = collection["assets"]["objects"]
    assert asset["eopipe:objects"] == summary["objects"]
    assert asset["type"] == "application/vnd.apache.parquet"
    assert asset["file:checksum"] == "1220" + hashlib.sha256((folder / "objects.parquet").read_bytes()).hexdigest()
    written = {path.name.split(".")[0] for path in (folder / "objects").iterdir()}
    assert {tile for tile, record in records(folder).items() if record["files"]} == written
    for path in (folder / "stac/items").glob("*/*.json"):
        assets = json.loads(path.read_text())["assets"]
        assert set(assets) == ({"mosaic", "objects"} if path.stem in written else {"mosaic"})


@needs_shared
def test_no_tile_size_is_seen_in_a_run_s_objects(small, tmp_path):
    out = tmp_path / "out"
    assert run(spec(out, grid__tile=1024))["exit_status"] == 0
    tables = [pq.read_table(folder / "objects.parquet") for folder in (small[0], out)]
    assert by_id(tables[0]) == by_id(tables[1])


@needs_shared
def test_validate_finds_what_was_changed_or_lost(small):
    out = small[0]
    before = {path: path.read_bytes() for path in [out / "objects.parquet", *(out / "objects").iterdir()]}
    first, second = sorted((out / "objects").iterdir())[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1] + b"x")
    (out / "objects.parquet").write_bytes(b"PAR1")
    report = "\n".join(validate_run(str(out)))
    assert f"its objects objects/{first.name} is missing" in report
    assert f"its objects objects/{second.name} was changed" in report
    assert "objects.parquet was changed; run again" in report
    with pytest.raises(DamageError, match="delete its record and run again"):
        run(spec(out))
    for name in (first.name, second.name):
        [record] = (out / "ledger").glob(f"r*/{name.removesuffix('.parquet')}.json")
        record.unlink()
    assert "not made of the objects" in " ".join(validate_run(str(out)))
    assert run(spec(out))["exit_status"] == 0
    assert validate_run(str(out)) == []
    assert {path: path.read_bytes() for path in before} == before


KILLED = """
import os
from distributed import Client, LocalCluster
from tests.support.objects import register
from eopipe.cli import main
from eopipe.engine.output.ledger import Ledger
register()
create = Ledger.create
left = [1]
def killed(self, record):
    left[0] -= "objects" in record.files
    if left[0] < 0:
        os._exit(9)
    return create(self, record)
Ledger.create = killed
client = Client(LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"))
main()
"""
"""The command line, killed when a tile has written its objects and not yet its record."""


@needs_shared
@pytest.mark.slow
def test_killed_between_objects_and_record(small, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "spec.yaml").write_text(json.dumps(spec(out)))
    command = [sys.executable, "-c", KILLED, "run", str(tmp_path / "spec.yaml"), "--json"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 9, done.stderr
    assert len(list((out / "objects").iterdir())) == 2
    assert sum("objects" in record["files"] for record in records(out).values()) == 1
    assert not (out / "objects.parquet").exists()
    assert run(spec(out))["exit_status"] == 0
    assert validate_run(str(out)) == []
    for file in [small[0] / "objects.parquet", *(small[0] / "objects").iterdir()]:
        assert (out / file.relative_to(small[0])).read_bytes() == file.read_bytes()


@needs_shared
def test_a_finer_lattice_is_refused(known, tmp_path):
    with pytest.raises(SpecError, match=r"kernel\.gsd: blobs finds objects"):
        run(spec(tmp_path / "out", kernel={"gsd": 5.0}))


def test_a_run_that_finds_nothing_has_an_empty_file(tmp_path):
    storage = Storage.open(str(tmp_path))
    done = merge(
        storage, "objects.parquet", [], ObjectLayout(SPEC, GRID), lambda _: {"date_start": pa.array([], pa.date32())}
    )
    assert done.count == 0
    table = geopandas.read_parquet(storage.local_path("objects.parquet"))
    assert len(table) == 0
    assert table.crs == CRS("EPSG:32632")
