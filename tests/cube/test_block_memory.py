"""Files of one block: what decoding them takes is in the plan, measured in a process of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from eopipe.cube.asset_file import AssetFile, ReadStats
from eopipe.cube.reader import USUAL_BLOCK, block_memory, memory
from eopipe.cube.scenes import AssetRef
from eopipe.engine.plan.memory import GDAL_CACHE, check_fits
from eopipe.errors import PlanError
from tests.cube.helpers import QUICK

SIDE, BANDS, FILES = 3000, 4, 6
STRIP = (512, 1024)

SCRIPT = """
import sys
from datetime import UTC, datetime
from eopipe.cube.gdal_settings import gdal_worker_env
from eopipe.cube.reader import ReadSettings, TileReader
from eopipe.cube.scenes import AssetRef, Scene
from eopipe.grid import Grid, PixelBox

gdal_worker_env({cache})
names = ("blue", "green", "red", "nir")
when = datetime(2020, 1, 1, tzinfo=UTC)
scenes = [
    Scene(str(n), "c", when, None, {{name: AssetRef(path, b + 1, nodata=0) for b, name in enumerate(names)}})
    for n, path in enumerate(sys.argv[1:])
]
settings = ReadSettings(grid=Grid("EPSG:32633", 10.0), bands=names)

def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) * 1024

box = PixelBox(-500000, 50000, -500000 + 512, 51024)
with TileReader([scenes[:1]], settings) as reader:
    reader.read(PixelBox(-500000, 50000, -500000 + 16, 50016))
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
with TileReader([scenes], settings) as reader:
    base = {base}
    for strip in range(3):
        reader.read(PixelBox(box.row0 + 512 * strip, box.col0, box.row1 + 512 * strip, box.col1))
print(status("VmHWM") - base)
"""


def strips(folder, interleave, **profile):
    """Files of one strip of 3000² x 4 bands, 16 bits: 72 MB a block."""
    paths = []
    for number in range(FILES):
        paths.append(str(folder / f"{number}.tif"))
        data = np.random.default_rng(number).integers(1000, 1100, (BANDS, SIDE, SIDE), dtype="uint16")
        options = {"blockysize": SIDE, "compress": "deflate", "zlevel": 1, "interleave": interleave, **profile}
        shape = {"width": SIDE, "height": SIDE, "count": BANDS, "dtype": "uint16", "nodata": 0, "crs": "EPSG:32633"}
        with rasterio.open(
            paths[-1], "w", driver="GTiff", transform=from_origin(5e5, 5e6, 10, 10), **shape, **options
        ) as f:
            f.write(data)
    return paths


def block_bytes(path):
    ref = AssetRef(path)
    file = AssetFile(ref, sign=None, requester_pays=False, retry=QUICK, stats=ReadStats())
    try:
        return file.facts(ref).block_bytes
    finally:
        file.close()


@pytest.mark.alone
@pytest.mark.parametrize(("interleave", "planes"), [("pixel", BANDS), ("band", 1)])
def test_reading_files_of_one_strip_stays_within_the_plan(tmp_path, interleave, planes):
    paths = strips(tmp_path, interleave)
    block = block_bytes(paths[0])
    assert block == SIDE * SIDE * 2 * planes
    # The base is taken once libraries and compiled code are loaded, by a script that reads 16 rows of a small file.
    script = SCRIPT.format(cache=GDAL_CACHE, base='status("VmRSS")')
    # The first process compiles, which takes memory of its own; the second one finds the compiled code on the disk.
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, check=True, timeout=300)
    peak = json.loads(done.stdout)
    promised = memory(STRIP, FILES, BANDS) + GDAL_CACHE + block_memory(block, FILES)
    assert peak <= 1.15 * promised
    if interleave == "pixel":
        assert peak >= 0.4 * promised
        assert peak > 1.15 * (promised - block_memory(block, FILES)), "without it the plan would promise too little"


def test_usual_blocks_make_no_allowance(tmp_path):
    assert block_memory(USUAL_BLOCK, 100) == 0
    path = tmp_path / "a.tif"
    shape = {"width": 600, "height": 600, "count": 4, "dtype": "uint16", "crs": "EPSG:32633", "tiled": True}
    with rasterio.open(path, "w", driver="GTiff", transform=from_origin(5e5, 5e6, 10, 10), blockxsize=512,
                       blockysize=512, interleave="pixel", **shape):  # fmt: skip
        pass
    assert block_bytes(str(path)) == 512 * 512 * 4 * 2


def test_the_plan_names_blocks_where_they_do_not_fit():
    cause = ", with blocks of 0.27 GiB in its files"
    with pytest.raises(PlanError, match=r"tiles of 512 need 4.00 GiB a worker, with blocks of .* files, which has"):
        check_fits(512, peak=lambda _: 2**32, limit=2**30, cause=cause)
