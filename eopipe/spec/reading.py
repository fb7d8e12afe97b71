"""From a YAML file or a mapping to a `RunSpec`; the only reader of YAML."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import YAMLError

from eopipe.errors import SpecError, one_line
from eopipe.spec.explain import explain, place
from eopipe.spec.model import RunSpec, SearchSpec, SourceSpec
from eopipe.text import short

if TYPE_CHECKING:
    from collections.abc import Mapping


def load_spec(path: str | os.PathLike[str]) -> RunSpec:
    """Read a spec from a YAML or JSON file; relative paths in it are relative to the file.

    Raises:
        SpecError: The file is missing or not YAML, or a key or value in it is wrong.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"spec {str(file)!r} does not exist; give the path of a YAML run spec") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"spec {str(file)!r} cannot be read: {one_line(error)}; give a readable UTF-8 file") from None
    return parse_spec(parse_yaml(text, str(file)), base=file.resolve().parent)


class _CoreConstructor(SafeConstructor):
    """YAML's core schema has no dates: ``2025-05-01`` is text."""


_CoreConstructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def parse_yaml(text: str, where: str) -> object:
    """Parse YAML 1.2 (core schema), refusing duplicate keys."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _CoreConstructor
    yaml.version = (1, 2)
    try:
        return yaml.load(text)
    except DuplicateKeyError as error:
        problem = one_line(error.problem or error)
        raise SpecError(f"spec {where}: {problem}{place(error)}; remove one of them") from None
    except YAMLError as error:
        problem = one_line(getattr(error, "problem", None) or error)
        raise SpecError(f"spec {where} is not YAML: {problem}{place(error)}; correct that line") from None


def parse_spec(data: object, *, base: Path | None = None) -> RunSpec:
    """Validate a mapping as a run spec.

    Args:
        data: What the YAML held, or the same from Python.
        base: Folder that relative paths start from; the working directory where None.

    Raises:
        SpecError: With one line for the first mistake, and the number of further ones.
    """
    if not isinstance(data, dict):
        raise SpecError(f"a run spec is a mapping with the keys {', '.join(RunSpec.model_fields)}; got {short(data)}")
    try:
        spec = RunSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(explain(error)) from None
    return _anchor(spec, base or Path.cwd())


def parse_search(data: Mapping[str, Any], *, base: Path | None = None) -> SearchSpec:
    """Validate the ``area`` and ``source`` of a search by itself.

    Args:
        data: Both, as in a run spec.
        base: Folder that relative paths start from; the working directory where None.

    Raises:
        SpecError: As of :func:`parse_spec`.
    """
    try:
        spec = SearchSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(explain(error)) from None
    base = base or Path.cwd()
    return SearchSpec(area=_anchor_area(spec.area, base), source=_anchor_source(spec.source, base))


def resolve_now(text: str | None) -> datetime:
    """The run's ``now``: an ISO date or time, or the present where None; always UTC.

    Raises:
        SpecError: The text is no ISO 8601 time.
    """
    if text is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SpecError(
            f"--now: {text!r} is no ISO 8601 time; write it like 2025-09-30 or 2025-09-30T12:00:00Z"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def is_url(text: str) -> bool:
    """Whether the text is a URL rather than a local path."""
    return "://" in text


def _anchor(spec: RunSpec, base: Path) -> RunSpec:
    """Make relative paths absolute, so that the spec means the same from any folder and on any worker."""
    output = spec.output
    if not is_url(output.uri):
        output = output.model_copy(update={"uri": os.path.normpath(base / output.uri)})
    anchored = {
        "source": _anchor_source(spec.source, base),
        "output": output,
        "area": _anchor_area(spec.area, base),
        "kernel": spec.kernel.anchored(base),
    }
    return spec.model_copy(update=anchored)


def _anchor_source(source: SourceSpec, base: Path) -> SourceSpec:
    if is_url(source.catalog):
        return source
    catalog = os.path.normpath(base / source.catalog)
    if not Path(catalog).exists():
        raise SpecError(f"source.catalog: {catalog!r} does not exist; give a URL or an existing file")
    return source.model_copy(update={"catalog": catalog})


def _anchor_area(area: Any, base: Path) -> Any:
    """An area file becomes what it holds."""
    return _read_area(base / area) if isinstance(area, str) else area


def _read_area(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"area: file {str(path)!r} does not exist; give a bbox, a GeoJSON file or GeoJSON") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"area: {str(path)!r} is not a GeoJSON file: {one_line(error)}") from None
    if not isinstance(document, dict) or "type" not in document:
        raise SpecError(
            f"area: {str(path)!r} holds no GeoJSON object with a 'type'; give a Polygon or a FeatureCollection"
        )
    return document
