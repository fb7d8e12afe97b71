"""Chaos: kill a random process of a run at a random moment, again and again, until it is done; compare the bytes.

Run: ``python -m tests.invariants.kill_loop --rounds 5 --seed 1``. Each round starts from nothing; every start is
killed after ``--shortest`` to ``--longest`` seconds (the driver, a worker, or all at once), the last is left alone.
The mosaic's arrays, the ledger's checksums, the objects and the STAC items must equal an undisturbed run's.
``--map change`` and ``--map objects`` do it to change runs, statistics and vectors included.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.support.runs import mosaic, pisa, records, same_pixels


def start(spec: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "eopipe.cli", "run", str(spec), "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_something(process: subprocess.Popen, rng: random.Random) -> str:
    """Kill the driver, one of its children, or everything."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return "nothing (it had ended)"
    what = rng.choice(["driver", "worker", "all"])
    victims = {"driver": [], "worker": children[-1:], "all": children}[what]
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    if what != "worker":
        process.kill()
    process.wait(timeout=120)
    for child in children:  # orphans of a killed driver end by themselves; do not let rounds pile up
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    return what


def written(what: str, out: Path) -> dict:
    """The spec of a run."""
    cluster = {"kind": "local", "workers": 2}
    document = pisa(out, cluster=cluster, output={"uri": str(out), "cog": True}, grid__resolution=5)
    if what != "land-cover":
        document["source"] |= {"epochs": {"before": "2015", "after": "2018"}}
        del document["source"]["datetime"]
        document["grid"]["resolution"] = 10
        stages = {"instantiation": "felzenszwalb-spectral", "prompts": ["construction"], "window": 256}
        document["kernel"] = {"name": "change", **(stages if what == "objects" else {})}
    return document


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file that a map and its vectors are made of."""
    places = ("mosaic.zarr/*/*/c/**/*", "objects/*", "objects.parquet", "statistics/*/*.json", "cog/*")
    paths = (path for place in places for path in folder.glob(place) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def one_round(
    folder: Path, undisturbed: Path, rng: random.Random, *, what: str, kills: int, moments: tuple[float, float]
) -> None:
    spec, out = folder / "spec.json", folder / "out"
    spec.write_text(json.dumps(written(what, out)))
    recorded: dict[str, str] = {}
    for _ in range(kills):
        process = start(spec)
        time.sleep(rng.uniform(*moments))
        killed = kill_something(process, rng)
        now = {name: record["finished"] for name, record in records(out).items()}
        assert all(now.get(name) == moment for name, moment in recorded.items()), "a recorded tile was done twice"
        recorded = now
        print(f"  killed {killed}: {len(now)} tiles recorded", flush=True)
    assert (
        subprocess.run(
            [sys.executable, "-m", "eopipe.cli", "run", str(spec), "--json"], check=False, capture_output=True
        ).returncode
        == 0
    )
    assert (
        subprocess.run(
            [sys.executable, "-m", "eopipe.cli", "validate", str(out)], check=False, capture_output=True
        ).returncode
        == 0
    )
    if what == "land-cover":
        same_pixels(mosaic(undisturbed), mosaic(out))
    assert bytes_of(out) == bytes_of(undisturbed)
    for name, record in records(undisturbed).items():
        assert records(out)[name]["checksums"] == record["checksums"]
    names = {path.name for path in (undisturbed / "stac").rglob("*.json")}
    assert {path.name for path in (out / "stac").rglob("*.json")} == names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--map", choices=["land-cover", "change", "objects"], default="land-cover")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--shortest", type=float, default=12.0)
    parser.add_argument("--longest", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        undisturbed = Path(scratch) / "undisturbed" / "out"
        undisturbed.parent.mkdir()
        spec = undisturbed.parent / "spec.json"
        spec.write_text(json.dumps(written(options.map, undisturbed)))
        assert start(spec).wait() == 0
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", flush=True)
            folder = Path(scratch) / str(number)
            folder.mkdir()
            moments = (options.shortest, options.longest)
            one_round(folder, undisturbed, rng, what=options.map, kills=options.kills, moments=moments)
    print(f"{options.rounds} rounds, {options.rounds * options.kills} kills: the same bytes each time")


if __name__ == "__main__":
    main()
