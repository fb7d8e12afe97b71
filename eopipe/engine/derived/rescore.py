"""Other words for a run that kept its window features: they are scored again, and nothing is encoded.

The new run has the same snapshot, grid, tiles and model. Pixels are read again, for an upsampler's guidance and for
what is valid; a window's features come from the other run's ``features.zarr``. In all else it is a run like any
other: planned, resumed, validated, published. Its recipe names what decided the features.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.canonical_json import digest
from eopipe.engine.output import run_json
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.plan.open import Opened, open_frozen
from eopipe.engine.plan.resolved_spec import resolve
from eopipe.engine.run import execute
from eopipe.engine.sources.kept_features import KeptFeatures
from eopipe.errors import SpecError
from eopipe.mosaic.features import read_layout
from eopipe.spec import KernelSpec, RunSpec, parse_spec
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.engine.display import Display
    from eopipe.engine.work.calibrate import Calibration
    from eopipe.spec import ClusterSpec

KEEPS = "features"
"""The option by which a kernel keeps features: what scores them again keeps none."""


@dataclass(frozen=True)
class Source:
    """A run whose features are scored again.

    Args:
        opened: As it was frozen.
        before: What was frozen.
        kept: Its features.
    """

    opened: Opened
    before: run_json.Frozen
    kept: KeptFeatures

    def options(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The kernel's options with some changed; every ``auto`` stays as it was frozen.

        Raises:
            SpecError: A changed option shapes the features, does not exist, or has a bad value.
        """
        job, changes = self.opened.job, _anchored(changes)
        if KEEPS in changes:
            raise SpecError(f"kernel.{KEEPS}: they are kept by {self.kept.storage.url()} and not again; leave it out")
        mine = {name: value for name, value in job.kernel.info.options.items() if name != KEEPS}
        kernel = resolve(job.spec, job.now, kernel_options={**mine, **changes}).kernel
        before, after = (_plain(info.options) for info in (job.kernel.info, kernel.info))
        features = job.kernel.info.features
        assert features is not None
        for name in after:
            if name not in {*features.free, KEEPS} and before.get(name) != after[name]:
                raise SpecError(
                    f"kernel.{name}: {after[name]!r} would change the features, which were made with "
                    f"{before.get(name)!r}; run the spec anew, or change only {', '.join(features.free)}"
                )
        return dict(kernel.info.options)


def open_source(uri: str) -> Source:
    """A run's kept features.

    Args:
        uri: Its folder or URL.

    Raises:
        SpecError: There is no run, or it keeps no features.
        WeightsError: They were made with other weights than those that are here: words would not suit them.
    """
    storage = Storage.open(uri)
    before = run_json.require(storage)
    opened, tiles = open_frozen(storage, before)
    if opened.job.kernel.info.features is None:
        raise SpecError(f"{storage.url()} keeps no window features; run its spec with kernel.features: keep")
    run_json.refuse_other_weights(before, opened.job.kernel.info, storage.url())
    done = Ledger(storage).done()
    kept = KeptFeatures(
        storage=storage,
        layout=read_layout(storage),
        tiles=frozenset(tile.tile for tile in tiles),
        done=frozenset(tile.tile for tile in tiles if tile.key in done),
        identity={"recipe": digest(before.recipe), "snapshot": opened.snapshot.hash},
    )
    return Source(opened, before, kept)


def open_rescore(source: Source, spec: RunSpec, options: Mapping[str, Any]) -> Opened:
    """Open the new output: resume it, or start it from what the source froze.

    Raises:
        SpecError: The output belongs to another spec, or to other features.
    """
    storage = Storage.open(spec.output_uri(source.before.now))
    job = resolve(spec, source.before.now, kernel_options=options)
    left = len(source.kept.tiles) - len(source.kept.done)
    note = f"{left} of {len(source.kept.tiles)} tiles of {source.kept.storage.url()} are not done: no features there"
    warnings = (*source.before.warnings, *([note] if left else []))
    before = run_json.load(storage)
    if before is not None:
        run_json.refuse_another(before, spec, storage.url())
        run_json.refuse_other_weights(before, job.kernel.info, storage.url())
        if before.recipe.get("features") != dict(source.kept.identity):
            raise SpecError(f"output {storage.url()} was made of other features; give another output")
    return Opened(storage, job, source.opened.snapshot, before, None, warnings, source.kept, source.before.tile)


def rescore(
    uri: str,
    changes: Mapping[str, Any],
    *,
    out: str | None,
    display: Display,
    cluster: ClusterSpec | None = None,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Score a run's kept features with other options, into a new output; or resume that.

    Args:
        uri: The run that kept them.
        changes: Options of the kernel, such as ``prompts``.
        out: The new output; a name beside the run's own, made of the changes, where None.
        display: Told of everything.
        cluster: What computes; None uses the current Client, or starts a local cluster.
        calibration: Known already; measured where None.

    Returns:
        The summary, as of a run.

    Raises:
        SpecError: Nothing was kept, an option shapes the features, or the output belongs to another run.
    """
    source, changes = open_source(uri), _anchored(changes)
    options = source.options(changes)
    tag = digest(sorted(run_json.ordered(_plain(changes))))[:8]
    spec = _spec(source, changes, out or f"{source.kept.storage.url().rstrip('/')}-{tag}")
    spec = spec.model_copy(update={"cluster": cluster})
    return execute(
        spec,
        display=display,
        now=source.before.now,
        allow_empty=True,
        calibration=calibration,
        opening=partial(open_rescore, source, spec, options),
    )


def _spec(source: Source, changes: Mapping[str, Any], out: str) -> RunSpec:
    """The run's spec as it would have been written for these options and this output."""
    written = json.loads(json.dumps(source.before.spec))
    kernel = {name: value for name, value in written["kernel"].items() if name != KEEPS}
    written["kernel"] = {**kernel, **_plain(changes)}
    written["output"] = {**written["output"], "uri": out}
    spec = parse_spec(written)
    if Storage.open(spec.output_uri(source.before.now)).url() == source.kept.storage.url():
        raise SpecError(f"output {out} is the run whose features are scored; give another one")
    return spec


def _anchored(changes: Mapping[str, Any]) -> dict[str, Any]:
    """With paths made absolute: workers, and who resumes, may stand in another folder."""
    spec = KernelSpec.model_validate({**changes, "name": ""})
    return {**changes, **spec.anchored(Path.cwd()).options()}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it: tuples are lists."""
    found: dict[str, Any] = json.loads(json.dumps(dict(options)))
    return found
