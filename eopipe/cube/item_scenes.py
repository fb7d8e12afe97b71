"""From STAC items to scenes: for each band its asset, its address and the meaning of its numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eopipe.cube.asset_choice import FREE, AssetChoice, choose_asset, locate
from eopipe.cube.radiometry_rule import with_backscatter, with_reflectance
from eopipe.cube.sar import SAR_BANDS
from eopipe.cube.sar_sensors import sar_sensor_of
from eopipe.cube.scenes import AssetRef, Scene
from eopipe.cube.sensors import UNKNOWN, sensor_of
from eopipe.cube.stated_numbers import with_collection_assets
from eopipe.errors import ITEM_REMEDY, ItemError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.spec import MaskSpec, RadiometrySpec, SarSpec


def scenes_from_items(
    items: Sequence[Mapping[str, Any]],
    bands: Sequence[str],
    mask: MaskSpec | None = None,
    sar: SarSpec | None = None,
    choice: AssetChoice = FREE,
    *,
    radiometry: RadiometrySpec | None = None,
) -> list[Scene]:
    """Resolve items to scenes, keeping their order.

    Args:
        items: The items' JSON.
        bands: Canonical band names.
        mask: Mask to resolve too.
        sar: What the spec says of SAR files.
        choice: What the spec says of choosing assets.
        radiometry: What the spec says of the files' numbers.

    Raises:
        ItemError: An item lacks a band or cannot be understood.
    """
    return [resolve_scene(item, bands, mask, sar=sar, choice=choice, radiometry=radiometry) for item in items]


def resolve_scene(
    item: Mapping[str, Any],
    bands: Sequence[str],
    mask: MaskSpec | None = None,
    *,
    sar: SarSpec | None = None,
    requester_pays: bool = False,
    choice: AssetChoice = FREE,
    radiometry: RadiometrySpec | None = None,
) -> Scene:
    """Reduce a STAC item to a scene; of a file that charges its reader a free alternate is taken where there is one.

    Args:
        item: The item's JSON.
        bands: Canonical band names (see ``BANDS`` and ``SAR_BANDS``).
        mask: The mask to read with it.
        sar: What the spec says of SAR files.
        requester_pays: Whether files that charge their reader may be read; otherwise a free alternate is taken where
            the item offers one.
        choice: What the spec says of choosing assets; it may accept charges too.
        radiometry: What the spec says of the files' numbers.

    Raises:
        ItemError: No asset holds a band (the message names the assets that exist), or nothing says what a
            file's numbers are, or they are no reflectance (it names the spec's key).
    """
    try:
        chosen = replace(choice, requester_pays=True) if requester_pays else choice
        return _resolve(item, bands, mask, sar, chosen, radiometry)
    except ItemError as error:
        if repr(item.get("id")) in str(error):
            raise
        raise ItemError(f"item {item.get('id')!r}: {error}") from None
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise ItemError(
            f"item {item.get('id')!r} is malformed ({type(error).__name__}: {error}); {ITEM_REMEDY}"
        ) from error


def _resolve(
    item: Mapping[str, Any],
    bands: Sequence[str],
    mask: MaskSpec | None,
    sar: SarSpec | None,
    choice: AssetChoice,
    radiometry: RadiometrySpec | None,
) -> Scene:
    item = with_collection_assets(item)
    optical, radar = sensor_of(item) or UNKNOWN, sar_sensor_of(item)

    def ref_of(band: str) -> AssetRef:
        asset, index = choose_asset(item, radar if band in SAR_BANDS else optical, band, choice.bands)
        ref = locate(item, asset, index, choice)
        if band in SAR_BANDS:
            return with_backscatter(ref, band, item=item, asset=asset, sar=sar, spec=radiometry)
        return with_reflectance(ref, band, item=item, asset=asset, sensor=optical, spec=radiometry)

    properties = item.get("properties", {})
    cloud = properties.get("eo:cloud_cover")
    return Scene(
        id=str(item["id"]),
        collection=str(item.get("collection") or properties.get("collection") or ""),
        datetime=_datetime(item),
        level=level_of(item),
        bands={band: ref_of(band) for band in bands},
        mask=ref_of(mask.band) if mask else None,
        cloud_cover=None if cloud is None else float(cloud),
    )


def level_of(item: Mapping[str, Any]) -> str | None:
    """Processing level, ``L1C``, ``L2A``, ``L2SP`` …; None where neither a property nor the name states it."""
    properties = item.get("properties", {})
    for key in ("processing:level", "s2:product_type", "landsat:correction"):
        value = str(properties.get(key) or "").upper().removeprefix("S2MSI")
        if value:
            return value if value.startswith("L") else f"L{value}"
    collection = " ".join(str(v or "") for v in (item.get("collection"), item.get("id"))).upper()
    for level in ("L1C", "L2A", "L2SP", "L2SR", "L1TP", "L1GT"):
        if level in collection:
            return level
    return None


def _datetime(item: Mapping[str, Any]) -> datetime:
    properties = item.get("properties", {})
    text = properties.get("datetime") or properties.get("start_datetime")
    if not text:
        raise ItemError(f"item {item.get('id')!r} has neither datetime nor start_datetime; {ITEM_REMEDY}")
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
