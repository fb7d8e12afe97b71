"""A trial: every place run, judged, and the same pixels judged by the baselines."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.engine.cluster import current_client, open_cluster
from eopipe.engine.finish.status import last_summary
from eopipe.engine.run import execute
from eopipe.evaluation.change.metrics import Figures
from eopipe.evaluation.change.mosaics import CHANGE, MapJudged, judge_map, read_array
from eopipe.evaluation.change.places.baselines import baselines
from eopipe.mosaic.store import read_layout
from eopipe.run_folder import MOSAIC
from eopipe.spec import ClusterSpec, parse_spec
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from eopipe.engine.display import Display
    from eopipe.engine.plan.model import Calibration
    from eopipe.evaluation.change.places.labelled import Place
    from eopipe.spec import RunSpec

TILE = 512
"""Pixels of a tile's side: labelled places are small, and a figure should see tiles' edges."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is tried.

    Args:
        out: Folder of the runs, one a place.
        kernel: Options of the change kernel, as a spec gives them.
        baselines: Whether these are judged too.
        workers: Local processes; None: this process's Dask client, or one a core.
    """

    out: Path
    kernel: Mapping[str, Any] = field(default_factory=dict)
    baselines: bool = True
    workers: int | None = None


@dataclass(frozen=True)
class PlaceJudged:
    """A place's outcome.

    Args:
        place: Which.
        output: The run's folder.
        status: The run's exit status; unless it is 0, nothing was judged.
        judged: Counts by method, the kernel's first.
    """

    place: Place
    output: str
    status: int
    judged: Mapping[str, MapJudged] = field(default_factory=dict)


def try_places(
    places: Sequence[Place],
    trial: Trial,
    *,
    display: Display,
    calibration: Calibration | None = None,
) -> list[PlaceJudged]:
    """Run and judge places, one after the other; those that were run before are judged only.

    Args:
        places: In order.
        trial: How.
        display: Told how each run goes, and what came out.
        calibration: Of the machine, where it is known; else it is measured once a run.

    Returns:
        An outcome a place. The first run that does not end well is the last one: its status says why.

    Raises:
        EopipeError: Everything a user can mend; the same command resumes.
    """
    found: list[PlaceJudged] = []
    with ExitStack() as stack:
        opened = False
        for place in places:
            begun = time.monotonic()
            spec = spec_of(place, trial)
            summary = last_summary(spec)
            if summary is None:
                if not opened:
                    cluster = stack.enter_context(open_cluster(_cluster(trial.workers)))
                    stack.enter_context(cluster.client.as_current())
                    opened = True
                summary = execute(spec, display=display, calibration=calibration)
            output, status = str(summary["output"]), int(summary["exit_status"])
            if status:
                return [*found, PlaceJudged(place, output, status)]
            judged = judge_place(place, output, beside=trial.baselines)
            found.append(PlaceJudged(place, output, status, judged))
            display.note(_line(place, judged, time.monotonic() - begun))
    return found


def judge_place(place: Place, output: str, *, beside: bool = True) -> dict[str, MapJudged]:
    """Judge a finished run, and the baselines on its pixels.

    Args:
        place: What it mapped.
        output: Its folder.
        beside: Whether the baselines are judged.

    Returns:
        Counts by method.
    """
    storage = Storage.open(output)
    layout = read_layout(storage)
    with storage.guard(MOSAIC):
        change = np.asarray(read_array(storage, layout)[:, :])
        maps = {CHANGE: change}
        if beside:
            maps |= baselines(place, storage, layout, change)
    return {name: judge_map(place.label, layout, array) for name, array in maps.items()}


def spec_of(place: Place, trial: Trial) -> RunSpec:
    """The run of a place: as anybody would write it, blocks, tiles, COGs and all."""
    kernel: dict[str, Any] = {"name": "change", **trial.kernel}
    return parse_spec(
        {
            "name": f"change-{place.name}",
            "area": list(place.area),
            "source": {
                "catalog": place.catalog,
                "collections": list(place.collections),
                "epochs": {"before": place.before, "after": place.after},
                "composite": "first",
            },
            "grid": {"crs": "utm", "resolution": 10, "tile": TILE},
            "kernel": kernel,
            "output": {"uri": str(trial.out.absolute() / place.name), "cog": True},
            "cluster": {"kind": "current"},
        }
    )


def _line(place: Place, judged: Mapping[str, MapJudged], seconds: float) -> str:
    told = (f"{method} {100 * Figures.of(each.confusion).f1:.1f} %" for method, each in judged.items())
    return f"{place.name}: F1 of {', '.join(told)}; {seconds:.0f} s"


def _cluster(workers: int | None) -> ClusterSpec:
    if workers is None and current_client() is not None:
        return ClusterSpec(kind="current")
    return ClusterSpec(kind="local", workers=workers)
