"""What the index says of an item: raster bounds, time, level, datatake, tile, baseline.

Sources: the STAC extensions projection 1 and 2, eo, processing, sentinel-2, mgrs, grid, sar, landsat; and
ESA's product names (``S2B_MSIL2A_20190629T212529_N0212_R043_T06VVN_20201006T080531``) where they lack.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import shapely

from eopipe.errors import ITEM_REMEDY, ItemError
from eopipe.redact import unsign, unsign_document
from eopipe.snapshot import Row, item_hash
from eopipe.snapshot.snapshot import verbatim_json
from eopipe.stac.footprints import item_bbox, item_geometry
from eopipe.stac.raster_bounds import raster_bounds
from eopipe.stac.time_range import nominal_time

if TYPE_CHECKING:
    from collections.abc import Mapping

_PRODUCT = re.compile(
    r"^(?P<platform>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<start>\d{8}T\d{6})(?:_N(?P<baseline>\d{4}))?"
    r"_R\d{3}_T(?P<mgrs>\d{2}[A-Z]{3})"
)
_DATATAKE = re.compile(r"^G(?P<platform>S2[A-D])_(?P<start>\d{8}T\d{6})_\d{6}_N(?P<baseline>\d{2}\.\d{2})$")
_MGRS = re.compile(r"^(?:MGRS-)?T?(\d{1,2})([C-X])([A-Z]{2})$")
_LEVEL = re.compile(r"(?:^|[^A-Za-z0-9])(L1C|L2A)(?:$|[^A-Za-z0-9])", re.IGNORECASE)


@dataclass
class Remarks:
    """Counts what was odd about items, so that a thousand equal remarks make one line."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, remark: str, item_id: str) -> None:
        """Note a remark on an item."""
        self.counts[remark] += 1
        self.first.setdefault(remark, item_id)

    def lines(self) -> list[str]:
        """One line a remark, with how many items and the first of them."""
        return [
            f"{number} item{'s' if number > 1 else ''}: {remark} (first {self.first[remark]!r})"
            for remark, number in self.counts.items()
        ]


def describe(
    item: Mapping[str, Any],
    epoch: str,
    remarks: Remarks,
    *,
    href: str | None = None,
    collection: str | None = None,
) -> Row:
    """Describe one item for a snapshot's index.

    Args:
        item: The item as received; it is not changed. Signatures in its hrefs are left out of the row's JSON.
        epoch: Name of the epoch.
        remarks: Where oddities are noted.
        href: Address that the item was read from; relative asset hrefs start there.
        collection: Id of the collection it was found in, where the item names none.

    Raises:
        ItemError: It is no STAC item, has no time, or has neither a projection nor a geometry.
    """
    check_item(item, href)
    plain = unsign_document(item)
    assert isinstance(plain, dict)
    properties = plain["properties"]
    geometry = item_geometry(plain)
    name = plain.get("collection") or collection or ""
    raster = raster_bounds(plain, geometry)
    for remark in raster.remarks:
        remarks.add(remark, plain["id"])
    product = _product(plain)
    datatake, baseline = _datatake(properties, product)
    return Row(
        epoch=epoch,
        collection=name,
        id=plain["id"],
        datetime=nominal_time(plain),
        hash=item_hash(plain),
        text=verbatim_json(plain),
        crs=raster.crs,
        bounds=raster.bounds,
        raster_source=raster.source,
        bbox=item_bbox(plain) or (geometry.bounds if geometry is not None else None),
        geometry=None if geometry is None else shapely.to_wkb(geometry),
        href=None if href is None else unsign(href),
        cloud_cover=_number(properties.get("eo:cloud_cover")),
        level=_level(plain, name, product),
        datatake=datatake,
        mgrs=_mgrs(properties, product),
        baseline=baseline,
    )


def check_item(item: object, href: str | None = None) -> None:
    """Refuse what is no STAC item.

    Raises:
        ItemError: With what is missing.
    """
    where = f" at {unsign(href)}" if href else ""
    if not isinstance(item, dict) or item.get("type") != "Feature":
        kind = item.get("type") if isinstance(item, dict) else type(item).__name__
        raise ItemError(f"not a STAC item{where}: its type is {kind!r}, not 'Feature'; {ITEM_REMEDY}")
    if not isinstance(item.get("id"), str) or not item["id"]:
        raise ItemError(f"STAC item{where} has no id (a text); {ITEM_REMEDY}")
    for key in ("properties", "assets"):
        if not isinstance(item.get(key), dict):
            raise ItemError(f"STAC item {item['id']!r}{where} has no {key} (a mapping); {ITEM_REMEDY}")
    if not all(isinstance(asset, dict) for asset in item["assets"].values()):
        raise ItemError(f"STAC item {item['id']!r}{where} has an asset that is no mapping; {ITEM_REMEDY}")


def _product(item: dict[str, Any]) -> re.Match[str] | None:
    properties = item["properties"]
    names = (properties.get("s2:product_uri"), properties.get("sentinel:product_id"), item["id"])
    return next((match for name in names if isinstance(name, str) and (match := _PRODUCT.match(name))), None)


def _datatake(properties: dict[str, Any], product: re.Match[str] | None) -> tuple[str | None, str | None]:
    """Platform and start of the datatake, and the processing baseline; both without the other where need be."""
    match = _DATATAKE.match(str(properties.get("s2:datatake_id") or ""))
    known = match or product
    datatake = f"{known['platform']}_{known['start']}" if known else None
    baseline = properties.get("s2:processing_baseline") or properties.get("processing:version")
    if baseline is None and match:
        baseline = match["baseline"]
    if baseline is None and product and product["baseline"]:
        baseline = f"{product['baseline'][:2]}.{product['baseline'][2:]}"
    return datatake, None if baseline is None else str(baseline)


def _mgrs(properties: dict[str, Any], product: re.Match[str] | None) -> str | None:
    triples = (
        (properties.get(f"{prefix}:utm_zone"), properties.get(f"{prefix}:latitude_band"), square)
        for prefix in ("mgrs", "sentinel")
        if (square := properties.get(f"{prefix}:grid_square"))
    )
    written = [properties.get("s2:mgrs_tile"), properties.get("grid:code"), properties.get("sentinel:mgrs")]
    written += ["".join(map(str, triple)) for triple in triples]
    written += [product["mgrs"]] if product else []
    match = next((match for text in written if (match := _MGRS.match(str(text or "")))), None)
    return f"{int(match[1]):02d}{match[2]}{match[3]}" if match else None


def _level(item: dict[str, Any], collection: str, product: re.Match[str] | None) -> str | None:
    properties = item["properties"]
    kind = str(properties.get("s2:product_type") or properties.get("product:type") or "").removeprefix("S2")
    if kind.startswith("MSI") and len(kind) >= 5:
        return f"L{kind[3:5]}"
    stated = (properties.get(key) for key in ("processing:level", "landsat:correction", "sar:product_type"))
    level = next((value for value in stated if isinstance(value, str) and value), product and product["level"])
    if level:
        return level
    match = _LEVEL.search(item["id"].replace("_", "-")) or _LEVEL.search(collection.replace("_", "-"))
    return match[1].upper() if match else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
