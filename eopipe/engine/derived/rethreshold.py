"""Another threshold for a run's map: its stored scores are cut again; no scene is read and no kernel loaded.

The new run has the same snapshot, grid and tiles, and every array of the other; only what follows from the score is
made anew. In all else it is a run like any other: resumed, validated, published. A tile is made only of one that is
done in the other and has the bytes that were recorded there: a tile that is not done there fails with that reason.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.engine.derived.rethreshold_preview import preview
from eopipe.engine.display import Display
from eopipe.engine.output import run_json
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.output.recipe import source_recipe, threshold_of
from eopipe.engine.plan.layouts import mosaic_layout
from eopipe.engine.plan.open import Opened, open_frozen, refuse_memory
from eopipe.engine.plan.resolved_spec import rethresholding
from eopipe.engine.run import execute
from eopipe.engine.sources.stored_scores import StoredScores
from eopipe.errors import SpecError
from eopipe.spec import is_url
from eopipe.storage import Storage

if TYPE_CHECKING:
    from eopipe.engine.plan.model import Calibration
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.kernels.protocol import Rethresholding
    from eopipe.spec import ClusterSpec, RunSpec


@dataclass(frozen=True)
class ScoredRun:
    """A run whose scores are cut again.

    Args:
        opened: As it was frozen.
        before: Its ``run.json``.
        tiles: All of its tiles.
        kernel: Its kernel, made, not loaded.
    """

    opened: Opened
    before: run_json.Frozen
    tiles: list[PlannedTile]
    kernel: Rethresholding

    @property
    def url(self) -> str:
        """Its output."""
        return self.opened.storage.url()

    def done(self) -> list[PlannedTile]:
        """Its tiles that are recorded."""
        keys = Ledger(self.opened.storage).done()
        return [tile for tile in self.tiles if tile.key in keys]

    def scores(self, threshold: int) -> StoredScores:
        """Its scores, cut at a threshold."""
        layout = mosaic_layout(self.opened.job, self.before.tile)
        return StoredScores(self.opened.storage, layout, self.before.recipe, threshold)

    def spec(self, out: str, threshold: int) -> RunSpec:
        """The run's spec with another output, and a name that ends in the threshold: STAC and COGs use it."""
        spec, former = self.opened.job.spec, threshold_of(self.before.recipe)
        name = spec.name if former is None else spec.name.removesuffix(f"-at-{former}")
        uri = out if is_url(out) else os.path.normpath(Path.cwd() / Path(out).expanduser())
        output = spec.output.model_copy(update={"uri": uri})
        return spec.model_copy(update={"name": f"{name}-at-{threshold}", "output": output})


def open_scored(uri: str) -> ScoredRun:
    """A run with its scores.

    Args:
        uri: Its folder or URL.

    Raises:
        SpecError: There is no run, it holds no score that can be cut again, or another version of its kernel made it.
    """
    storage = Storage.open(uri)
    before = run_json.require(storage)
    opened, (tiles, _) = open_frozen(storage, before)
    kernel = rethresholding(opened.job.kernel, storage.url())
    run_json.refuse_other_version(before, kernel.info, storage.url())
    return ScoredRun(opened, before, tiles, kernel)


def open_rethreshold(scored: ScoredRun, spec: RunSpec, threshold: int) -> Opened:
    """Open the new output: resume it, or start it from what the scored run froze; nothing is written.

    Raises:
        SpecError: The threshold is out of range; or the output is the scored run's, another run's, or in memory.
    """
    job = replace(scored.opened.job, spec=spec, kernel=scored.kernel.with_threshold(threshold))
    refuse_memory(spec, job.now)
    storage = Storage.open(spec.output_uri(job.now))
    if _address(storage) == _address(scored.opened.storage):
        raise SpecError(f"--to {storage.url()} is the run whose scores are cut; give another output")
    before = run_json.load(storage)
    if before is not None:
        _refuse_another(before, storage, scored=scored, threshold=threshold)
        run_json.refuse_another(before, spec, storage.url())
    left, total = len(scored.tiles) - len(scored.done()), len(scored.tiles)
    note = f"{left} of {total} tiles of {scored.url} are not done, and fail here: run that one to its end"
    warnings = (*scored.before.warnings, *([note] if left else []), *run_json.software_warnings(before))
    source, tile = scored.scores(threshold), scored.before.tile
    return Opened(storage, job, scored.opened.snapshot, before, None, warnings, tile=tile, source=source)


def rethreshold(
    out: str,
    *,
    to: str,
    at: int,
    display: Display | None = None,
    cluster: ClusterSpec | None = None,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Cut a change run's ``change_score`` at another threshold, into a new output; or resume that.

    No kernel runs, no scene is read, no weights are loaded. Every other array is the source's, byte for byte; at 100
    ``change`` is too. A tile that the source has not done fails with ``source.not_done``: run that one to its end,
    and this again.

    Args:
        out: Folder or URL of the run.
        to: The new output, which becomes a run like any other.
        at: From which ``change_score`` on a pixel counts as changed: hundredths of the threshold of its place, 1 to
            250; 100 is the map as it was, less finds more.
        display: Shows progress; silent where None.
        cluster: Where to compute; None uses the current Client, or starts a local cluster.
        calibration: Figures of a worker, if known already; measured where None.

    Returns:
        The summary, as of :func:`eopipe.run`; ``exit_status`` 3 where tiles failed.

    Raises:
        SpecError: There is no such run, it holds no score that can be cut again, the threshold is out of range, or
            the new output holds another run.
    """
    scored, display = open_scored(out), display or Display()
    spec = scored.spec(to, at)
    open_rethreshold(scored, spec, at)  # refuses before the preview reads tiles
    display.note(preview(scored.scores(at), scored.kernel, scored.done()))
    return execute(
        spec.model_copy(update={"cluster": cluster}),
        display=display,
        now=scored.before.now,
        allow_empty=True,
        calibration=calibration,
        opening=partial(open_rethreshold, scored, spec, at),
    )


def _refuse_another(before: run_json.Frozen, storage: Storage, *, scored: ScoredRun, threshold: int) -> None:
    """Only a run that was cut from this one, and at this threshold, is resumed."""
    same = source_recipe(before.recipe) == scored.before.recipe
    if not same or run_json.current_snapshot(storage) != scored.opened.snapshot.hash:
        raise SpecError(f"--to {storage.url()} holds a run that was not made of {scored.url}; give another output")
    former = threshold_of(before.recipe)
    if former != threshold:
        raise SpecError(
            f"--to {storage.url()} was cut at {former}, and --at is {threshold}; give another output, or "
            f"--at {former}"
        )


def _address(storage: Storage) -> str:
    """Of a folder; a local one with links followed, so that two names of it are one."""
    local = storage.local_path("")
    return storage.url().rstrip("/") if local is None else os.path.realpath(local)
