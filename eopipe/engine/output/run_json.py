"""``run.json``: what a run froze at its start, and the guard against another spec on the same output."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from eopipe import __version__, run_folder
from eopipe.canonical_json import canonical_json, digest
from eopipe.errors import DamageError, SpecError, WeightsError
from eopipe.redact import unsign_document
from eopipe.spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.kernel_info import KernelInfo
    from eopipe.storage import Storage

_VERSION = re.compile(r"/(\d+)\.json$")
_PACKAGES = ("dask", "distributed", "numpy", "torch", "zarr", "rasterio", "xarray", "odc-geo", "pystac-client")


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
        """As ``run.json`` says it; ``rescored`` is how it said so before there was another command."""
        if "rescored" in document:
            return cls("rescore", document["rescored"])
        found = document.get("derived")
        return None if found is None else cls(found["by"], found["from"])


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
        warnings: What was said at the start.
        words: How near each prompt was to what the kernel was taught, where it can tell.
        derived: What it was made of, None where it maps scenes.
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
        try:
            found = json.loads(data)
            resolved = found["resolved"]
            frozen = cls(
                spec=found["spec"],
                now=datetime.fromisoformat(found["now"]),
                tile=resolved["tile"],
                crs=resolved["crs"],
                kernel_options=resolved["kernel"],
                recipe=found["recipe"],
                area=resolved["area"],
                versions=found["versions"],
                warnings=tuple(found["warnings"]),
                words=tuple(found.get("words", ())),
                derived=Derived.of(found),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DamageError(
                f"{where} is damaged ({type(error).__name__}: {error}); restore it, or start a new output"
            ) from None
        if digest(frozen.recipe) != found.get("recipe_hash"):
            raise DamageError(
                f"{where} is damaged: its recipe does not have its hash; restore it, or start a new output"
            )
        return frozen

    def run_spec(self) -> RunSpec:
        """The spec, parsed again (no cluster); nothing that it names need still be there.

        Raises:
            DamageError: It is none.
        """
        try:
            return RunSpec.model_validate(self.spec)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "spec"
            said = f"its spec has a bad {key} ({first['msg']})"
            raise DamageError(f"{run_folder.RUN} is damaged: {said}; restore it, or start a new output") from None


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
    """A folder's ``run.json``, for commands that need a run to be there.

    Raises:
        SpecError: No run has started there.
        DamageError: ``run.json`` is damaged.
    """
    found = load(storage)
    if found is None:
        raise SpecError(f"{storage.url()} holds no run ({run_folder.RUN} is missing); give the output of eopipe run")
    return found


def refuse_another(frozen: Frozen, spec: RunSpec, where: str) -> None:
    """A run resumes only its own spec (less ``cluster``).

    Raises:
        SpecError: Naming the first key that differs.
    """
    mine, theirs = _with_order(plain_spec(spec)), _with_order(frozen.spec)
    if canonical_json(mine) == canonical_json(theirs):
        return
    key = first_difference(mine, theirs)
    raise SpecError(
        f"output {where} belongs to another spec: {key} differs; give this spec another output.uri, "
        f"or resume with the spec in {where.rstrip('/')}/{run_folder.RUN}"
    )


def refuse_other_weights(frozen: Frozen, info: KernelInfo, where: str) -> None:
    """What a run made, its own weights and kernel made: with others it would begin anew among its own tiles.

    Raises:
        WeightsError: A file has another sha256 than it had.
        SpecError: The kernel has another version.
    """
    before = frozen.recipe["kernel"]
    for name, found in info.weights.items():
        if (stated := before["weights"].get(name)) != found:
            was = f"sha256 {stated}" if stated else f"other files ({', '.join(before['weights']) or 'none'})"
            raise WeightsError(
                f"output {where} was made with {was}, and {name} now has sha256 {found}; "
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
        return [[name, ordered(part)] for name, part in value.items()]
    return [ordered(part) for part in value] if isinstance(value, list) else value


def _with_order(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "kernel": {name: ordered(value) for name, value in spec.get("kernel", {}).items()}}


def plain_spec(spec: RunSpec) -> dict[str, Any]:
    """The spec as written, less ``cluster`` and what is secret in its addresses (a resumed run may have another)."""
    plain = unsign_document(spec.as_written())
    assert isinstance(plain, dict)
    return plain


def versions() -> dict[str, str]:
    """Versions of what computes the bytes."""
    return {
        "python": platform.python_version(),
        "eopipe": __version__,
        **{name: installed(name) for name in _PACKAGES},
    }


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
    numbers = [int(found[1]) for path in storage.list(f"{run_folder.VERSIONS}/") if (found := _VERSION.search(path))]
    if not numbers:
        raise DamageError(f"{storage.url(run_folder.VERSIONS)} is empty; restore it, or start a new output")
    path = run_folder.version(max(numbers))
    try:
        return str(json.loads(storage.get(path))["snapshot"])
    except (ValueError, KeyError, TypeError):
        raise DamageError(
            f"{storage.url(path)} is damaged: it names no snapshot; restore it, or start a new output"
        ) from None


def first_difference(mine: Any, theirs: Any, key: str = "") -> str:
    """Where two JSON values differ first, with both values there: ``grid.crs (was …, now …)``."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name in [*mine, *(name for name in theirs if name not in mine)]:
            if mine.get(name) != theirs.get(name):
                return first_difference(mine.get(name), theirs.get(name), f"{key}.{name}" if key else name)
    return f"{key} (was {_brief(theirs)}, now {_brief(mine)})"


def _brief(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
