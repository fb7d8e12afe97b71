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


@dataclass(frozen=True)
class AssetRef:
    """One band of one file.

    Args:
        href: Unsigned address or path.
        band_index: Band of the file, from 1.
        scale: Value = DN x scale + offset, in ``unit``; of no meaning for masks.
        offset: See ``scale``.
        unit: ``reflectance``; or of SAR ``dB``, ``power`` or ``amplitude`` (:mod:`eopipe.cube.sar`).
        decibels: Of SAR: added in decibels, such as a calibration constant.
        nodata: DN that means no data, tested before the offset; None takes the file's own.
        file_size: Bytes, where the item states it.
        crs: As the item states it; the file's own georeferencing is what reading trusts.
        shape: Rows and columns, as stated.
        transform: First six affine coefficients, as stated.
        requester_pays: Whether the reader is charged.
        alternates: Further addresses of the same file, and whether the reader is charged there; tried in this order
            where the first cannot be read.
    """

    href: str
    band_index: int = 1
    scale: float = 1e-4
    offset: float = 0.0
    nodata: float | None = None
    file_size: int | None = None
    crs: str | None = None
    shape: tuple[int, int] | None = None
    transform: tuple[float, ...] | None = None
    requester_pays: bool = False
    unit: Literal["reflectance", "dB", "power", "amplitude"] = "reflectance"
    decibels: float = 0.0
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
        longitude: Of the footprint's middle, degrees: what solar time is reckoned from.
    """

    id: str
    collection: str
    datetime: datetime
    level: str | None
    bands: Mapping[str, AssetRef]
    mask: AssetRef | None = None
    cloud_cover: float | None = None
    longitude: float = 0.0


def solar_day(when: datetime, longitude: float) -> str:
    """Date of the mean solar time at a longitude (15 degrees an hour), ``YYYY-MM-DD``."""
    return (when.astimezone(UTC) + timedelta(hours=longitude / 15.0)).date().isoformat()


def middle_longitude(west: float, east: float) -> float:
    """Longitude halfway between two, in -180..180; west > east spans the antimeridian."""
    middle = (west + east) / 2 if west <= east else (west + east + 360) / 2
    return float((middle + 180) % 360 - 180)
