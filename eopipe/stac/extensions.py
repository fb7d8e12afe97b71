"""The fields of STAC's extensions that the output uses, each from its specification.

Versions: projection 2.0.0, raster 2.0.0, classification 2.0.0, processing 1.2.0, file 2.1.0,
mlm 1.4.0, xarray-assets 1.0.0; core 1.1.0, whose ``bands``, ``data_type`` and ``nodata``
replace ``raster:bands`` (odc-stac and pystac read both, so nothing is said twice).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eopipe.grid import Grid, PixelBox
    from eopipe.kernelinfo import ArraySpec, ClassInfo, KernelInfo
    from eopipe.run_folder import OutputFile

_BASE = "https://stac-extensions.github.io"
PROJECTION = f"{_BASE}/projection/v2.0.0/schema.json"
RASTER = f"{_BASE}/raster/v2.0.0/schema.json"
CLASSIFICATION = f"{_BASE}/classification/v2.0.0/schema.json"
PROCESSING = f"{_BASE}/processing/v1.2.0/schema.json"
FILE = f"{_BASE}/file/v2.1.0/schema.json"
MLM = f"{_BASE}/mlm/v1.4.0/schema.json"
XARRAY = f"{_BASE}/xarray-assets/v1.0.0/schema.json"

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
PARQUET = "application/vnd.apache.parquet"
ZARR = "application/vnd.zarr; version=3"
_TYPES = {".zarr": ZARR, ".tif": COG, ".parquet": PARQUET, ".png": "image/png", ".json": "application/json"}

_SHA256 = "1220"
"""Multihash prefix: function sha2-256, 32 bytes."""


def media_type(path: str) -> str:
    """By the file's ending; octets where it is unknown."""
    return _TYPES.get(PurePosixPath(path).suffix, "application/octet-stream")


def crs_fields(grid: Grid) -> dict[str, Any]:
    """``proj:code``, or WKT where the CRS has no code."""
    if re.fullmatch(r"[A-Za-z0-9_]+:[A-Za-z0-9_]+", grid.crs):
        return {"proj:code": grid.crs}
    return {"proj:code": None, "proj:wkt2": grid.crs}


def raster_fields(grid: Grid, box: PixelBox) -> dict[str, Any]:
    """Shape, transform and bounds of a raster that covers ``box``."""
    left, bottom, right, top = grid.bounds(box)
    return {
        "proj:shape": list(box.shape),
        "proj:transform": [grid.resolution, 0.0, left, 0.0, -grid.resolution, top],
        "proj:bbox": [left, bottom, right, top],
    }


def file_fields(file: OutputFile) -> dict[str, Any]:
    """Size and checksum (multihash)."""
    return {"file:size": file.size, "file:checksum": f"{_SHA256}{file.sha256}"}


def bands_of(spec: ArraySpec, gsd: float, histogram: Mapping[int, int] | None = None) -> Iterator[dict[str, Any]]:
    """A band object for each plane of an array; counts per class where a histogram is given."""
    for plane in spec.bands or (spec.name,):
        band: dict[str, Any] = {
            "name": plane if plane == spec.name else f"{spec.name}:{plane}",
            "description": spec.long_name or spec.name,
            "data_type": spec.dtype,
            "nodata": spec.fill,
            "raster:spatial_resolution": gsd,
        }
        if spec.classes:
            band["classification:classes"] = classes(spec, histogram)
        if spec.classes and histogram is not None:
            band["statistics"] = {"valid_percent": _valid_percent(spec, histogram)}
        yield band


def classes(spec: ArraySpec, histogram: Mapping[int, int] | None = None) -> list[dict[str, Any]]:
    """The class table, its codes without a value last; ``count`` of each where a histogram is given."""
    table = [_class(info, missing=False) for info in spec.classes if info.code not in (spec.nodata, spec.fill)]
    named = {info.code: info for info in spec.classes}
    for code, name, text in (
        (spec.nodata, "no_observation", "no valid observation"),
        (spec.fill, "not_produced", "not produced: failed, not yet run, or outside the area"),
    ):
        table.append(
            _class(named[code], missing=True)
            if code in named
            else {"value": code, "name": name, "title": text, "description": text, "nodata": True}
        )
    if histogram is not None:
        table = [{**entry, "count": int(histogram.get(entry["value"], 0))} for entry in table]
    return table


def _class(info: ClassInfo, *, missing: bool) -> dict[str, Any]:
    """One class; names are slugs, as the extension has it, and titles are for people."""
    entry: dict[str, Any] = {
        "value": info.code,
        "name": re.sub(r"[^0-9A-Za-z_-]+", "_", info.name).strip("_") or f"class_{info.code}",
        "title": info.name,
        "description": f"prompts: {', '.join(info.prompts)}" if info.prompts else info.name,
        "nodata": missing,
    }
    if info.colour:
        entry["color_hint"] = info.colour.lstrip("#").upper()
    return entry


def _valid_percent(spec: ArraySpec, histogram: Mapping[int, int]) -> float:
    total = sum(histogram.values())
    valid = sum(count for code, count in histogram.items() if code not in (spec.nodata, spec.fill))
    return round(100 * valid / total, 4) if total else 0.0


def model_asset(
    kernel: KernelInfo, arrays: tuple[ArraySpec, ...], software: Mapping[str, str], run_file: str
) -> dict[str, Any]:
    """The model as an asset of the Collection (mlm): the tiles are its products, not models themselves."""
    known = dict(kernel.provenance)
    name = _model_name(str(known.get("model", kernel.name)))
    source = str(known.get("source", ""))
    architecture = known.get("architecture")  # a word, or a table of sizes
    suffixes = [PurePosixPath(str(file)).suffix.lstrip(".") for file in (known.get("file", ""), *kernel.weights)]
    asset: dict[str, Any] = {
        "href": source if re.match(r"https?://\S+$", source) else run_file,
        "title": f"Model: {known.get('model', kernel.name)}",
        "roles": ["mlm:model"],
        "mlm:name": name,
        "mlm:architecture": architecture if isinstance(architecture, str) else name,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": str(known.get("framework", "PyTorch")),
        "mlm:artifact_type": next(filter(None, suffixes), "weights"),
        "mlm:input": [_model_input(kernel)],
        "mlm:output": [_model_output(kernel, spec) for spec in arrays],
        "eopipe:provenance": known,
        "eopipe:weights": dict(kernel.weights),
    }
    if "torch" in software:
        asset["mlm:framework_version"] = software["torch"]
    options = {option: value for option, value in kernel.options.items() if option not in kernel.places}
    if options:
        asset["mlm:hyperparameters"] = options
    return asset


def _model_name(text: str) -> str:
    """The extension's pattern: starts with a letter, ends with a letter or digit."""
    name = re.sub(r"[^A-Za-z0-9_.\-\s]+", "-", text).strip("-_. ")
    return name if re.match(r"[A-Za-z].*[A-Za-z0-9]$", name) and len(name) > 2 else f"model {name or 0}"


def _model_input(kernel: KernelInfo) -> dict[str, Any]:
    inputs, size = kernel.inputs, kernel.window.size
    return {
        "name": inputs.modality,
        "bands": list(inputs.bands),
        "input": {
            "shape": [-1, inputs.epochs, len(inputs.bands), size, size],
            "dim_order": ["batch", "time", "channel", "height", "width"],
            "data_type": "float32",
        },
    }


def _model_output(kernel: KernelInfo, spec: ArraySpec) -> dict[str, Any]:
    size = kernel.window.size
    planes = ([len(spec.bands)], ["class"]) if spec.bands else ([], [])
    return {
        "name": spec.name,
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, *planes[0], size, size],
            "dim_order": ["batch", *planes[1], "height", "width"],
            "data_type": spec.dtype,
        },
        "classification:classes": classes(spec) if spec.classes else [],
    }
