"""Labelled scenes run and judged: the real collection's places, and a square kilometre of one to its figures."""

import json

import numpy as np
import pytest
import rasterio
import xarray as xr
from distributed import Client, LocalCluster
from pyproj import Transformer
from rasterio.windows import from_bounds

import eopipe
from eopipe.engine.display import Display
from eopipe.errors import ItemError, SpecError
from eopipe.evaluation.change.cards import find_set
from eopipe.evaluation.change.command import ChangeRequest
from eopipe.evaluation.change.places import run as places_run
from eopipe.evaluation.change.places.labelled import find_places
from eopipe.evaluation.change.places.report import places_lines, places_result
from eopipe.kernels.change.spectral import base as change
from eopipe.kernels.land_cover import BANDS
from tests.evaluation.documents import collection, item
from tests.support import measuring
from tests.support.change import Colours
from tests.support.command import eopipe as command
from tests.support.paths import needs_shared, shared
from tests.support.runs import CALIBRATION

OSCD = find_set("oscd")
AREA = [10.367, 43.695, 10.379, 43.703]
"""A square kilometre within one tile."""


def scenes():
    return shared() / "data/sentinel2-oscd"


@needs_shared
def test_the_collection_s_labelled_places_and_their_dates():
    places = find_places(str(scenes() / "collection.json"), OSCD)
    assert [place.name for place in places] == ["abudhabi", "beihai", "bercy", "mumbai", "nantes", "paris", "pisa"]
    for place in places:
        days = sorted(path.name.rsplit("_", 1)[1] for path in scenes().glob(f"S2_{place.name}_*"))
        assert [place.before.replace("-", ""), place.after.replace("-", "")] == days
        assert place.label.address == str(scenes() / f"S2_{place.name}_{days[1]}/change.tif")
        assert (place.label.changed, place.label.unchanged) == (2, 1)


@needs_shared
def test_without_a_property_items_that_cover_each_other_are_a_place(tmp_path):
    card = find_set(str(_card(tmp_path)))
    by_box = find_places(str(scenes() / "collection.json"), card)
    by_name = find_places(str(scenes() / "collection.json"), OSCD)
    assert sorted((one.before, one.after, one.area) for one in by_box) == sorted(
        (one.before, one.after, one.area) for one in by_name
    )
    assert by_box[0].name == "S2_abudhabi_20180328"


def _card(folder):
    path = folder / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "Mine"\nlabels = "scenes"\nlabel_asset = "change"\nchanged = 2\nunchanged = 1\n'
    )
    return path


def test_what_is_no_place_is_one_line(tmp_path):
    one = item("one", {"change": {"href": "./x.tif"}})
    one["bbox"] = [0, 0, 1, 1]
    one["properties"]["oscd:city"] = "here"
    for documents, error, message in (
        ([item("bare", {"image": {"href": "./x.tif"}})], ItemError, "has an asset 'change'"),
        ([one], ItemError, "item one has labels, but no earlier item"),
        ([{**one, "properties": {"datetime": "2020-01-01T00:00:00Z"}}, _earlier(one)], ItemError, "no property"),
        ([{**one, "bbox": None}, _earlier(one)], ItemError, "has no bbox"),
        ([one, {**one, "id": "two"}, _earlier(one)], ItemError, "two items with labels are of the place here"),
    ):
        with pytest.raises(error, match=message) as raised:
            find_places(collection(tmp_path, documents), OSCD)
        assert "\n" not in str(raised.value)
    with pytest.raises(SpecError, match="no labelled place 'there'; there are here"):
        find_places(collection(tmp_path, [one, _earlier(one)]), OSCD, names=["there"])


def _earlier(one):
    properties = {**one["properties"], "datetime": "2019-01-01T00:00:00Z"}
    return {**one, "id": "earlier", "assets": {"image": {"href": "./x.tif"}}, "properties": properties}


@pytest.fixture(scope="module")
def workers():
    """Two workers that are threads of this process, whose land cover costs nothing."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with pytest.MonkeyPatch.context() as patch, LocalCluster(**options) as cluster, Client(cluster) as client:
        measuring.small_blocks(patch, cells=8, sample=1)
        patch.setattr(change, "load_dynamic_world", lambda *_, **__: Colours())
        yield client


def tiny(folder, broken=False):
    """Pisa's two scenes and labels, of a square kilometre."""
    documents = []
    for path in sorted(scenes().glob("S2_pisa_*/*.json")):
        document = json.loads(path.read_text())
        document["bbox"], document["links"] = AREA, []
        for asset in document["assets"].values():
            asset["href"] = str(path.parent / asset["href"])
        documents.append(document)
    labels = documents[1]["assets"]["change"]
    with rasterio.open(labels["href"]) as file:
        window = from_bounds(*AREA, file.transform).round_offsets().round_lengths()
        profile = {**file.profile, "driver": "GTiff", "width": window.width, "height": window.height}
        profile["transform"] = file.window_transform(window)
        labels["href"] = str(folder / "change.tif")
        with rasterio.open(labels["href"], "w", **profile) as out:
            out.write(file.read(1, window=window), 1)
    if broken:
        documents[0]["assets"]["B02"]["href"] = str(folder / "nowhere.tif")
    address = collection(folder, documents)
    listed = json.loads((folder / "collection.json").read_text())
    (folder / "collection.json").write_text(json.dumps({**listed, "id": "sentinel-2-l1c-oscd"}))
    return address


@pytest.fixture(scope="module")
def tried(workers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    places = find_places(tiny(folder), OSCD)
    arguments = ChangeRequest(card="oscd", out=folder / "out")
    return places, arguments, places_run.judge_places(places, arguments, display=Display(), calibration=CALIBRATION)


@needs_shared
def test_a_place_is_run_and_judged_as_by_hand(tried):
    (place,), arguments, (judged,) = tried
    assert (judged.status, judged.output) == (0, str(arguments.out / "pisa"))
    assert list((arguments.out / "pisa/cog").glob("*.tif"))
    whole = xr.open_zarr(f"{judged.output}/mosaic.zarr", group="0", consolidated=False).load()
    with rasterio.open(place.label.address) as file:
        label = file.read(1).ravel()
        rows, cols = np.indices(file.shape)
        x, y = rasterio.transform.xy(file.transform, rows.ravel(), cols.ravel())
    east, north = Transformer.from_crs(4326, whole.spatial_ref.attrs["crs_wkt"], always_xy=True).transform(x, y)
    at = {"x": xr.DataArray(east), "y": xr.DataArray(north)}
    maps = {"change": whole.change.values, **by_hand(place, whole)}
    assert list(judged.counts) == list(maps)
    for name, array in maps.items():
        predicted = whole.change.copy(data=array).sel(method="nearest", **at).values
        counts = judged.counts[name].confusion.counts
        assert counts.sum() > 5000
        for truth in (0, 1):
            for value in (0, 1):
                assert counts[truth, value] == ((label == truth + 1) & (predicted == value)).sum(), name
    assert judged.counts["change"].confusion.pixels == label.size


def by_hand(place, whole):
    """The baselines from cubes read anew, aligned by coordinates, parted by scikit-image's Otsu."""
    from skimage.filters import threshold_otsu

    dates = []
    for day in (place.before, place.after):
        snapshot, _ = eopipe.search(catalog=place.catalog, area=AREA, datetime=day)
        cube = eopipe.open_cube(snapshot, area=AREA, bands=BANDS, composite="first", resolution=10)
        read = cube.dataset.isel(time=0).compute(scheduler="synchronous").reindex(x=whole.x, y=whole.y)
        dates.append(np.stack([read[band].values for band in BANDS]).astype(float))
    visible = (whole.change.values <= 1) & np.isfinite(dates).all(axis=(0, 1))
    pixels = np.stack(dates)[:, :, visible]
    maps = {}
    for name, levelled in (("change vectors", False), ("change vectors, levelled", True)):
        if levelled:
            pixels = (pixels - pixels.mean(2, keepdims=True)) / pixels.std(2, keepdims=True)
        length = np.linalg.norm(pixels[1] - pixels[0], axis=0)
        maps[name] = np.full(visible.shape, 254, np.uint8)
        maps[name][visible] = length > threshold_otsu(length)
    differ = whole.label_before.values != whole.label_after.values
    return {**maps, "two land-cover maps": np.where(visible, differ, 254).astype(np.uint8)}


@needs_shared
def test_a_second_start_runs_nothing_and_says_the_same(tried, monkeypatch):
    places, arguments, before = tried
    monkeypatch.setattr(places_run, "execute", lambda *_, **__: pytest.fail("a complete run was started again"))
    again = places_run.judge_places(places, arguments, display=Display())
    assert places_result(OSCD, again, {}) == places_result(OSCD, before, {})
    with pytest.raises(SpecError):  # the folder holds another run
        places_run.judge_places(
            places, ChangeRequest(card="oscd", out=arguments.out, options={"registration": False}), display=Display()
        )


@needs_shared
def test_people_read_a_line_a_method_and_the_means(tried):
    document = places_result(OSCD, tried[2], {})
    assert [row["method"] for row in document["methods"]] == [row["method"] for row in document["mean"]]
    for row, mean in zip(document["methods"], document["mean"], strict=True):
        assert (row["F1"], row["place"]) == (mean["F1"], mean["least_place"])
    lines = places_lines(document)
    assert lines[0].row_count == lines[1].row_count == 4
    better = [row["method"] for row in document["methods"][1:] if row["F1"] > document["methods"][0]["F1"]]
    assert any("did better than the kernel" in note for note in document["notes"]) == bool(better)


@needs_shared
def test_a_place_whose_tiles_fail_is_not_judged(workers, tmp_path, monkeypatch):
    monkeypatch.setattr("eopipe.engine.run.calibrate_on_worker", lambda *_, **__: CALIBRATION)
    out = tmp_path / "out"
    ended = command("eval", "change", "oscd", "--data", tiny(tmp_path, broken=True), "--out", out, "--json")
    assert ended.status == 3
    assert ended.document["methods"] == []
    assert ended.document["places"][0]["exit_status"] == 3
    assert f"pisa: the run ended with 3, see eopipe status {out}/pisa" in ended.document["notes"][-1]
    assert json.loads((out / "result.json").read_text()) == ended.document
