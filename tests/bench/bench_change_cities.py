"""Change maps of the labelled cities, judged: the mosaic's own figures, beside two plain baselines.

``python -m tests.bench.bench_change_cities [CITY ...]``. Each city is a run of the ``change`` kernel as anybody would
start it (blocks, tiles, mosaic); every labelled pixel is judged at the mosaic's pixel that its centre falls in. The
baselines see the same pixels: the length of the difference of all nine bands with Otsu's threshold (bands as they
are, and each levelled by its mean and spread), and ``label_before`` other than ``label_after``.

Chosen by looking at these cities (so read the mean as a little lower elsewhere): the widths of the local mean, of the
local correlation and of the smoothing; that "construction" is built, bare and snow; the threshold's form.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
import xarray as xr
from distributed import Client, LocalCluster
from pyproj import Transformer

import eopipe
from eopipe.evaluation.metrics import Confusion
from eopipe.kernels.change.otsu import otsu
from tests.support.paths import shared
from tests.support.runs import run

SCENES = shared() / "data/sentinel2-oscd"
BANDS = ("blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "swir16", "swir22")


def scenes(city):
    """The city's two items, by date."""
    return [json.loads((path / f"{path.name}.json").read_text()) for path in sorted(SCENES.glob(f"S2_{city}_*"))]


def cities():
    """Those with labels."""
    return sorted(path.parent.name.split("_")[1] for path in SCENES.glob("*/change.tif"))


def spec(city, out):
    items = scenes(city)
    days = [item["properties"]["datetime"][:10] for item in items]
    return {
        "name": f"change-{city}",
        "area": items[1]["bbox"],
        "source": {
            "catalog": str(SCENES / "collection.json"),
            "collections": ["sentinel-2-l1c-oscd"],
            "epochs": dict(zip(("before", "after"), days, strict=True)),
            "composite": "first",
        },
        "grid": {"crs": "utm", "resolution": 10, "tile": 512},
        "kernel": {"name": "change"},
        "output": {"uri": str(out), "cog": True},
        "cluster": {"kind": "current"},
    }


def truth(city):
    """The label, 0 and 1, and the place of each pixel's centre."""
    with rasterio.open(SCENES / scenes(city)[1]["id"] / "change.tif") as file:
        rows, cols = np.indices(file.shape)
        x, y = rasterio.transform.xy(file.transform, rows.ravel(), cols.ravel())
        return (file.read(1) == 2).ravel().astype(np.uint8), np.asarray(x), np.asarray(y), file.crs


def bands(city, found):
    """Both dates ``[2, 9, pixels]`` on the mosaic's pixels, and where both are seen ``[y, x]``."""
    dates = []
    for item in scenes(city):
        when = item["properties"]["datetime"][:10]
        snapshot, _ = eopipe.search(catalog=str(SCENES / "collection.json"), area=item["bbox"], datetime=when)
        cube = eopipe.open_cube(snapshot, area=item["bbox"], bands=BANDS, composite="first", resolution=10)
        read = cube.dataset.isel(time=0).compute(scheduler="synchronous").reindex(x=found.x, y=found.y)
        dates.append(np.stack([read[band].values for band in BANDS]))
    seen = (found.change.values <= 1) & np.isfinite(dates).all(axis=(0, 1))
    return np.stack(dates)[:, :, seen], seen


def baselines(city, found):
    """Maps by method, like ``change``."""
    pixels, seen = bands(city, found)
    each = {
        "as they are": pixels,
        "levelled": (pixels - pixels.mean(2, keepdims=True)) / pixels.std(2, keepdims=True),
    }
    maps = {}
    for name, (before, after) in each.items():
        length = np.sqrt(((after - before) ** 2).sum(axis=0))
        maps[f"change vectors, {name}"] = found.change.copy(data=np.full(seen.shape, 254, np.uint8))
        maps[f"change vectors, {name}"].values[seen] = length > otsu(length)
    differ = np.where(seen, found.label_before != found.label_after, 254).astype(np.uint8)
    return {**maps, "two land-cover maps": found.change.copy(data=differ)}


def judge(city, folder):
    """Counts by method."""
    out = Path(folder) / city
    summary = run(spec(city, out))
    assert summary["exit_status"] == 0, summary
    found = xr.open_zarr(f"{out}/mosaic.zarr", group="0", consolidated=False).load()
    label, x, y, crs = truth(city)
    crs_out = found.spatial_ref.attrs["crs_wkt"]
    east, north = Transformer.from_crs(crs, crs_out, always_xy=True).transform(x, y)
    at = {"x": xr.DataArray(east), "y": xr.DataArray(north)}
    maps = {"change": found.change, **baselines(city, found)}
    return {
        name: Confusion.of(label, said(array.sel(method="nearest", **at).values), classes=2)
        for name, array in maps.items()
    }


def said(values):
    """Codes as predictions: what has no observation was not predicted."""
    return np.where(values > 1, 255, values).astype(np.uint8)


def main(names):
    """Print a line a method and city, then the means."""
    torch.set_num_threads(1)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    scores = {}
    with tempfile.TemporaryDirectory() as folder, LocalCluster(**options) as cluster, Client(cluster):
        print(f"{'city':10} {'method':28} {'precision':>9} {'recall':>7} {'F1':>7} {'IoU':>7}")
        for city in names:
            start = time.perf_counter()
            for method, counts in judge(city, folder).items():
                figures = [float(column[1]) for column in (counts.precision, counts.recall, counts.f1, counts.iou)]
                scores.setdefault(method, []).append(figures[2])
                print(
                    f"{city:10} {method:28} {figures[0]:9.3f} {figures[1]:7.3f} {figures[2]:7.3f} {figures[3]:7.3f}"
                )
            print(f"{city:10} {time.perf_counter() - start:.0f} s", flush=True)
    for method, found in scores.items():
        print(f"{'mean F1':10} {method:28} {np.mean(found):.3f}, least {min(found):.3f}")


if __name__ == "__main__":
    main(sys.argv[1:] or cities())
