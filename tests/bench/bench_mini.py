"""A tile of 4096² from files to mosaic, by three models: ``python -m tests.bench.bench_mini [--all]``.

The scene is derived from the real Pisa scene, its nine bands copied side by side until a tile of 4096² at 10 m is
full. One worker with one thread maps it with mini, with Dynamic World and, where asked (``--all``, some minutes),
with a tower of ViT-B/16's size whose weights are seeded: real time, no map. Printed: seconds by stage, and the
worker's peak beside the plan's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path

from distributed import Client, LocalCluster

from eopipe.engine.display import Display
from eopipe.engine.plan.open import freeze_precision, open_run
from eopipe.engine.run import execute
from eopipe.engine.work.calibrate import calibrate_on_worker
from eopipe.spec import parse_spec, resolve_now
from tests.bench.bench_ovss_tile import kernel as tower
from tests.cube.helpers import mosaic_cog
from tests.support import derived
from tests.support.runs import high_water

TILE = 4096
AREA = [9.93, 44.03, 10.40, 44.37]
"""Within one tile of UTM 32 and a little beyond it on no side: the tile is what the run maps."""
MODELS = {
    "mini": {"name": "ovss", "model": "mini", "prompts": ["water", "forest", "cropland", "houses", "bare ground"]},
    "dynamic world": {"name": "land-cover"},
}


def scene(folder: Path) -> str:
    """The derived collection; returns its path."""
    derived.CORNER = (572440.0, 4916200.0)
    side = TILE + 200
    (folder / "1").mkdir(parents=True)
    for band in derived.FINE:
        mosaic_cog(folder / f"1/{band}.tif", band, side, 10.0)
    for band in derived.COARSE:
        mosaic_cog(folder / f"1/{band}.tif", band, side // 2, 20.0)
    return derived.write_catalog(folder / "catalog", [derived.item(str(folder), 1, side)])


def run(folder: Path, name: str, catalog: str, given: dict) -> dict:
    spec = parse_spec(
        {
            "name": name.replace(" ", "-").replace("/", "-"),
            "area": AREA,
            "source": {"catalog": catalog, "collections": ["sentinel-2-l1c-derived"], "composite": "first"},
            "grid": {"crs": "EPSG:32632", "resolution": 10, "tile": TILE},
            "kernel": given,
            "output": {"uri": str(folder / name.replace("/", "-")), "cog": False},
            "cluster": {"kind": "current"},
        }
    )
    with (
        LocalCluster(
            dashboard_address="127.0.0.1:0", n_workers=1, threads_per_worker=1, processes=True, memory_limit="12GB"
        ) as cluster,
        Client(cluster) as client,
    ):
        opened = open_run(spec, now=resolve_now(None), allow_empty=False)
        _, calibration = freeze_precision(opened, partial(calibrate_on_worker, client, opened.source))
        summary = execute(spec, display=Display(), calibration=calibration)
        summary["peak_bytes"] = next(iter(client.run(high_water).values()))
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="a tower of ViT-B/16's size too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalog = scene(folder / "scene")
        models = dict(MODELS)
        if given.all:
            models["ViT-B/16 and jbu_one"] = tower(folder, "jbu_one")
        for model, options in models.items():
            summary = run(folder, model, catalog, options)
            stages = summary["seconds_by_stage"]
            planned = summary["session"]["plan"]["worker_peak_bytes"]
            print(
                f"{model:24s} tiles {summary['tiles']}  {summary['km2']:.0f} km²  "
                f"{sum(stages.values()):.1f} s a tile  {json.dumps(stages)}  "
                f"peak {summary['peak_bytes'] / 1e9:.2f} GB of {planned / 1e9:.2f} planned",
                flush=True,
            )


if __name__ == "__main__":
    main()
