"""Scenes: one STAC item reduced to what reading needs.

A scene is a small picklable value. Its hrefs are unsigned: the signing hook runs on the
worker, just before a file is opened, so that no message or record can hold a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


Origin = Literal["spec", "item", "collection", "flag", "baseline", "assumed", "table"]
"""What states a number before the file is opened: the spec, the item's asset, the Collection's ``item_assets``,
of Sentinel-2's offset the provider's flag, the processing baseline, or nothing (0 is assumed), or the table."""


@dataclass(frozen=True)
class Origins:
    """What states the numbers of a band; None where nothing does before its file is opened."""

    scale: Origin | None = "spec"
    offset: Origin | None = "spec"
    nodata: Origin | None = "spec"


@dataclass(frozen=True)
class AssetRef:
    """One band of one file.

    Args:
        href: Unsigned address or path.
        band_index: Band of the file, from 1.
        scale: Value = DN x scale + offset, in ``unit``; of no meaning for masks. None where only the file may state
            it. What comes from the table gives way to the file's own tags (:mod:`eopipe.cube.file_radiometry`).
        offset: See ``scale``.
        unit: ``reflectance``; of a mask ``codes``; of SAR ``dB``, ``power`` or ``amplitude``.
        decibels: Of SAR: added in decibels, such as a calibration constant.
        nodata: DN that means no data, tested before the offset; the file's own counts beside it.
        file_size: Bytes, where the item states it.
        crs: As the item states it; the file's own georeferencing is what reading trusts.
        shape: Rows and columns, as stated.
        transform: First six affine coefficients, as stated.
        requester_pays: Whether the reader is charged.
        origins: What states scale, offset and no-data.
        table_nodata: No-data of the family's table, where the file's type cannot hold ``nodata``.
        dtypes: Types of files that the table's scale is of; empty for any.
        family: The family's name, for messages.
        unit_stated: Whether spec, item or collection state a unit: then the file's own is of no account.
        of_integers: The same band as it stands for integers, where a stated scale of 1 is none: software that makes
            items writes GDAL's default, and no DN is a reflectance.
        data_bands: Bands of the file that the asset names as data: none of them is an alpha band.
        remarks: What was odd when the numbers were resolved, one line each.
        alternates: Further addresses of the same file, and whether the reader is charged there; tried in this order
            where the first cannot be read.
    """

    href: str
    band_index: int = 1
    scale: float | None = 1e-4
    offset: float = 0.0
    nodata: float | None = None
    file_size: int | None = None
    crs: str | None = None
    shape: tuple[int, int] | None = None
    transform: tuple[float, ...] | None = None
    requester_pays: bool = False
    unit: Literal["reflectance", "codes", "dB", "power", "amplitude"] = "reflectance"
    decibels: float = 0.0
    origins: Origins = Origins()
    table_nodata: float | None = None
    dtypes: tuple[str, ...] = ()
    family: str = ""
    unit_stated: bool = False
    of_integers: AssetRef | None = None
    data_bands: int = 0
    remarks: tuple[str, ...] = ()
    alternates: tuple[tuple[str, bool], ...] = ()

    @property
    def overviews(self) -> bool:
        """Whether overviews may be read: not where they are means of decibels or amplitudes, which lie too low."""
        return self.unit in {"reflectance", "power"}


@dataclass(frozen=True)
class Scene:
    """One item: the files of its bands, by canonical name, and of the mask.

    Args:
        level: ``L1C``, ``L2A``, ``L2SP`` … or None where the item does not say.
        cloud_cover: Percent; None sorts last for ``least-cloudy``.
    """

    id: str
    collection: str
    datetime: datetime
    level: str | None
    bands: Mapping[str, AssetRef]
    mask: AssetRef | None = None
    cloud_cover: float | None = None


def solar_day(when: datetime, longitude: float) -> str:
    """Date of the mean solar time at a longitude (15 degrees an hour), ``YYYY-MM-DD``."""
    return (when.astimezone(UTC) + timedelta(hours=longitude / 15.0)).date().isoformat()


def middle_longitude(west: float, east: float) -> float:
    """Longitude halfway between two, in -180..180; west > east spans the antimeridian."""
    middle = (west + east) / 2 if west <= east else (west + east + 360) / 2
    return float((middle + 180) % 360 - 180)
