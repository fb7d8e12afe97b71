"""Runs of labelled places: each place is mapped, and its map is judged beside the baselines on the same pixels."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.engine.cluster import current_client, open_cluster
from eopipe.engine.finish.status import last_summary
from eopipe.engine.run import execute
from eopipe.evaluation.change.metrics import ChangeMetrics
from eopipe.evaluation.change.mosaics import CHANGE, MapCounts, judge_map, read_array
from eopipe.evaluation.change.places.baselines import baselines
from eopipe.mosaic.store import read_layout
from eopipe.run_folder import MOSAIC
from eopipe.spec import ClusterSpec, parse_spec
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.engine.display import Display
    from eopipe.engine.plan.model import Calibration
    from eopipe.evaluation.change.command import ChangeRequest
    from eopipe.evaluation.change.places.labelled import LabelledPlace
    from eopipe.spec import RunSpec

TILE = 512
"""Side of a tile, pixels: labelled places are small, and their figures should include the edges of tiles."""


@dataclass(frozen=True)
class PlaceResult:
    """Outcome of a place.

    Args:
        place: The place.
        output: The run's folder.
        status: The run's exit status; unless it is 0, nothing was judged.
        counts: Counts by method, the kernel's first.
    """

    place: LabelledPlace
    output: str
    status: int
    counts: Mapping[str, MapCounts] = field(default_factory=dict)

    def scores(self) -> dict[str, float]:
        """F1 by method."""
        return {method: ChangeMetrics.of(counts.confusion).f1 for method, counts in self.counts.items()}


def judge_places(
    places: Sequence[LabelledPlace],
    request: ChangeRequest,
    *,
    display: Display,
    calibration: Calibration | None = None,
) -> list[PlaceResult]:
    """Run and judge places, one after the other; a complete run is not started again, only judged.

    Args:
        places: In order.
        request: ``out`` holds the runs, one a place; ``options`` are the kernel's. Without ``workers`` the current
            Dask client computes, or one process a core.
        display: Shows the progress of each run and the metrics.
        calibration: Speed of this machine; None: measured by each run.

    Returns:
        An outcome a place. The first run with an exit status other than 0 is the last one.

    Raises:
        EopipeError: The same command resumes.
    """
    results: list[PlaceResult] = []
    with ExitStack() as stack:
        opened = False
        for place in places:
            begun = time.monotonic()
            spec = place_spec(place, request)
            summary = last_summary(spec)
            if summary is None:
                if not opened:
                    cluster = stack.enter_context(open_cluster(_cluster(request.workers)))
                    stack.enter_context(cluster.client.as_current())
                    opened = True
                summary = execute(spec, display=display, calibration=calibration)
            output, status = str(summary["output"]), int(summary["exit_status"])
            if status:
                return [*results, PlaceResult(place, output, status)]
            counts = judge_place(place, output, with_baselines=request.baselines)
            results.append(PlaceResult(place, output, status, counts))
            texts = (f"{method} {100 * f1:.1f} %" for method, f1 in results[-1].scores().items())
            display.note(f"{place.name}: F1 of {', '.join(texts)}; {time.monotonic() - begun:.0f} s")
    return results


def judge_place(place: LabelledPlace, output: str, *, with_baselines: bool = True) -> dict[str, MapCounts]:
    """Judge a finished run, and the baselines on its pixels.

    Args:
        place: The place.
        output: Folder of its run.
        with_baselines: Whether the baselines are judged.

    Returns:
        Counts by method.
    """
    storage = Storage.open(output)
    layout = read_layout(storage)
    with storage.guard(MOSAIC):
        change = np.asarray(read_array(storage, layout)[:, :])
        maps = {CHANGE: change}
        if with_baselines:
            maps |= baselines(place, storage, layout, change)
    return {name: judge_map(place.label, layout, array) for name, array in maps.items()}


def place_spec(place: LabelledPlace, request: ChangeRequest) -> RunSpec:
    """The run spec of a place: an ordinary run with tiles, statistics and COGs."""
    assert request.out is not None
    kernel: dict[str, Any] = {"name": "change", **request.options}
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
            "output": {"uri": str(request.out.absolute() / place.name), "cog": True},
            "cluster": {"kind": "current"},
        }
    )


def _cluster(workers: int | None) -> ClusterSpec:
    if workers is None and current_client() is not None:
        return ClusterSpec(kind="current")
    return ClusterSpec(kind="local", workers=workers)
