"""What a run is: the keys of a spec, their values and defaults."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

if TYPE_CHECKING:
    from collections.abc import Collection

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")

_BYTES = re.compile(r"\s*\d+(\.\d+)?(e\d+)?\s*([kmgtp]i?)?b?\s*", re.IGNORECASE)
"""What Dask reads as bytes; it finds a mistake only when the cluster starts."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=False)


def _text_date(value: object) -> object:
    # A Python caller may hand over a date, and YAML reads a bare year as a number.
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and 1900 <= value <= 9999 else value


def band_map(bands: Mapping[str, Any]) -> dict[str, Any]:
    """A map from bands to assets' keys, several each; one key may be written alone."""
    return {band: (keys,) if isinstance(keys, str) else keys for band, keys in bands.items()}


DateRange = Annotated[str, BeforeValidator(_text_date), Field(min_length=2)]


class MaskSpec(_Model):
    """Which pixels of a scene to leave out.

    Args:
        band: Mask to read: ``scl`` (Sentinel-2 scene classes), ``qa_pixel`` (Landsat C2), ``bqa`` (Landsat C1),
            ``fmask`` (HLS), ``oa_fmask`` (Geoscience Australia).
        drop: Classes or flags to drop; None takes the band's own default (cloud, shadow, cirrus, saturated).
        dilate: Pixels of the grid by which what is dropped grows.
    """

    band: Literal["scl", "qa_pixel", "bqa", "fmask", "oa_fmask"]
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


_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_T = TypeVar("_T")
NumberByBand = Annotated[_T | dict[str, _T] | None, Field(union_mode="left_to_right")]
"""One number for all bands, or a number by band."""


class RadiometrySpec(_Model):
    """What a file's numbers mean, as the spec says: it outranks items, collections, files and tables.

    Args:
        scale: Value = DN x scale + offset; one number, or one for each band (``{red: 0.0001}``).
        offset: See ``scale``.
        nodata: DN without data; the file's own no-data and mask count beside it.
        unit: ``reflectance``: read values of a file whose item or tags say another unit as reflectance.
    """

    scale: NumberByBand[_Scale] = None
    offset: NumberByBand[_Finite] = None
    nodata: NumberByBand[_Finite] = None
    unit: Literal["reflectance"] | None = None

    def of(self, key: Literal["scale", "offset", "nodata"], band: str) -> float | None:
        """The number for a band; None where the spec states none."""
        value: float | dict[str, float] | None = getattr(self, key)
        return value.get(band) if isinstance(value, dict) else value

    def unread(self, bands: Collection[str]) -> str | None:
        """The first key and band (``scale.rde``) that names none of these bands; None where all do."""
        values = {key: getattr(self, key) for key in ("scale", "offset", "nodata")}
        named = [(key, band) for key, value in values.items() if isinstance(value, dict) for band in value]
        return next((f"{key}.{band}" for key, band in named if band not in bands), None)


class SourceSpec(_Model):
    """Where the scenes come from.

    Args:
        catalog: STAC API, static catalog/collection.json, or a stac-geoparquet file.
        collections: Collection ids; may be empty for a static collection or a parquet file that holds one.
        datetime: One range for a run of one epoch, such as ``2025-05-01/2025-09-30`` or ``P30D/now``.
        epochs: Name to range, for a run of several epochs; in this order.
        season: Days of the year that count in every range, such as ``05-01/09-30``; over New Year ``11/02``.
        query: STAC ``query``: property to conditions; evaluated locally on static catalogs.
        filter: CQL2, as text or JSON.
        ids: Only these items.
        composite: How scenes become one picture.
        mask: Cloud mask, by name or with settings.
        sar: What SAR files hold (unit, calibration constant), where the items do not say.
        scale: Value = DN x scale + offset, for all bands or by band; see :class:`RadiometrySpec`.
        offset: See ``scale``.
        nodata: DN without data, beside what the files state themselves.
        unit: ``reflectance``, where an item or a file states another unit and is wrong.
        bands: Band to the key of the asset that holds it, such as ``{red: B04}``; ``image#2`` is the second band of
            ``image``; of several keys the first that an item has.
        sign: Signing hook: ``auto`` picks by host; ``keep`` reads by the signatures that the catalog's hrefs came
            with, which this process and its workers hold in memory and never write.
        requester_pays: Whether reads may be charged to you; never by default.
        alternate: Name of the alternate addresses (``s3``) to read where assets have them; without it an alternate
            is read only where the main address cannot be.
        max_items: Refuse a search that matches more (a guard against a forgotten filter).
    """

    catalog: str = Field(min_length=1)
    collections: tuple[str, ...] = ()
    datetime: DateRange | None = None
    epochs: dict[str, DateRange] | None = None
    season: str | None = None
    query: dict[str, dict[str, Any]] | None = None
    filter: str | dict[str, Any] | None = None
    ids: tuple[str, ...] | None = None
    composite: Literal["first", "median", "least-cloudy"] = "median"
    mask: MaskSpec | None = None
    sar: SarSpec | None = None
    scale: NumberByBand[_Scale] = None
    offset: NumberByBand[_Finite] = None
    nodata: NumberByBand[_Finite] = None
    unit: Literal["reflectance"] | None = None
    bands: dict[str, tuple[str, ...]] | None = None
    sign: Literal["auto", "none", "planetary-computer", "keep"] = "auto"
    requester_pays: bool = False
    alternate: str | None = None
    max_items: int = Field(default=200_000, ge=1)

    @field_validator("mask", mode="before")
    @classmethod
    def _mask_by_name(cls, value: object) -> object:
        return {"band": value} if isinstance(value, str) else value

    @field_validator("bands", mode="before")
    @classmethod
    def _lists_of_keys(cls, value: object) -> object:
        return band_map(value) if isinstance(value, Mapping) else value

    @field_validator("bands")
    @classmethod
    def _some_key(cls, value: dict[str, tuple[str, ...]] | None) -> dict[str, tuple[str, ...]] | None:
        empty = [band for band, keys in (value or {}).items() if not all(keys) or not keys]
        if empty:
            raise ValueError(f"{empty[0]} names no asset; write such as {{{empty[0]}: B04}}")
        return value

    @model_validator(mode="after")
    def _one_time(self) -> SourceSpec:
        if self.datetime is not None and self.epochs is not None:
            raise ValueError("give datetime (one epoch) or epochs (several), not both")
        if self.epochs is not None and not self.epochs:
            raise ValueError("epochs is empty; name at least one, such as {before: 2015, after: 2018}")
        return self

    @property
    def radiometry(self) -> RadiometrySpec | None:
        """What the spec says of the files' numbers; None where it says nothing."""
        stated = {name: getattr(self, name) for name in RadiometrySpec.model_fields}
        return RadiometrySpec(**stated) if any(value is not None for value in stated.values()) else None

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
        unknown = [name for name in re.findall(r"\{\w+\}", value) if name not in {"{name}", "{date}"}]
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


class KernelSpec(BaseModel, extra="allow", frozen=True):
    """The kernel's name; what follows is the kernel's own, validated by its options model."""

    name: str

    def options(self) -> dict[str, Any]:
        """Everything but the name, as written."""
        return dict(self.__pydantic_extra__ or {})

    def anchored(self, base: Path) -> KernelSpec:
        """Relative paths from ``base``: options named ``...checkpoint``, and every ``local-dir:`` model."""
        options = self.options()
        for key, value in options.items():
            if key.endswith("checkpoint") and isinstance(value, str):
                options[key] = os.path.normpath(base / Path(value).expanduser())
            elif isinstance(value, str) and value.startswith("local-dir:"):
                folder = Path(value.removeprefix("local-dir:")).expanduser()
                options[key] = f"local-dir:{os.path.normpath(base / folder)}"
        return KernelSpec(name=self.name, **options)


def _plain_area(value: object) -> object:
    if hasattr(value, "to_crs") and hasattr(value, "__geo_interface__"):  # a GeoDataFrame or GeoSeries
        return json.loads(json.dumps(value.to_crs(4326).__geo_interface__))
    return list(value) if isinstance(value, tuple) else value


AreaValue = Annotated[
    tuple[float, float, float, float] | dict[str, Any] | str,
    BeforeValidator(_plain_area),
]
"""A box, GeoJSON, or a path to a GeoJSON file; in Python a GeoDataFrame too."""


class SearchSpec(_Model):
    """A search: an area, and where its scenes come from; see :class:`RunSpec`."""

    area: AreaValue
    source: SourceSpec


class RunSpec(_Model):
    """A whole run, as README.md shows it in YAML.

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
    area: AreaValue
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

    def output_uri(self, now: datetime) -> str:
        """``output.uri`` with ``{name}`` and ``{date}`` filled in."""
        return self.output.uri.replace("{name}", self.name).replace("{date}", now.strftime("%Y-%m-%d"))

    def as_written(self) -> dict[str, Any]:
        """JSON form without ``cluster``: what is compared when a run is resumed."""
        return self.model_dump(mode="json", exclude={"cluster"}, exclude_unset=True)
