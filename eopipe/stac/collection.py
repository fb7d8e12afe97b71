"""A run as a STAC Collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.run_folder import COLLECTION
from eopipe.stac import extensions as ext
from eopipe.stac.item import EXTENSIONS, VERSION, asset, bands, href, span, when

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.stac.publish_input import PublishInfo, TileOutput

LINKED_ITEMS = 1000
"""Up to so many Items the Collection links each; above, it points to the table."""

_FAILED_LISTED = 100


def collection(info: PublishInfo, outputs: Sequence[TileOutput]) -> dict[str, Any]:
    """The Collection's JSON.

    Args:
        info: The run.
        outputs: Tiles that were produced, in the order of their Items.
    """
    start, end = span(info, outputs)
    failed = len(info.failed)
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [*EXTENSIONS, *([ext.MLM] if info.kernel.weights else []), ext.XARRAY],
        "id": info.name,
        "title": info.name,
        "description": _description(info, len(outputs)),
        "keywords": [info.kernel.name, "eopipe"],
        "license": "other",
        "providers": [_processor(info)],
        "extent": {
            "spatial": {"bbox": [list(info.area.bbox)]},
            "temporal": {"interval": [[when(start), when(end)]]},
        },
        "summaries": _summaries(info),
        "item_assets": _item_assets(info, outputs),
        "assets": _assets(info, outputs),
        "links": _links(info, outputs),
        "eopipe:tiles": len(outputs) + failed,
        "eopipe:failed_tiles": failed,
        "eopipe:counts": dict(info.counts),
        "eopipe:failed": dict(sorted(info.failed.items())[:_FAILED_LISTED]),
        **({"eopipe:warnings": list(info.warnings)} if info.warnings else {}),
    }


def _description(info: PublishInfo, produced: int) -> str:
    failed = len(info.failed)
    if not failed:
        return info.description
    return (
        f"{info.description}\n\n**Incomplete:** {failed} of {produced + failed} tiles failed; "
        "they have no Item, and their pixels hold the fill value."
    )


def _processor(info: PublishInfo) -> dict[str, Any]:
    return {
        "name": "eopipe",
        "roles": ["processor"],
        "processing:software": dict(info.software),
        "processing:lineage": f"{info.kernel.name} {info.kernel.version} on tiles of {info.tile_size} pixels",
    }


def _summaries(info: PublishInfo) -> dict[str, Any]:
    code = ext.crs_fields(info.region.grid)["proj:code"]
    summaries: dict[str, Any] = {"gsd": [info.gsd], "eopipe:kernel": [info.kernel.name]}
    return summaries | ({"proj:code": [code]} if code else {})


def _item_assets(info: PublishInfo, outputs: Sequence[TileOutput]) -> dict[str, Any]:
    """What each Item's assets are, with the whole class table."""
    types = {name: ext.media_type(file.path) for output in outputs for name, file in output.files.items()}
    return {
        name: {"type": kind, "roles": ["data"], "title": name}
        | ({"bands": bands(info, info.arrays_of(name))} if kind == ext.COG else {})
        for name, kind in sorted(types.items())
    }


def _assets(info: PublishInfo, outputs: Sequence[TileOutput]) -> dict[str, Any]:
    mosaic = asset(run_folder.MOSAIC, COLLECTION, "The whole map", "data", "overview")
    mosaic |= {
        "description": f"Zarr v3, sharded; groups 0 to {info.levels - 1}, full resolution is 0",
        **ext.crs_fields(info.region.grid),
        "bands": bands(info, info.arrays),
        "xarray:open_kwargs": {"engine": "zarr", "group": "0", "consolidated": False},
    }
    run = asset(run_folder.RUN, COLLECTION, "Spec, resolved values, tile recipe and versions", "metadata")
    assets = {"mosaic": mosaic, "run": run}
    if outputs:
        title = "All Items (stac-geoparquet)"
        assets["items"] = asset(run_folder.STAC_TABLE, COLLECTION, title, "collection-mirror")
    if info.objects is not None:
        file, crs = info.objects.file, ext.crs_fields(info.region.grid)
        fields = {**crs, **ext.file_fields(file), "eopipe:objects": info.objects.count}
        fields["eopipe:sources"] = info.objects.sources
        assets["objects"] = asset(file.path, COLLECTION, "All objects (GeoParquet)", "data", **fields)
    if info.quicklook is not None:
        path, fields = info.quicklook.path, ext.file_fields(info.quicklook)
        assets["quicklook"] = asset(path, COLLECTION, "The map with its legend", "thumbnail", "overview", **fields)
    if info.kernel.weights:
        assets["model"] = ext.model_asset(info.kernel, info.arrays, info.software, href(run_folder.RUN, COLLECTION))
    return assets


def _links(info: PublishInfo, outputs: Sequence[TileOutput]) -> list[dict[str, Any]]:
    links = [{"rel": "root", "href": "./collection.json", "type": "application/json", "title": info.name}]
    if len(outputs) > LINKED_ITEMS:
        table = href(run_folder.STAC_TABLE, COLLECTION)
        return [*links, {"rel": "items", "href": table, "type": ext.PARQUET, "title": "All Items"}]
    paths = [run_folder.stac_item(output.tile) for output in outputs]
    return links + [{"rel": "item", "href": href(path, COLLECTION), "type": "application/geo+json"} for path in paths]
