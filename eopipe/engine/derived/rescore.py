"""Other prompts for a run that kept its window features: they are scored again, and nothing is encoded.

The new run has the same snapshot, grid, tiles and model. Pixels are read again, for an upsampler's guidance and for
their validity; a window's features come from the other run's ``features.zarr``. In all else it is a run like any
other: planned, resumed, validated, published. Its recipe names the features' own recipe and snapshot.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.canonical_json import digest
from eopipe.engine.output import run_json
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.plan.open import Opened, open_frozen
from eopipe.engine.plan.radiometry_survey import Survey, files_in
from eopipe.engine.plan.resolved_spec import resolve
from eopipe.engine.run import execute
from eopipe.engine.sources.kept_features import StoredFeatures
from eopipe.errors import SpecError
from eopipe.mosaic.features import read_layout
from eopipe.spec import KernelSpec, RunSpec, parse_spec
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.engine.display import Display
    from eopipe.engine.plan.model import Calibration
    from eopipe.spec import ClusterSpec

FEATURES = "features"
"""The option by which a kernel keeps features: a run that scores them again keeps none."""


def open_features(uri: str) -> tuple[Opened, StoredFeatures]:
    """A run that kept its features, and these.

    Args:
        uri: Its folder or URL.

    Raises:
        SpecError: There is no run, or it keeps no features.
        WeightsError: They were made with other weights than the present ones: prompts would not suit them.
    """
    storage = Storage.open(uri)
    before = run_json.require(storage)
    opened, (tiles, _) = open_frozen(storage, before)
    if opened.job.kernel.info.features is None:
        raise SpecError(f"{storage.url()} keeps no window features; run its spec with kernel.features: keep")
    run_json.refuse_other_weights(before, opened.job.kernel.info, storage.url())
    done = Ledger(storage).done()
    features = StoredFeatures(
        storage=storage,
        layout=read_layout(storage),
        tiles=frozenset(tile.tile for tile in tiles),
        done=frozenset(tile.tile for tile in tiles if tile.key in done),
        identity={"recipe": digest(before.recipe), "snapshot": opened.snapshot.hash},
    )
    return opened, features


def changed_options(original: Opened, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The kernel's options with some changed; every ``auto`` stays as it was frozen.

    Args:
        original: The run that kept its features.
        changes: Options of the kernel.

    Raises:
        SpecError: A changed option shapes the features, does not exist, or has a bad value.
    """
    job, changes = original.job, _anchored(changes)
    if FEATURES in changes:
        raise SpecError(f"kernel.{FEATURES}: they are kept by {original.storage.url()} and not again; leave it out")
    frozen = {name: value for name, value in job.kernel.info.options.items() if name != FEATURES}
    kernel = resolve(job.spec, job.now, kernel_options={**frozen, **changes}).kernel
    before, after = (_plain(info.options) for info in (job.kernel.info, kernel.info))
    features = job.kernel.info.features
    assert features is not None
    for name in after:
        if name not in {*features.free, FEATURES} and before.get(name) != after[name]:
            raise SpecError(
                f"kernel.{name}: {after[name]!r} would change the features, which were made with "
                f"{before.get(name)!r}; run the spec anew, or change only {', '.join(features.free)}"
            )
    return dict(kernel.info.options)


def open_rescore(original: Opened, features: StoredFeatures, spec: RunSpec, options: Mapping[str, Any]) -> Opened:
    """Open the new output: resume it, or start it from what the original froze.

    Raises:
        SpecError: The output belongs to another spec, or to other features.
    """
    now, frozen = original.job.now, original.before
    assert frozen is not None
    storage = Storage.open(spec.output_uri(now))
    job = resolve(spec, now, kernel_options=options)
    left, total = len(features.tiles) - len(features.done), len(features.tiles)
    note = f"{left} of {total} tiles of {features.storage.url()} are not done: no features there"
    before = run_json.load(storage)
    if before is not None:
        run_json.refuse_another(before, spec, storage.url())
        run_json.refuse_other_weights(before, job.kernel.info, storage.url())
        if before.recipe.get("features") != dict(features.identity):
            raise SpecError(f"output {storage.url()} was made of other features; give another output")
    warnings = (*frozen.warnings, *([note] if left else []), *run_json.software_warnings(before))
    facts = Survey(files=tuple(files_in(frozen.recipe)))
    return Opened(
        storage, job, original.snapshot, before, None, warnings, tile=frozen.tile, source=features, survey=facts
    )


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
        display: Shows progress.
        cluster: Where to compute; None uses the current Client, or starts a local cluster.
        calibration: Figures of a worker, if known already; measured where None.

    Returns:
        The summary, as of a run.

    Raises:
        SpecError: Nothing was kept, an option shapes the features, or the output belongs to another run.
    """
    (original, features), changes = open_features(uri), _anchored(changes)
    options = changed_options(original, changes)
    tag = digest(sorted(run_json.ordered(_plain(changes))))[:8]
    spec = _spec(original, changes, out or f"{original.storage.url().rstrip('/')}-{tag}")
    spec = spec.model_copy(update={"cluster": cluster})
    return execute(
        spec,
        display=display,
        now=original.job.now,
        allow_empty=True,
        calibration=calibration,
        opening=partial(open_rescore, original, features, spec, options),
    )


def _spec(original: Opened, changes: Mapping[str, Any], out: str) -> RunSpec:
    """The original's spec as it would have been written for these options and this output."""
    assert original.before is not None
    written = json.loads(json.dumps(original.before.spec))
    kernel = {name: value for name, value in written["kernel"].items() if name != FEATURES}
    written["kernel"] = {**kernel, **_plain(changes)}
    written["output"] = {**written["output"], "uri": out}
    spec = parse_spec(written)
    if Storage.open(spec.output_uri(original.job.now)).url() == original.storage.url():
        raise SpecError(f"output {out} is the run whose features are scored; give another one")
    return spec


def _anchored(changes: Mapping[str, Any]) -> dict[str, Any]:
    """With paths made absolute: workers and later starts may have another current folder."""
    spec = KernelSpec.model_validate({**changes, "name": ""})
    return {**changes, **spec.anchored(Path.cwd()).options()}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it: tuples are lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(options)))
    return plain
