"""What it costs to list, order and publish 20,000 tiles: ``python tests/bench/bench_publish.py``."""

import resource
import tempfile
import time
from datetime import UTC, datetime

import shapely
import shapely.affinity

from eopipe.area.on_grid import Area, GridArea, space_filling
from eopipe.grid import Grid
from eopipe.kernelinfo import ArraySpec, ClassInfo, Inputs, KernelInfo, Window
from eopipe.run_folder import OutputFile
from eopipe.stac.publish import publish
from eopipe.stac.publish_input import PublishInfo, SceneRef, TileOutput
from eopipe.storage import Storage

SCENES = 20
NOW = datetime(2025, 10, 1, tzinfo=UTC)
CLASSES = tuple(ClassInfo(code, f"class {code}", "#419bdf") for code in range(1, 10))
ARRAYS = tuple(
    ArraySpec(name, "uint8", 255, 0, CLASSES if name == "label" else ()) for name in ("label", "confidence")
)
KERNEL = KernelInfo("land-cover", "1", Inputs("optical", ("blue",), 10.0), Window(256, 128, 64), ARRAYS)


def timed(what: str, start: tuple[float, float]) -> tuple[float, float]:
    now = (time.perf_counter(), time.process_time())
    print(f"{what:<28}{now[0] - start[0]:8.2f} s, {now[1] - start[1]:7.2f} s of CPU")
    return now


def main() -> None:
    centre = shapely.Point(8.2, 47.6)
    area = Area(centre.buffer(1, quad_segs=5000).intersection(shapely.box(-180, -90, 180, 90)))
    area = Area(shapely.affinity.scale(area.geometry, 4.55, 3.1))
    clock = (time.perf_counter(), time.process_time())
    region = GridArea.project(area, Grid("EPSG:32632", 10.0))
    clock = timed("project", clock)
    tiles = space_filling(region.tiles(512))
    clock = timed(f"{len(tiles):,} tiles in order", clock)
    parts = region.parts(512)
    clock = timed(f"{sum(p != 'full' for p in parts.values()):,} cut tiles hashed", clock)
    scenes = tuple(SceneRef(f"s{i}", "c", NOW, f"https://example.com/{i}") for i in range(SCENES))
    outputs = [
        TileOutput(t, "a", "done", scenes, {"label": OutputFile(f"cog/{t.name}.tif", 1, "ab" * 32)}, {1: 5})
        for t in tiles
    ]
    info = PublishInfo("bench", "A bench.", area, region, 512, KERNEL, ARRAYS, (NOW, NOW), NOW, {"eopipe": "0"})
    with tempfile.TemporaryDirectory() as folder:
        clock = (time.perf_counter(), time.process_time())
        publish(Storage.open(folder), info, outputs)
        timed(f"publish {len(outputs):,} Items", clock)
    print(f"{'peak memory':<28}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MiB")


if __name__ == "__main__":
    main()
