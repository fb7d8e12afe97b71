"""A whole tile of open-vocabulary map with a tower of ViT-B/16's size: ``python -m tests.bench.bench_ovss_tile``.

On the real Pisa scene, read at 3 m so that one tile of 2048² is full, with 20 queries and features kept: peak memory
of the worker beside the plan's, windows a second, the time of scoring the kept features again, bytes a km²; then the
same ground in tiles of 512 and of 1024, byte for byte. Weights are seeded: the figures are real, the map is noise.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path

from distributed import Client, LocalCluster

from eopipe.engine.derived.rescore import rescore
from eopipe.engine.display import Display
from eopipe.engine.plan.open import freeze_precision, open_run
from eopipe.engine.run import execute
from eopipe.engine.work.calibrate import calibrate_on_worker
from eopipe.models.clip.seeded import VIT_B_16, write_seeded_model
from eopipe.spec import parse_spec, resolve_now
from tests.support.ovss import RELEASED, tiny_jbu_one
from tests.support.paths import shared
from tests.support.runs import high_water, mosaic, pisa, same_pixels

QUERIES = 20


def kernel(folder: Path, upsampler: str, **changes) -> dict:
    words = {f"class {n}": None for n in range(QUERIES)}
    model = write_seeded_model(folder / "clip", 0, **VIT_B_16)
    given = {
        "name": "ovss",
        "model": model,
        "prompts": words,
        "templates": ["a photo of {}."],
        "upsampler": upsampler,
    }
    if upsampler == "jbu_one":
        given["upsampler_checkpoint"] = tiny_jbu_one(folder / "jbu_one.ckpt", 512)
    if upsampler in RELEASED:
        given["upsampler_checkpoint"] = str(shared() / "weights" / RELEASED[upsampler])
    return given | changes


def one_worker() -> LocalCluster:
    return LocalCluster(
        dashboard_address="127.0.0.1:0", n_workers=1, threads_per_worker=1, processes=True, memory_limit="8GB"
    )


def run(folder: Path, name: str, given: dict, *, tile: int, resolution: float, area: list[float]) -> dict:
    """One worker of its own, so that its peak is this run's."""
    spec = parse_spec(
        pisa(folder / name, kernel=given, area=area, grid={"crs": "utm", "resolution": resolution, "tile": tile})
    )
    with one_worker() as cluster, Client(cluster) as client:
        opened = open_run(spec, now=resolve_now(None), allow_empty=False)
        _, calibration = freeze_precision(opened, partial(calibrate_on_worker, client, opened.source))
        summary = execute(spec, display=Display(), calibration=calibration)
        summary["peak_bytes"] = next(iter(client.run(high_water).values()))
        summary["window_seconds"] = calibration.window_seconds
    return summary


def again(folder: Path) -> dict:
    """Other words from the features of the first run, on one worker."""
    words = {f"other {n}": None for n in range(QUERIES)}
    with one_worker() as cluster, Client(cluster) as client:
        summary = rescore(str(folder / "keep"), {"prompts": words}, out=str(folder / "again"), display=Display())
        summary["peak_bytes"] = next(iter(client.run(high_water).values()))
        summary["window_seconds"] = 0.0
    return summary


def tell(name: str, summary: dict) -> None:
    plan = summary["session"]["plan"]
    print(
        f"{name:24s} tiles {summary['tiles']}  {summary['km2']:.1f} km²  {summary['seconds']:.1f} s  "
        f"peak {summary['peak_bytes'] / 1e9:.2f} GB of {plan['worker_peak_bytes'] / 1e9:.2f} planned  "
        f"{summary['window_seconds']:.3f} s a window  {json.dumps(summary['seconds_by_stage'])}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upsampler", default="jbu_one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one_tile = [10.385, 43.70, 10.445, 43.735]
        keep = kernel(folder, given.upsampler, features="keep")
        summary = run(folder, "keep", keep, tile=2048, resolution=3, area=one_tile)
        tell("2048², features kept", summary)
        size = sum(file.stat().st_size for file in (folder / "keep/features.zarr").rglob("*") if file.is_file())
        print(f"features {size / 1e6:.1f} MB, {size / 1e3 / summary['km2']:.0f} kB a km² at 3 m", flush=True)
        tell("scored again", again(folder))
        tell("2048²", run(folder, "plain", kernel(folder, given.upsampler), tile=2048, resolution=3, area=one_tile))
        small = [10.39, 43.705, 10.42, 43.73]
        for tile in (512, 1024):
            tell(
                f"{tile}²",
                run(folder, str(tile), kernel(folder, given.upsampler), tile=tile, resolution=10, area=small),
            )
        pixels = same_pixels(mosaic(folder / "512"), mosaic(folder / "1024"))
        print(f"tiles of 512 and 1024: {pixels:,} pixels, the same bytes", flush=True)


if __name__ == "__main__":
    main()
