"""Runs on real scenes, and what two mosaics are compared by."""

import json
from pathlib import Path

import numpy as np
import xarray as xr

from eopipe.engine.display import Display
from eopipe.engine.plan.model import Calibration
from eopipe.engine.run import execute
from eopipe.spec import parse_spec
from tests.support.paths import shared

PISA = (10.363, 43.6748, 10.4403, 43.7583)
"""West, south, east, north of the real scene of Pisa, degrees."""

CALIBRATION = Calibration(base=800 * 2**20, window_seconds=0.3, device="test")


def pisa(folder, **changes):
    """A spec of the real Pisa scene of July 2015; ``changes`` as ``grid__tile=512``."""
    spec = {
        "name": "pisa",
        "area": list(PISA),
        "source": {
            "catalog": str(shared() / "data/sentinel2-oscd/collection.json"),
            "collections": ["sentinel-2-l1c-oscd"],
            "datetime": "2015-07",
            "composite": "first",
        },
        "grid": {"crs": "utm", "resolution": 10, "tile": 512},
        "kernel": {"name": "land-cover"},
        "output": {"uri": str(folder), "cog": False},
        "cluster": {"kind": "current"},
    }
    for key, value in changes.items():
        place = spec
        *path, last = key.split("__")
        for part in path:
            place = place[part]
        place[last] = value
    return spec


def run(spec, **options):
    """Run a spec on the current client; returns the summary."""
    return execute(parse_spec(spec), display=Display(), calibration=CALIBRATION, **options)


def mosaic(folder, level="0"):
    """The mosaic's arrays with coordinates."""
    return xr.open_zarr(f"{folder}/mosaic.zarr", group=level, consolidated=False)


def same_pixels(one, two, names=("label", "confidence", "observations")):
    """Assert equal bytes over the pixels that both hold; returns how many were compared."""
    a, b = xr.align(one, two, join="inner", exclude=())
    assert a.label.size
    for name in names:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)
    return int(((a.label != 255) & (a.label != 0)).sum())


def records(folder):
    """Ledger records by tile."""
    paths = sorted(Path(folder).glob("ledger/r*/*.json"))
    return {path.name.split(".")[0]: json.loads(path.read_text()) for path in paths}


def high_water():
    """Peak resident bytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
