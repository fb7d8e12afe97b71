"""What the store says of itself: CF for xarray, GeoZarr for viewers.

CF's ``grid_mapping`` with ``crs_wkt`` and ``GeoTransform`` is what xarray's ``.rio`` and ``.odc`` read; the Zarr
conventions ``proj:``, ``spatial:`` and ``multiscales`` are what OpenLayers, titiler and others read. There is
deliberately no CF ``_FillValue`` or ``valid_range``: xarray would turn labels into floats.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyproj import CRS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from affine import Affine

    from eopipe.kernelinfo import ArraySpec
    from eopipe.mosaic.layout import Layout

# The schemas' tags fix the wording of names and descriptions; the uuid is what identifies a convention.
_CONVENTIONS = {
    "multiscales": "d35379db-88df-4056-af3a-620245f8e347",
    "proj": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "spatial": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
}

NO_OBSERVATION = "no_valid_observation"
NOT_PRODUCED = "not_produced"
_GREY, _CLEAR = "#808080", "#000000"


def convention(*names: str) -> list[dict[str, str]]:
    """Entries of ``zarr_conventions``."""
    schema = "https://raw.githubusercontent.com/zarr-conventions/{}/refs/tags/v0.1/schema.json"
    return [{"uuid": _CONVENTIONS[name], "schema_url": schema.format(name)} for name in names]


def root_attributes(layout: Layout) -> dict[str, Any]:
    """The pyramid, the CRS, and how shards are named as tiles."""
    bounds = layout.tile_bounds
    return {
        "zarr_conventions": convention("multiscales", "proj", "spatial"),
        **_proj(layout),
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": list(layout.grid.bounds(layout.box)),
        "multiscales": {
            "layout": [_level(layout, level) for level in range(layout.levels)],
            "resampling_method": "mode",
        },
        "tile_origin": [bounds.row0, bounds.col0],
        "tile_size": layout.tile,
        "eopipe:layout": asdict(layout),
    }


def group_attributes(layout: Layout, level: int) -> dict[str, Any]:
    """One level: enough to open it alone."""
    bounds = layout.tile_bounds
    return {
        "Conventions": "CF-1.11",
        "zarr_conventions": convention("proj", "spatial"),
        **_proj(layout),
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": list(layout.shape(level)),
        "spatial:transform": list(layout.transform(level))[:6],
        "spatial:registration": "pixel",
        "tile_origin": [bounds.row0, bounds.col0],
        "tile_size": layout.tile,
        "level": level,
    }


def array_attributes(spec: ArraySpec, *, reduced: bool) -> dict[str, Any]:
    """One array: its flags, colours and prompts, and where it lies."""
    attributes: dict[str, Any] = {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}
    if spec.long_name:
        attributes["long_name"] = spec.long_name
    if spec.classes:
        attributes |= _flags(spec)
    else:
        attributes["flag_values"] = sorted({*spec.losers, spec.fill})
        attributes["flag_meanings"] = " ".join(
            NOT_PRODUCED if code == spec.fill else NO_OBSERVATION for code in attributes["flag_values"]
        )
    if spec.bands:
        attributes["band_names"] = list(spec.bands)
    if reduced:
        attributes["cell_methods"] = "area: mode" if spec.classes else "area: mean"
    return attributes


def status_attributes(layout: Layout, codes: Mapping[str, int]) -> dict[str, Any]:
    """``tile_status``: its flags, and which tile its first pixel is."""
    return {
        "long_name": "what became of each tile",
        "flag_values": list(codes.values()),
        "flag_meanings": " ".join(name.replace(" ", "_") for name in codes),
        "grid_mapping": "spatial_ref",
        "coordinates": "spatial_ref",
        "tile_origin": [layout.tile_bounds.row0, layout.tile_bounds.col0],
    }


def spatial_ref_attributes(layout: Layout, transform: Affine) -> dict[str, Any]:
    """The CF grid mapping, with GDAL's ``GeoTransform``."""
    a, b, c, d, e, f = list(transform)[:6]
    crs = CRS.from_user_input(layout.grid.crs)
    return {
        **_plain(crs.to_cf()),
        "spatial_ref": crs.to_wkt(),
        "GeoTransform": f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}",
    }


def axis_attributes(layout: Layout, axis: str) -> dict[str, Any]:
    """CF attributes of ``x`` or ``y``."""
    cf = {entry["axis"]: entry for entry in CRS.from_user_input(layout.grid.crs).cs_to_cf()}
    return _plain(cf.get(axis.upper(), {"axis": axis.upper()}))


def _flags(spec: ArraySpec) -> dict[str, Any]:
    table = {info.code: (info.name, info.colour) for info in spec.classes}
    table.setdefault(spec.nodata, (NO_OBSERVATION, _GREY))
    table.setdefault(spec.fill, (NOT_PRODUCED, _CLEAR))
    codes = sorted(table)
    return {
        "flag_values": codes,
        "flag_meanings": " ".join("_".join(table[code][0].split()) for code in codes),
        "flag_colors": " ".join(table[code][1] for code in codes),
        "prompts": {info.name: list(info.prompts) for info in spec.classes if info.prompts},
    }


def _level(layout: Layout, level: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "asset": str(level),
        "transform": {"scale": [1.0, 1.0] if level == 0 else [2.0, 2.0], "translation": [0.0, 0.0]},
        "spatial:shape": list(layout.shape(level)),
        "spatial:transform": list(layout.transform(level))[:6],
    }
    return entry if level == 0 else {**entry, "derived_from": str(level - 1)}


def _proj(layout: Layout) -> dict[str, str]:
    authority = CRS.from_user_input(layout.grid.crs).to_authority(min_confidence=100)
    if authority is None:
        return {"proj:wkt2": CRS.from_user_input(layout.grid.crs).to_wkt()}
    return {"proj:code": ":".join(authority)}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
