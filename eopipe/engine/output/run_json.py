"""``run.json``: what a run froze at its start, and the guard against another spec on the same output."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from eopipe import run_folder
from eopipe.canonical_json import canonical_json, digest
from eopipe.engine.output.recipe import threshold_of
from eopipe.errors import DamageError, SpecError, WeightsError
from eopipe.redact import unsign_document
from eopipe.spec import RunSpec
from eopipe.text import cut
from eopipe.versions import __version__, changes, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.kernelinfo import KernelInfo
    from eopipe.storage import Storage

_VERSION = re.compile(r"/(\d+)\.json$")


@dataclass(frozen=True)
class Derived:
    """What a run was made of instead of scenes.

    Args:
        by: The command that made it: ``rescore`` or ``rethreshold``.
        source: The output that it was made of.
    """

    by: str
    source: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Derived | None:
        """As ``run.json`` states it; ``rescored`` was the key while ``rescore`` was the only such command."""
        if "rescored" in document:
            return cls("rescore", document["rescored"])
        stated = document.get("derived")
        return None if stated is None else cls(stated["by"], stated["from"])


@dataclass(frozen=True)
class Frozen:
    """What ``run.json`` holds; immutable once written.

    Args:
        spec: As :func:`plain_spec` gives it.
        now: What relative dates were measured from.
        tile: Side of a tile, grid pixels.
        crs: The grid's, resolved.
        kernel_options: Complete, ``auto`` resolved.
        recipe: The tile recipe.
        area: GeoJSON.
        versions: Packages.
        warnings: Those of the plan that was frozen.
        words: How near each prompt is to the kernel's taught vocabulary, where it has one.
        derived: The run that it was made of; None where it maps scenes.
    """

    spec: dict[str, Any]
    now: datetime
    tile: int
    crs: str
    kernel_options: dict[str, Any]
    recipe: dict[str, Any]
    area: dict[str, Any]
    versions: dict[str, str]
    warnings: tuple[str, ...] = ()
    words: tuple[dict[str, Any], ...] = ()
    derived: Derived | None = None

    def to_bytes(self) -> bytes:
        """JSON, indented for people."""
        document = {
            "eopipe": __version__,
            "spec": self.spec,
            "now": self.now.isoformat(),
            "resolved": {"tile": self.tile, "crs": self.crs, "kernel": self.kernel_options, "area": self.area},
            "recipe": self.recipe,
            "recipe_hash": digest(self.recipe),
            "versions": self.versions,
            "warnings": list(self.warnings),
            **({"words": list(self.words)} if self.words else {}),
            **({"derived": {"by": self.derived.by, "from": self.derived.source}} if self.derived is not None else {}),
        }
        return json.dumps(document, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Frozen:
        """Parse ``run.json``.

        Raises:
            DamageError: It is not what a run writes.
        """
        remedy = "restore it, or start a new output"
        try:
            document = json.loads(data)
            resolved = document["resolved"]
            frozen = cls(
                spec=document["spec"],
                now=datetime.fromisoformat(document["now"]),
                tile=resolved["tile"],
                crs=resolved["crs"],
                kernel_options=resolved["kernel"],
                recipe=document["recipe"],
                area=resolved["area"],
                versions=document["versions"],
                warnings=tuple(document["warnings"]),
                words=tuple(document.get("words", ())),
                derived=Derived.of(document),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DamageError(f"{where} is damaged ({type(error).__name__}: {error}); {remedy}") from None
        if digest(frozen.recipe) != document.get("recipe_hash"):
            raise DamageError(f"{where} is damaged: its recipe does not have its hash; {remedy}")
        return frozen

    def run_spec(self) -> RunSpec:
        """The spec, parsed again (no cluster); files that it names need not exist any more.

        Raises:
            DamageError: It is no valid spec.
        """
        try:
            return RunSpec.model_validate(self.spec)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "spec"
            raise DamageError(
                f"{run_folder.RUN} is damaged: its spec has a bad {key} ({first['msg']}); restore it, or start a new "
                f"output"
            ) from None


def software_warnings(frozen: Frozen | None) -> list[str]:
    """A line that names the packages whose versions changed since a run began, which goes on; none of a new run."""
    changed = [] if frozen is None else changes(frozen.versions, versions())
    line = (
        f"packages changed since this run began ({', '.join(changed)}): tiles mapped from now on may differ in bytes "
        f"from those that are done; install the former versions to keep them equal"
    )
    return [line] if changed else []


def load(storage: Storage) -> Frozen | None:
    """A folder's ``run.json``; None where no run has started.

    Raises:
        DamageError: It is damaged.
    """
    try:
        data = storage.get(run_folder.RUN)
    except FileNotFoundError:
        return None
    return Frozen.from_bytes(data, storage.url(run_folder.RUN))


def require(storage: Storage) -> Frozen:
    """A folder's ``run.json``, for commands that need a run.

    Raises:
        SpecError: No run has started there.
        DamageError: ``run.json`` is damaged.
    """
    frozen = load(storage)
    if frozen is None:
        raise SpecError(f"{storage.url()} holds no run ({run_folder.RUN} is missing); give the output of eopipe run")
    return frozen


def refuse_another(frozen: Frozen, spec: RunSpec, where: str) -> None:
    """A run resumes only its own spec (less ``cluster``).

    Raises:
        SpecError: Naming the first key that differs.
    """
    now, before = _with_order(plain_spec(spec)), _with_order(frozen.spec)
    if canonical_json(now) != canonical_json(before):
        raise SpecError(
            f"output {where} belongs to another spec: {first_difference(before, now)} differs; give this spec "
            f"another output.uri, or resume with the spec in {where.rstrip('/')}/{run_folder.RUN}"
        )


def refuse_derived(frozen: Frozen, where: str) -> None:
    """A run that was made of another is resumed by the command that made it.

    Raises:
        SpecError: With that command.
    """
    if frozen.derived is None:
        return
    by, source, threshold = frozen.derived.by, frozen.derived.source, threshold_of(frozen.recipe)
    options = f"{source} and its options" if threshold is None else f"{source} --to {where} --at {threshold}"
    raise SpecError(
        f"output {where} was made of {source}, not of scenes; resume it with eopipe {by} {options}, "
        f"or give another output"
    )


def refuse_other_weights(frozen: Frozen, info: KernelInfo, where: str) -> None:
    """A run's tiles are all made by one kernel version with one set of weights.

    Raises:
        WeightsError: A file has another sha256 than it had.
        SpecError: The kernel has another version.
    """
    before = frozen.recipe["kernel"]
    for name, sha256 in info.weights.items():
        if (stated := before["weights"].get(name)) != sha256:
            former = f"sha256 {stated}" if stated else f"other files ({', '.join(before['weights']) or 'none'})"
            raise WeightsError(
                f"output {where} was made with {former}, and {name} now has sha256 {sha256}; "
                f"put the former file back, or give another output"
            )
    refuse_other_version(frozen, info, where)


def refuse_other_version(frozen: Frozen, info: KernelInfo, where: str) -> None:
    """Another version of a kernel may give other bytes.

    Raises:
        SpecError: It has another.
    """
    before = frozen.recipe["kernel"]
    if before["version"] != info.version:
        raise SpecError(
            f"output {where} was made by version {before['version']} of {info.name}, and this is {info.version}; "
            f"use the eopipe that began it, or give another output"
        )


def ordered(value: Any) -> Any:
    """A JSON value with mappings as lists of pairs, so that their order counts: a kernel's codes follow it."""
    if isinstance(value, dict):
        return [[name, ordered(item)] for name, item in value.items()]
    return [ordered(item) for item in value] if isinstance(value, list) else value


def _with_order(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "kernel": {name: ordered(value) for name, value in spec.get("kernel", {}).items()}}


def plain_spec(spec: RunSpec) -> dict[str, Any]:
    """The spec as written, less ``cluster`` and the secrets in its addresses (a resumed run may have others)."""
    plain = unsign_document(spec.as_written())
    assert isinstance(plain, dict)
    return plain


def write_version(storage: Storage, number: int, snapshot_hash: str, note: str) -> None:
    """``versions/<n>.json``: which snapshot is current, and what changed."""
    document = {
        "version": number,
        "snapshot": snapshot_hash,
        "created": datetime.now(UTC).isoformat(),
        "change": note,
    }
    storage.put(run_folder.version(number), json.dumps(document, indent=1).encode())


def current_snapshot(storage: Storage) -> str:
    """Hash of the current snapshot: that of the highest version.

    Raises:
        DamageError: No version is recorded, or the last one is damaged.
    """
    paths = storage.list(f"{run_folder.VERSIONS}/")
    numbers = [int(match[1]) for path in paths if (match := _VERSION.search(path))]
    if not numbers:
        raise DamageError(f"{storage.url(run_folder.VERSIONS)} is empty; restore it, or start a new output")
    path = run_folder.version(max(numbers))
    try:
        return str(json.loads(storage.get(path))["snapshot"])
    except (ValueError, KeyError, TypeError):
        raise DamageError(
            f"{storage.url(path)} is damaged: it names no snapshot; restore it, or start a new output"
        ) from None


def first_difference(before: Any, now: Any, key: str = "") -> str:
    """Where two JSON values differ first, with both values: ``grid.crs (was …, now …)``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*now, *(name for name in before if name not in now)]:
            if now.get(name) != before.get(name):
                return first_difference(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    was, given = (cut(json.dumps(value, ensure_ascii=False), 60) for value in (before, now))
    return f"{key} (was {was}, now {given})"
