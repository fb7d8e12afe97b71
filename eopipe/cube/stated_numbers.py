"""What an item's asset, or its Collection's ``item_assets``, state of a band's numbers: scale, offset, no-data, unit.

A number is looked up field by field in ``raster:bands``, ``bands`` (STAC 1.1), ``eo:bands`` and the asset itself, as
``raster:scale`` or ``scale``. A Collection's ``item_assets`` are read where the item's asset lacks the field: a
search writes them into the item under ``eopipe:item_assets`` (:mod:`eopipe.stac.item_assets`).

Sources: STAC extensions raster 1 and 2, eo 1 and 2, item-assets 1; STAC 1.1 (common metadata, bands).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from eopipe.errors import ITEM_REMEDY, ItemError
from eopipe.snapshot import ITEM_ASSETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Source = Literal["item", "collection"]
_BAND_LISTS = ("raster:bands", "bands", "eo:bands")
_NAMING = ("bands", "eo:bands")
_CHOOSING = (*_NAMING, "type", "roles", "title", "gsd")
_NEVER = object()
_REFLECTANCE = re.compile(r"^$|^1$|^(none|unitless|dimensionless|n/?a|dn|counts?|digital numbers?)$|reflect")
"""Units that do not contradict reflectance."""


@dataclass(frozen=True)
class StatedNumbers:
    """The statements on one band, the most trusted first.

    Args:
        sources: Each with its mappings, the most specific first.
    """

    sources: Sequence[tuple[Source, Sequence[Mapping[str, Any]]]] = field(default_factory=tuple)

    def number(self, key: str) -> tuple[float | None, Source | None]:
        """A number, and what states it.

        Raises:
            ItemError: It is no number.
        """
        for source, holders in self.sources:
            for holder in holders:
                for name in (f"raster:{key}", key):
                    if holder.get(name) is not None:
                        return _number(holder[name], name, source), source
        return None, None

    def numbers(self, key: str) -> dict[Source, float]:
        """What each source states."""
        singles = ((source, StatedNumbers([(source, holders)]).number(key)[0]) for source, holders in self.sources)
        return {source: value for source, value in singles if value is not None}

    @property
    def is_neutral(self) -> bool:
        """Whether a scale of 1 and no offset are stated, as software writes that copies GDAL's defaults."""
        return self.number("scale")[0] == 1.0 and self.number("offset")[0] in {None, 0.0}

    def without_neutral(self) -> StatedNumbers:
        """The same without scales of 1 and offsets of 0."""
        neutral = {"scale": 1.0, "raster:scale": 1.0, "offset": 0.0, "raster:offset": 0.0}
        return StatedNumbers(
            [
                (source, [{key: value for key, value in holder.items() if value != neutral.get(key, _NEVER)}
                          for holder in holders])
                for source, holders in self.sources
            ]
        )  # fmt: skip

    def units(self) -> list[tuple[str, Source]]:
        """All units that are stated, in lower case, the most trusted first."""
        return [
            (plain_unit(holder[name]), source)
            for source, holders in self.sources
            for holder in holders
            for name in ("unit", "raster:unit")
            if holder.get(name)
        ]

    def common_name(self) -> str:
        """The band's common name; empty where none is stated."""
        names = (
            holder.get(name)
            for _, holders in self.sources
            for holder in holders
            for name in ("eo:common_name", "common_name")
        )
        return next((str(name) for name in names if name), "")


def stated_numbers(item: Mapping[str, Any], asset: Mapping[str, Any], index: int) -> StatedNumbers:
    """The statements on a band of an item's asset.

    Args:
        item: The item's JSON, with its assets as :func:`with_collection_assets` gives them.
        asset: One of its assets.
        index: Number of the band in the file, from 1.
    """
    key = next((key for key, entry in item.get("assets", {}).items() if entry is asset), None)
    defaults = (item.get(ITEM_ASSETS) or {}).get(key) or {}
    holders: list[tuple[Source, Sequence[Mapping[str, Any]]]] = [("item", _holders(asset, index))]
    return StatedNumbers([*holders, ("collection", _holders(defaults, index))] if defaults else holders)


def with_collection_assets(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The item, its assets completed by what its Collection says of their bands, types and roles."""
    defaults = item.get(ITEM_ASSETS)
    if not defaults:
        return item
    assets = {
        key: {**{name: value for name, value in defaults.get(key, {}).items() if name in _CHOOSING}, **asset}
        for key, asset in item["assets"].items()
    }
    return {**item, "assets": assets}


def data_bands(asset: Mapping[str, Any]) -> int:
    """Number of the last band that an asset names, other than as alpha; 0 where it names none."""
    lists = [entries for key in _NAMING if isinstance(entries := asset.get(key), list)]
    pairs = [pair for entries in lists for pair in enumerate(entries, start=1) if isinstance(pair[1], dict)]
    names = [(number, f"{entry.get('name')} {entry.get('description')}".lower()) for number, entry in pairs]
    return max((number for number, text in names if not re.search("alpha|mask", text)), default=0)


def contradicts_reflectance(unit: str) -> bool:
    """Whether a unit (in lower case) is that of something else, such as radiance or kelvin."""
    return not _REFLECTANCE.search(unit)


def plain_unit(value: object) -> str:
    """A unit in lower case, with single spaces."""
    return re.sub(r"[\s_]+", " ", str(value or "")).strip().lower()


def _holders(asset: Mapping[str, Any], index: int) -> list[Mapping[str, Any]]:
    stated = {key: asset[key] for key in _BAND_LISTS if asset.get(key) is not None}
    for key, entry in stated.items():
        if not isinstance(entry, list):
            raise TypeError(f"{key} is {entry!r}, not a list")
    lists = [entry for entry in stated.values() if len(entry) >= index]
    return [*(entry[index - 1] for entry in lists if isinstance(entry[index - 1], dict)), asset]


def _number(value: object, name: str, source: Source) -> float:
    key = name.removeprefix("raster:")
    try:
        # STAC's raster extension lets no-data be "nan", "inf" or "-inf".
        number = float(value)  # type: ignore[arg-type]  # whatever JSON holds
    except (TypeError, ValueError):
        raise ItemError(f"{name} is {value!r}, not a number; set source.{key}, or {ITEM_REMEDY}") from None
    if key != "nodata" and (not math.isfinite(number) or (key == "scale" and number == 0)):
        raise ItemError(f"{name} of the {source} is {value!r}; set source.{key}, or {ITEM_REMEDY}")
    return number
