"""Items of real catalogues in the form in which their providers publish them, and reflectances worked out by hand.

The items under ``items/`` are recorded forms (fields, extensions and values); their files are written here, with DN
and tags as the providers' files have them. Each row of docs/SOURCES.md names its case here.
"""

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

import eopipe
from eopipe.cube.reader import ReadSettings
from eopipe.engine.plan.radiometry_survey import survey
from eopipe.errors import ItemError
from eopipe.grid import Grid
from eopipe.spec import MaskSpec

ITEMS = Path(__file__).parent / "items"
SIDE, STEP, RES, ORIGIN = 64, 16, 30.0, (499980.0, 5000040.0)
CRS = "EPSG:32633"
S2 = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "swir16": "B11", "swir22": "B12"}
OLI_SR = {"blue": "SR_B2", "red": "SR_B4", "nir08": "SR_B5", "swir16": "SR_B6", "swir22": "SR_B7"}
NAMED = {band: band for band in ("blue", "red", "nir08", "swir16", "swir22")}
# DN x 2.75e-5 - 0.2: 0.075, 0.35, 1
LANDSAT_DN, LANDSAT = (0, 10000, 20000, 43636), (None, 0.075, 0.35, 1.0)
S2_DN, OFFSET, APPLIED = (0, 1001, 2500, 11000), (None, 0.0001, 0.15, 1.0), (None, 0.1001, 0.25, 1.1)
HLS_DN, HLS = (-9999, 0, 1600, 9000), (None, 0.0, 0.16, 0.9)
GA_DN, GA = (-999, 0, 1600, 9000), (None, 0.0, 0.16, 0.9)
# value that is kept, then three that are not: cloud, shadow, fill
FMASK = (0b1110_0001, 0b0000_0010, 0b0000_1000, 255)
QA = (1 << 6, 1 << 3, 1 << 4, 1)
SCL = (4, 9, 3, 0)


@dataclass(frozen=True)
class Case:
    """A recorded item, what its files hold, and what must be read of them.

    Args:
        item: Name of the JSON file.
        assets: Band to the asset that holds it.
        dn: Numbers of four groups of columns.
        expected: Reflectance of each group; None: no data.
        dtype: Type of the files.
        line: What the plan says of it.
        nodata: The file's own.
        scale: The file's own.
        mask: Mask to read, its asset, and its codes in four groups of rows, the first of which is kept.
    """

    item: str
    assets: dict[str, str]
    dn: tuple[int, ...]
    expected: tuple[float | None, ...]
    dtype: str
    line: str
    nodata: float | None = None
    scale: float = 1.0
    mask: tuple[str, str, tuple[int, ...]] | None = None
    collection: str | None = field(default=None)


HLS_TAGS = {"dtype": "int16", "nodata": -9999, "scale": 1e-4}
HLS_LINE = "file scale 0.0001, table no-data -9999, file no-data -9999; mask fmask bits 1, 3"
BASELINE = "table scale 0.0001, baseline offset -0.1, table no-data 0"
L2 = "table scale 2.75e-05, table offset -0.2, table no-data 0"
L2_STATED = "item scale 2.75e-05, item offset -0.2, item no-data 0; mask qa_pixel bits 1, 2, 3, 4"
SCL_LINE = "; mask scl classes 1, 3, 8, 9, 10"
CASES = [
    Case("planetary_computer_hls2_l30", {"blue": "B02", "red": "B04", "nir08": "B05", "swir16": "B06"},
         HLS_DN, HLS, line=HLS_LINE, mask=("fmask", "Fmask", FMASK), **HLS_TAGS),
    Case("planetary_computer_hls2_s30", {**S2, "nir08": "B8A", "rededge1": "B05"}, HLS_DN, HLS, line=HLS_LINE,
         mask=("fmask", "Fmask", FMASK), **HLS_TAGS),
    Case("lpcloud_hlsl30_2.0", {"red": "B04", "nir08": "B05", "swir22": "B07"}, HLS_DN, HLS, line=HLS_LINE,
         mask=("fmask", "Fmask", FMASK), **HLS_TAGS),
    # The same without tags, as some mirrors have them: the family's table stands in.
    Case("lpcloud_hlss30_2.0", {"red": "B04", "nir08": "B8A", "nir": "B08"}, HLS_DN, HLS, "int16",
         "table scale 0.0001, table offset 0, table no-data -9999; mask fmask bits 1, 3",
         mask=("fmask", "Fmask", FMASK)),
    Case("planetary_computer_landsat_c2_l2_lc08", NAMED, LANDSAT_DN, LANDSAT, "uint16",
         L2_STATED.replace(";", ", file no-data 0;"), nodata=0, mask=("qa_pixel", "qa_pixel", QA)),
    Case("planetary_computer_landsat_c2_l2_lt05", NAMED, LANDSAT_DN, LANDSAT, "uint16", L2_STATED,
         mask=("qa_pixel", "qa_pixel", QA)),
    Case("earth_search_v1_landsat_c2_l2", NAMED, LANDSAT_DN, LANDSAT, "uint16", L2_STATED,
         mask=("qa_pixel", "qa_pixel", QA)),
    Case("usgs_landsat_c2l2_sr_lc09", NAMED, LANDSAT_DN, LANDSAT, "uint16", L2, nodata=None),
    Case("usgs_landsat_c2l2_sr_le07", NAMED, LANDSAT_DN, LANDSAT, "uint16",
         f"{L2}, file no-data 0; mask qa_pixel bits 1, 2, 3, 4", nodata=0, mask=("qa_pixel", "qa_pixel", QA)),
    Case("deafrica_ls8_sr", OLI_SR, LANDSAT_DN, LANDSAT, "uint16", f"{L2}; mask qa_pixel bits 1, 2, 3, 4",
         mask=("qa_pixel", "QA_PIXEL", QA)),
    Case("deafrica_ls5_sr", {"blue": "SR_B1", "red": "SR_B3", "nir08": "SR_B4", "swir22": "SR_B7"}, LANDSAT_DN,
         LANDSAT, "uint16", L2),
    # (DN x 2e-5 - 0.1) / sin(30 degrees); no data 0
    Case("usgs_landsat_c2l1_lc08", NAMED, (0, 5000, 15000, 30000), (None, 0.0, 0.4, 1.0), "uint16",
         "table scale 4e-05, table offset -0.2, table no-data 0"),
    Case("cdse_sentinel_2_l2a", {band: f"{code}_10m" if band not in {"swir16", "swir22"} else f"{code}_20m"
                                 for band, code in S2.items()}, S2_DN, OFFSET, "uint16",
         f"item scale 0.0001, item offset -0.1, item no-data 0{SCL_LINE}", mask=("scl", "SCL_20m", SCL)),
    Case("planetary_computer_sentinel_2_l2a", {**S2, "nir08": "B8A"}, S2_DN, OFFSET, "uint16",
         f"{BASELINE}, file no-data 0{SCL_LINE}", nodata=0, mask=("scl", "SCL", SCL)),
    # The items state the offset of the product, and the flag that it was applied to the files.
    Case("earth_search_v1_sentinel_2_l2a", {band: band for band in S2}, S2_DN, APPLIED, "uint16",
         f"item scale 0.0001, flag offset 0, item no-data 0{SCL_LINE}", mask=("scl", "scl", SCL)),
    Case("earth_search_v1_sentinel_2_c1_l2a", {band: band for band in S2}, S2_DN, OFFSET, "uint16",
         f"item scale 0.0001, item offset -0.1, item no-data 0, file no-data 0{SCL_LINE}", nodata=0,
         mask=("scl", "scl", SCL)),
    Case("earth_search_v1_sentinel_2_l1c", {band: band for band in S2}, S2_DN, OFFSET, "uint16",
         "item scale 0.0001, item offset -0.1, item no-data 0"),
    Case("earth_search_v0_sentinel_s2_l2a_cogs", S2, S2_DN, APPLIED, "uint16",
         "table scale 0.0001, baseline offset 0, table no-data 0", mask=None),
    Case("deafrica_s2_l2a", S2, S2_DN, APPLIED, "uint16",
         f"table scale 0.0001, flag offset 0, table no-data 0{SCL_LINE}", mask=("scl", "SCL", SCL)),
    Case("dea_ga_s2am_ard_3", {"blue": "nbart_blue", "rededge2": "nbart_red_edge_2", "nir": "nbart_nir_1",
                               "nir08": "nbart_nir_2", "swir16": "nbart_swir_2", "swir22": "nbart_swir_3"}, GA_DN, GA,
         "int16", "table scale 0.0001, table offset 0, table no-data -999, file no-data -999; "
         "mask oa_fmask classes 2, 3", nodata=-999, mask=("oa_fmask", "oa_fmask", (1, 2, 3, 0))),
    Case("dea_ga_ls8c_ard_3", {"blue": "nbart_blue", "nir08": "nbart_nir", "swir16": "nbart_swir_1",
                               "swir22": "nbart_swir_2"}, GA_DN, GA, "int16",
         "table scale 0.0001, table offset 0, table no-data -999; mask oa_fmask classes 2, 3",
         mask=("oa_fmask", "oa_fmask", (1, 2, 3, 0))),
    Case("planetary_computer_naip", {"red": "image#1", "nir": "image#4"}, (0, 51, 102, 255), (0.0, 0.2, 0.4, 1.0),
         "uint8", "table scale 0.00392157, table offset 0"),
]  # fmt: skip


def write(path: Path, rows: np.ndarray, **tags) -> None:
    """A small GeoTIFF; ``scale`` and ``nodata`` are its tags."""
    scale = tags.pop("scale", 1.0)
    data = rows if rows.ndim == 3 else rows[None]
    shape = {"count": data.shape[0], "height": SIDE, "width": SIDE, "dtype": data.dtype}
    with rasterio.open(
        path, "w", driver="GTiff", crs=CRS, transform=from_origin(*ORIGIN, RES, RES), tiled=True, blockxsize=32,
        blockysize=32, **shape, **tags,
    ) as file:  # fmt: skip
        file.write(data)
        if scale != 1.0:
            file.scales = (scale,) * data.shape[0]


def recorded(name: str, folder: Path, hrefs: dict[str, str]) -> dict:
    """A recorded item, moved to where the test's files are; assets that have none keep their addresses."""
    item = json.loads((ITEMS / f"{name}.json").read_text())
    left, top = ORIGIN
    box = list(transform_bounds(CRS, 4326, left, top - SIDE * RES, left + SIDE * RES, top))
    west, south, east, north = box
    item["bbox"] = box
    item["geometry"]["coordinates"] = [[[west, south], [east, south], [east, north], [west, north], [west, south]]]
    place = {"proj:epsg": 32633, "proj:code": CRS, "proj:shape": [SIDE, SIDE],
             "proj:transform": [RES, 0, left, 0, -RES, top]}  # fmt: skip
    for holder in (item["properties"], *item["assets"].values()):
        for key, value in place.items():
            if key in holder or holder is item["properties"]:
                holder[key] = value
        for key in ("proj:bbox", "proj:geometry"):
            holder.pop(key, None)
    for key, href in hrefs.items():
        item["assets"][key]["href"] = str(folder / href)
        item["assets"][key].pop("alternate", None)
    return item


def files(case: Case, folder: Path) -> dict:
    """Write a case's files; returns its item."""
    columns = np.repeat(case.dn, STEP)
    hrefs = {}
    for asset in case.assets.values():
        key, _, number = asset.partition("#")
        data = np.broadcast_to(columns, (SIDE, SIDE)).astype(case.dtype)
        stack = np.stack([data] * 4) if number else data
        hrefs[key] = f"{key}.tif"
        write(folder / hrefs[key], stack, nodata=case.nodata, scale=case.scale)
    if case.mask:
        _, key, codes = case.mask
        rows = np.broadcast_to(np.repeat(codes, STEP)[:, None], (SIDE, SIDE))
        hrefs[key] = f"{key}.tif"
        write(folder / hrefs[key], rows.astype("uint16" if max(codes) > 255 else "uint8"))
    return recorded(case.item, folder, hrefs)


def search(item: dict, folder: Path, **more):
    """The snapshot of one item, and an area inside its files."""
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    west, south, east, north = item["bbox"]
    inset = (east - west) * 0.01
    area = [west + inset, south + inset, east - inset, north - inset]
    snapshot, report = eopipe.search(catalog=str(path), area=area, **more)
    return snapshot, report, area


@pytest.mark.parametrize("case", CASES, ids=[case.item for case in CASES])
def test_a_recorded_item_has_the_reflectance_that_its_provider_documents(case, tmp_path):
    snapshot, _, area = search(files(case, tmp_path), tmp_path)
    mask = case.mask[0] if case.mask else None
    cube = eopipe.open_cube(
        snapshot, area=area, bands=list(case.assets), crs=CRS, resolution=RES, mask=mask, sign="none"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = cube.dataset.compute(scheduler="synchronous")
    group = ((data.x.values - ORIGIN[0]) // (STEP * RES)).astype(int)
    rows = ((ORIGIN[1] - data.y.values) // (STEP * RES)).astype(int)
    for band in case.assets:
        values = data[band].values[0]
        for number, expected in enumerate(case.expected):
            read = values[np.ix_(rows == 0, group == number)]
            assert read.size > 100
            if expected is None:
                assert np.isnan(read).all(), (band, number)
            else:
                assert np.abs(read - expected).max() < 6e-5, (band, number, read.mean())
        if mask:
            assert np.isnan(values[rows > 0]).all(), band
    spec = MaskSpec(band=mask) if mask else None
    settings = ReadSettings(grid=Grid(CRS, RES), bands=tuple(case.assets), mask=spec)
    [line] = survey(snapshot, settings).lines
    assert line.partition(": ")[2] == case.line


@pytest.mark.parametrize(
    ("name", "assets", "reason"),
    [
        ("usgs_landsat_c2l1_le07", ("red",), "Level-1 DN"),
        ("usgs_landsat_c2l1_lt04", ("red",), "Level-1 DN"),
        ("planetary_computer_landsat_c2_l1_lm05", ("red",), "unit 'watt/steradian/square meter/micrometer'"),
    ],
)
def test_level_1_dn_and_radiance_are_refused(name, assets, reason, tmp_path):
    write(tmp_path / "a.tif", np.full((SIDE, SIDE), 90, "uint8"), nodata=0)
    item = recorded(name, tmp_path, dict.fromkeys(assets, "a.tif"))
    snapshot, _, area = search(item, tmp_path)
    cube = eopipe.open_cube(snapshot, area=area, bands=list(assets), crs=CRS, resolution=RES, sign="none")
    with pytest.raises(ItemError, match=rf"{reason}.*source\.scale"):
        cube.dataset.compute(scheduler="synchronous")
    with pytest.raises(ItemError, match=reason):
        survey(snapshot, cube.settings)


def test_level_1_is_read_where_the_spec_states_its_coefficients(tmp_path):
    write(tmp_path / "a.tif", np.full((SIDE, SIDE), 90, "uint8"), nodata=0)
    item = recorded("usgs_landsat_c2l1_le07", tmp_path, {"red": "a.tif"})
    snapshot, _, area = search(item, tmp_path)
    options = {"area": area, "bands": ["red"], "crs": CRS, "resolution": RES, "sign": "none"}
    data = eopipe.open_cube(snapshot, scale=0.0016, offset=-0.01, **options).dataset.compute()
    assert np.allclose(data.red, 90 * 0.0016 - 0.01)


def test_oli_level_1_without_the_suns_elevation_is_refused(tmp_path):
    write(tmp_path / "a.tif", np.full((SIDE, SIDE), 9000, "uint16"))
    item = recorded("usgs_landsat_c2l1_lc08", tmp_path, {"red": "a.tif"})
    del item["properties"]["view:sun_elevation"]
    snapshot, _, area = search(item, tmp_path)
    cube = eopipe.open_cube(snapshot, area=area, bands=["red"], crs=CRS, resolution=RES, sign="none")
    with pytest.raises(ItemError, match="view:sun_elevation"):
        cube.dataset.compute(scheduler="synchronous")


def test_a_surface_temperature_is_no_reflectance(tmp_path):
    write(tmp_path / "a.tif", np.full((SIDE, SIDE), 9000, "uint16"))
    item = recorded("planetary_computer_landsat_c2_l2_lc08", tmp_path, {"lwir11": "a.tif"})
    item["assets"]["red"] = item["assets"].pop("lwir11")  # as a wrong source.bands would choose it
    snapshot, _, area = search(item, tmp_path)
    cube = eopipe.open_cube(snapshot, area=area, bands=["red"], crs=CRS, resolution=RES, sign="none")
    with pytest.raises(ItemError, match=r"unit 'kelvin', which is not reflectance.*source\.unit"):
        cube.dataset.compute(scheduler="synchronous")


def test_a_geomedian_of_landsat_scenes_is_no_landsat_product(tmp_path):
    """Its platform is landsat-8; its numbers are its own: refused, and read by what the spec or the file states."""
    write(tmp_path / "a.tif", np.full((SIDE, SIDE), 10000, "uint16"), nodata=0)
    item = recorded("deafrica_gm_ls8_annual", tmp_path, {"SR_B4": "a.tif"})
    snapshot, _, area = search(item, tmp_path)
    options = {"area": area, "bands": ["red"], "crs": CRS, "resolution": RES, "sign": "none"}
    with pytest.raises(ItemError, match=r"uint16 \(Landsat 8/9, unknown product\).*source\.scale"):
        eopipe.open_cube(snapshot, **options).dataset.compute(scheduler="synchronous")
    data = eopipe.open_cube(snapshot, scale=2.75e-5, offset=-0.2, **options).dataset.compute()
    assert np.allclose(data.red, 0.075)


def test_16_bit_naip_is_not_scaled_by_255(tmp_path):
    write(tmp_path / "a.tif", np.full((4, SIDE, SIDE), 10000, "uint16"))
    item = recorded("planetary_computer_naip", tmp_path, {"image": "a.tif"})
    snapshot, _, area = search(item, tmp_path)
    cube = eopipe.open_cube(snapshot, area=area, bands=["red"], crs=CRS, resolution=RES, sign="none")
    with pytest.raises(ItemError, match=r"uint16; files of NAIP hold uint8.*source\.scale"):
        cube.dataset.compute(scheduler="synchronous")


def test_each_row_of_the_docs_is_a_recorded_item():
    text = (Path(__file__).parents[2] / "docs/SOURCES.md").read_text()
    table = text.partition("## Providers and collections")[2].partition("## A collection")[0]
    rows = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith("| ")][1:]
    assert sorted(row[-1].strip(" `") for row in rows) == sorted(path.stem for path in ITEMS.glob("*.json"))
    for row in rows:
        item = json.loads((ITEMS / f"{row[-1].strip(' `')}.json").read_text())
        assert f"`{item['collection']}`" in row[1], row


def test_every_recorded_item_is_used():
    used = {case.item for case in CASES} | {
        "usgs_landsat_c2l1_le07", "usgs_landsat_c2l1_lt04", "planetary_computer_landsat_c2_l1_lm05",
        "deafrica_gm_ls8_annual",
    }  # fmt: skip
    assert {path.stem for path in ITEMS.glob("*.json")} == used
