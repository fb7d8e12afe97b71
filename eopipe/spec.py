"""RunSpec: what a run is, as people write it; the only reader of YAML (DESIGN §5).

Every mistake ends in one line that names the key, the value and the remedy, before anything is read.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import YAMLError

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

TILE_CHOICES = (512, 1024, 2048, 4096)
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


_BYTES = re.compile(r"\s*\d+(\.\d+)?(e\d+)?\s*([kmgtp]i?)?b?\s*", re.IGNORECASE)
"""What Dask reads as bytes; it tells of a mistake only once a cluster is asked for."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=False)


def _text_date(value: object) -> object:
    # A Python caller may hand over a date, and YAML reads a bare year as a number.
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and 1900 <= value <= 9999 else value


DateRange = Annotated[str, BeforeValidator(_text_date), Field(min_length=2)]


class MaskSpec(_Model):
    """Which pixels of a scene to leave out.

    Args:
        band: Mask to read: ``scl`` (Sentinel-2 scene classes), ``qa_pixel`` (Landsat C2), ``bqa`` (Landsat C1).
        drop: Classes or flags to drop; None takes the band's own default (cloud, shadow, cirrus, saturated).
        dilate: Pixels of the grid by which what is dropped grows.
    """

    band: Literal["scl", "qa_pixel", "bqa"]
    drop: tuple[str, ...] | None = None
    dilate: int = Field(default=0, ge=0, le=64)


class SarSpec(_Model):
    """What SAR files hold, where the items do not say; it outranks what they say.

    Args:
        unit: ``dB``; ``power`` (linear, sigma or gamma nought); or ``amplitude`` (its square root).
        offset: Added in decibels: a calibration constant, such as -83 for the amplitudes of JAXA's mosaics.
    """

    unit: Literal["dB", "power", "amplitude"]
    offset: float = Field(default=0.0, ge=-128, le=128)

    @field_validator("unit", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return "dB" if isinstance(value, str) and value.lower() == "db" else value


class SourceSpec(_Model):
    """Where the scenes come from.

    Args:
        catalog: STAC API, static catalog/collection.json, or a stac-geoparquet file.
        collections: Collection ids; may be empty for a static collection or a parquet file that holds one.
        datetime: One range for a run of one epoch, such as ``2025-05-01/2025-09-30`` or ``P30D/now``.
        epochs: Name to range, for a run of several epochs; in this order.
        query: STAC ``query``: property to conditions; evaluated locally on static catalogs.
        filter: CQL2, as text or JSON.
        ids: Only these items.
        composite: How scenes become one picture.
        mask: Cloud mask, by name or with settings.
        sar: What SAR files hold (unit, calibration constant), where the items do not say.
        sign: Signing hook: ``auto`` picks by host.
        requester_pays: Whether reads may be charged to you; never by default.
        max_items: Refuse a search that matches more (a guard against a forgotten filter).
    """

    catalog: str = Field(min_length=1)
    collections: tuple[str, ...] = ()
    datetime: DateRange | None = None
    epochs: dict[str, DateRange] | None = None
    query: dict[str, dict[str, Any]] | None = None
    filter: str | dict[str, Any] | None = None
    ids: tuple[str, ...] | None = None
    composite: Literal["first", "median", "least-cloudy"] = "median"
    mask: MaskSpec | None = None
    sar: SarSpec | None = None
    sign: Literal["auto", "none", "planetary-computer"] = "auto"
    requester_pays: bool = False
    max_items: int = Field(default=200_000, ge=1)

    @field_validator("mask", mode="before")
    @classmethod
    def _mask_by_name(cls, value: object) -> object:
        return {"band": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_time(self) -> SourceSpec:
        if self.datetime is not None and self.epochs is not None:
            raise ValueError("give datetime (one epoch) or epochs (several), not both")
        if self.epochs is not None and not self.epochs:
            raise ValueError("epochs is empty; name at least one, such as {before: 2015, after: 2018}")
        return self

    def ranges(self) -> dict[str, str | None]:
        """Epoch name to datetime range; a run of one epoch calls it ``all``."""
        return dict(self.epochs) if self.epochs is not None else {"all": self.datetime}


class GridSpec(_Model):
    """The lattice: ``crs`` is an authority code, WKT, ``utm`` or an equal-area name; resolution in CRS units."""

    crs: str = "utm"
    resolution: float = Field(gt=0, allow_inf_nan=False)
    tile: Literal["auto", 512, 1024, 2048, 4096] = "auto"


class OutputSpec(_Model):
    """Where the run writes, and what beside the mosaic.

    Args:
        uri: Folder: local path or any fsspec/obstore URL; ``{name}`` and ``{date}`` are filled in.
        cog: Write one COG a tile.
    """

    uri: str = Field(min_length=1)
    cog: bool = True

    @field_validator("uri")
    @classmethod
    def _known_placeholders(cls, value: str) -> str:
        unknown = [found for found in re.findall(r"\{\w+\}", value) if found not in {"{name}", "{date}"}]
        if unknown:
            raise ValueError(f"{unknown[0]} cannot be filled in; only {{name}} and {{date}} can")
        return value


class ClusterSpec(_Model):
    """Which Dask cluster to use. Not part of the comparison when a run is resumed.

    Args:
        kind: ``current`` uses the Client of this process; ``local`` starts processes here.
        workers: Number of workers (or jobs, pods).
        address: Scheduler address for ``address``; gateway or API address for ``gateway``.
        memory: Memory limit of a worker, such as ``4GB``; for kinds that start workers.
        options: Passed on to the cluster's own library.
    """

    kind: Literal["local", "cuda", "current", "address", "kubernetes", "gateway", "slurm"] = "local"
    workers: int | None = Field(default=None, ge=1)
    address: str | None = None
    memory: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("memory")
    @classmethod
    def _bytes(cls, value: str | None) -> str | None:
        if value is not None and not _BYTES.fullmatch(value):
            raise ValueError("write a number and a unit, such as 4GB or 2.5 GiB")
        return value

    @model_validator(mode="after")
    def _address(self) -> ClusterSpec:
        if self.kind == "address" and not self.address:
            raise ValueError("kind: address needs cluster.address, such as tcp://scheduler:8786")
        return self


class KernelSpec(BaseModel):
    """The kernel's name; what follows is the kernel's own, validated by its options model."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    def options(self) -> dict[str, Any]:
        """Everything but the name, as written."""
        return dict(self.__pydantic_extra__ or {})

    def anchored(self, base: Path) -> KernelSpec:
        """Relative paths from ``base``: options named ``...checkpoint``, and a ``local-dir:`` model."""
        found = self.options()
        for key, value in found.items():
            if key.endswith("checkpoint") and isinstance(value, str):
                found[key] = os.path.normpath(base / Path(value).expanduser())
            elif key == "model" and isinstance(value, str) and value.startswith("local-dir:"):
                folder = Path(value.removeprefix("local-dir:")).expanduser()
                found[key] = f"local-dir:{os.path.normpath(base / folder)}"
        return KernelSpec(name=self.name, **found)


class RunSpec(_Model):
    """A whole run. See DESIGN §5 for the YAML form.

    Args:
        name: Letters, digits, ``.``, ``_``, ``-``; names the output.
        area: ``[west, south, east, north]`` in degrees, a path to a GeoJSON file, or inline GeoJSON;
            in Python a GeoDataFrame too. West > east means across the antimeridian.
        source: Where the scenes come from.
        grid: The lattice.
        kernel: What maps them.
        output: Where it writes.
        cluster: What computes; None uses the current Client, or starts a local cluster.
    """

    name: str
    area: tuple[float, float, float, float] | dict[str, Any] | str
    source: SourceSpec
    grid: GridSpec
    kernel: KernelSpec
    output: OutputSpec
    cluster: ClusterSpec | None = None

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise ValueError("use letters, digits, '.', '_' and '-', starting with a letter or digit")
        return value

    @field_validator("area", mode="before")
    @classmethod
    def _plain_area(cls, value: object) -> object:
        if hasattr(value, "to_crs") and hasattr(value, "__geo_interface__"):  # a GeoDataFrame or GeoSeries
            return json.loads(json.dumps(value.to_crs(4326).__geo_interface__))
        return list(value) if isinstance(value, tuple) else value

    def output_uri(self, now: datetime) -> str:
        """``output.uri`` with ``{name}`` and ``{date}`` filled in."""
        return self.output.uri.replace("{name}", self.name).replace("{date}", now.strftime("%Y-%m-%d"))

    def as_written(self) -> dict[str, Any]:
        """JSON form without ``cluster``: what is compared when a run is resumed."""
        return self.model_dump(mode="json", exclude={"cluster"}, exclude_unset=True)


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
        raise SpecError(
            f"spec {str(file)!r} cannot be read: {_one_line(error)}; give a readable UTF-8 file"
        ) from None
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
        problem = _one_line(error.problem or error)
        raise SpecError(f"spec {where}: {problem}{_place(error)}; remove one of them") from None
    except YAMLError as error:
        problem = _one_line(getattr(error, "problem", None) or error)
        raise SpecError(f"spec {where} is not YAML: {problem}{_place(error)}; mend that line") from None


def parse_spec(data: object, *, base: Path | None = None) -> RunSpec:
    """Validate a mapping as a run spec.

    Args:
        data: What the YAML held, or the same from Python.
        base: Folder that relative paths start from; the working directory where None.

    Raises:
        SpecError: With one line for the first mistake, and the number of further ones.
    """
    if not isinstance(data, dict):
        raise SpecError(
            f"a run spec is a mapping with the keys {', '.join(RunSpec.model_fields)}; got {_short(data)}"
        )
    try:
        spec = RunSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(_explain(error)) from None
    return _anchor(spec, base or Path.cwd())


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
    source, output, area = spec.source, spec.output, spec.area
    if not is_url(source.catalog):
        source = source.model_copy(update={"catalog": os.path.normpath(base / source.catalog)})
        if not Path(source.catalog).exists():
            raise SpecError(f"source.catalog: {source.catalog!r} does not exist; give a URL or an existing file")
    if not is_url(output.uri):
        output = output.model_copy(update={"uri": os.path.normpath(base / output.uri)})
    if isinstance(area, str):
        area = _read_area(base / area)
    kernel = spec.kernel.anchored(base)
    return spec.model_copy(update={"source": source, "output": output, "area": area, "kernel": kernel})


def _read_area(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"area: file {str(path)!r} does not exist; give a bbox, a GeoJSON file or GeoJSON") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"area: {str(path)!r} is not a GeoJSON file: {_one_line(error)}") from None
    if not isinstance(found, dict) or "type" not in found:
        raise SpecError(
            f"area: {str(path)!r} holds no GeoJSON object with a 'type'; give a Polygon or a FeatureCollection"
        )
    return found


def _explain(error: ValidationError) -> str:
    problems = error.errors()
    # An unknown key often causes a missing one: name the unknown first.
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    key = ".".join(str(part) for part in first["loc"] if not _is_union_arm(part)) or "spec"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 and first["loc"][:1] != ("area",) else ""
    return f"{key}: {_say(first, key)}{more}"


def _is_union_arm(part: object) -> bool:
    return (isinstance(part, str) and any(sign in part for sign in "[(")) or part in {"str", "dict"}


def _say(problem: Mapping[str, Any], key: str) -> str:
    kind, value = problem["type"], problem.get("input")
    if key.split(".", maxsplit=1)[0] == "area":
        return f"{_short(value)} is no area; give [west, south, east, north] in degrees, a GeoJSON file or GeoJSON"
    if kind == "extra_forbidden":
        known = _known_keys(problem["loc"])
        close = get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the keys are {', '.join(known)}"
        return f"unknown key; {hint}"
    if kind == "missing":
        return "is missing; add it to the spec"
    said = _PLAIN.get(kind) or str(problem["msg"]).removeprefix("Value error, ")
    return f"{_short(value)} is not valid: {said[:1].lower()}{said[1:]}"


_PLAIN = {
    "tuple_type": "write a list, such as [a, b]",
    "dict_type": "write a mapping, such as {key: value}",
    "model_type": "write a mapping, such as {key: value}",
    "string_type": "write a text, in quotes where it looks like a number",
    "too_short": "it is empty; leave the key out, or give it a value",
    "string_too_short": "it is empty; give it a value",
}
"""Pydantic's words where they speak of Python rather than of YAML."""


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    model: Any = RunSpec
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            continue
        arms = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((arm for arm in arms if isinstance(arm, type) and issubclass(arm, BaseModel)), model)
    return list(model.model_fields)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _place(error: YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""


__all__ = [
    "ClusterSpec",
    "GridSpec",
    "KernelSpec",
    "MaskSpec",
    "OutputSpec",
    "RunSpec",
    "SarSpec",
    "SourceSpec",
    "is_url",
    "load_spec",
    "parse_spec",
    "parse_yaml",
    "resolve_now",
]
