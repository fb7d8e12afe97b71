"""Another threshold for a run's map: its stored scores are cut again, and no scene, kernel or weight is asked.

The new run has the same snapshot, grid and tiles, and every array of the other; only what follows from the score is
made anew. In all else it is a run like any other: resumed, validated, published. A tile is made only of one that is
done in the other and has the bytes that were recorded there: what is not done there fails here, with that reason.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.engine.derived.rethreshold_preview import outlook
from eopipe.engine.display import Quiet
from eopipe.engine.output import run_json
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.plan.layouts import mosaic_layout
from eopipe.engine.plan.open import Opened, open_frozen, refuse_memory
from eopipe.engine.run import execute
from eopipe.engine.sources.stored_scores import RECIPE, ScoredRun, at_of, rethresholding
from eopipe.errors import SpecError
from eopipe.spec import is_url
from eopipe.storage import Storage

if TYPE_CHECKING:
    from eopipe.engine.display import Display
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.work.calibrate import Calibration
    from eopipe.kernels.protocol import Rethresholding
    from eopipe.spec import ClusterSpec, RunSpec


@dataclass(frozen=True)
class Source:
    """A run whose scores are cut again.

    Args:
        opened: As it was frozen.
        before: What was frozen.
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

    def spec(self, out: str, at: int) -> RunSpec:
        """The run's spec with another output, and a name that tells the threshold: STAC and COGs go by it."""
        spec, cut = self.opened.job.spec, at_of(self.before.recipe)
        name = spec.name if cut is None else spec.name.removesuffix(f"-at-{cut}")
        uri = out if is_url(out) else os.path.normpath(Path.cwd() / Path(out).expanduser())
        output = spec.output.model_copy(update={"uri": uri})
        return spec.model_copy(update={"name": f"{name}-at-{at}", "output": output})


def open_source(uri: str) -> Source:
    """A run with its scores.

    Args:
        uri: Its folder or URL.

    Raises:
        SpecError: There is no run, it holds no score that can be cut again, or another version of its kernel made it.
    """
    storage = Storage.open(uri)
    before = run_json.require(storage)
    opened, tiles = open_frozen(storage, before)
    kernel = rethresholding(opened.job.kernel, storage.url())
    run_json.refuse_other_version(before, kernel.info, storage.url())
    return Source(opened, before, tiles, kernel)


def open_cut(source: Source, spec: RunSpec, at: int) -> Opened:
    """Open the new output: resume it, or start it from what the source froze; nothing is written.

    Raises:
        SpecError: The threshold is out of range, or the output is the source's, holds another run, or is in memory.
    """
    job = replace(source.opened.job, spec=spec, kernel=source.kernel.with_threshold(at))
    refuse_memory(spec, job.now)
    storage, tile = Storage.open(spec.output_uri(job.now)), source.before.tile
    if _place(storage) == _place(source.opened.storage):
        raise SpecError(f"--to {storage.url()} is the run whose scores are cut; give another output")
    scored = ScoredRun(source.opened.storage, mosaic_layout(source.opened.job, tile), source.before.recipe, at)
    before = run_json.load(storage)
    if before is not None:
        _refuse_another(before, storage, source=source, scored=scored)
        run_json.refuse_another(before, spec, storage.url())
    left = len(source.tiles) - len(_done(source))
    note = f"{left} of {len(source.tiles)} tiles of {source.url} are not done, and fail here: run that one to its end"
    warnings = (*source.before.warnings, *([note] if left else []))
    return Opened(storage, job, source.opened.snapshot, before, None, warnings, tile=tile, scored=scored)


def rethreshold(
    out: str,
    *,
    to: str,
    at: int,
    display: Display | None = None,
    cluster: ClusterSpec | None = None,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Cut a change run's ``change_score`` elsewhere, into a new output; or resume that.

    No kernel runs, no scene is read, no weights are loaded. Every other array is the source's, byte for byte; at 100
    ``change`` is too. A tile that the source has not done fails with ``source.not_done``: run that one to its end,
    and this again.

    Args:
        out: Folder or URL of the run.
        to: The new output, which becomes a run like any other.
        at: From which ``change_score`` on a pixel counts as changed: hundredths of the threshold of its place, 1 to
            250; 100 is the map as it was, less finds more.
        display: Told how it goes; silent where None.
        cluster: What computes; None uses the current Client, or starts a local cluster.
        calibration: Known already; measured where None.

    Returns:
        The summary, as of :func:`eopipe.run`; ``exit_status`` 3 where tiles failed.

    Raises:
        SpecError: There is no such run, it holds no score that can be cut again, the threshold is out of range, or
            the new output holds another run.
    """
    source, display = open_source(out), display or Quiet()
    spec = source.spec(to, at)
    opened = open_cut(source, spec, at)
    assert opened.scored is not None
    display.note(outlook(opened.scored, source.kernel, _done(source), at=at))
    return execute(
        spec.model_copy(update={"cluster": cluster}),
        display=display,
        now=source.before.now,
        allow_empty=True,
        calibration=calibration,
        opening=partial(open_cut, source, spec, at),
    )


def _refuse_another(before: run_json.Frozen, storage: Storage, *, source: Source, scored: ScoredRun) -> None:
    """Only what was cut of this run, and at this threshold, is resumed."""
    at, found = scored.at, at_of(before.recipe)
    same = found is not None and before.recipe[RECIPE]["source"] == source.before.recipe
    if not same or run_json.current_snapshot(storage) != source.opened.snapshot.hash:
        raise SpecError(f"--to {storage.url()} holds a run that was not made of {source.url}; give another output")
    if found != at:
        raise SpecError(
            f"--to {storage.url()} was cut at {found}, and --at is {at}; give another output, or --at {found}"
        )


def _place(storage: Storage) -> str:
    """Its address; of a folder here with links followed, so that two names of it are one."""
    local = storage.local_path("")
    return storage.url().rstrip("/") if local is None else os.path.realpath(local)


def _done(source: Source) -> list[PlannedTile]:
    done = Ledger(source.opened.storage).done()
    return [tile for tile in source.tiles if tile.key in done]
