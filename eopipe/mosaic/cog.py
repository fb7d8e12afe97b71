"""A tile as cloud-optimised GeoTIFFs: one file an array, each opening in QGIS and titiler as it should look.

A TIFF palette is for a file of one 8-bit band only. So arrays are not stacked: the map itself, the first array
with classes, is paletted and has the tile's plain name; the others stand beside it (``…-confidence.tif``). Each
has an explicit mask inside the file, not a no-data value: the codes that are no answer (0 and 255 in ``label``)
are transparent, and stay readable as values.

Overviews are GDAL's own (mode or average, masked pixels left out). They are for looking only; the pyramid that
analyses may use is the mosaic's, where ties are defined.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.shutil import copy as rasterio_copy

from eopipe.run_folder import OutputFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from eopipe.kernelinfo import ArraySpec
    from eopipe.storage import Storage

# Deflate: every reader has it, geotiff.js and old QGIS too; zstd would save 5 % of the bytes.
_OPTIONS = {
    "driver": "COG",
    "compress": "DEFLATE",
    "level": "6",
    "blocksize": "512",
    "num_threads": "1",
    "bigtiff": "IF_SAFER",
}


@dataclass(frozen=True)
class CogInfo:
    """What every COG of a run says.

    Args:
        run: The run's name.
        kernel: The kernel's name.
        arrays: The mosaic's arrays; the first with classes is the map.
        tags: Further metadata, such as the model.
    """

    run: str
    kernel: str
    arrays: tuple[ArraySpec, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


def write_cog(
    storage: Storage, *, path: str, geobox: GeoBox, arrays: Mapping[str, NDArray[Any]], info: CogInfo
) -> dict[str, OutputFile]:
    """Write a tile's COGs.

    Args:
        storage: The run's folder.
        path: Where the map goes, ending in ``.tif``; other arrays get ``-<name>`` before the ending.
        geobox: The tile's pixels.
        arrays: Array name to ``[y, x]`` or ``[plane, y, x]``.
        info: What to say of them.

    Returns:
        Array name to its file; the same bytes for the same arrays.

    Raises:
        OutputError: Denied, full or unreachable.
    """
    written = {}
    main = next((spec.name for spec in info.arrays if spec.classes), info.arrays[0].name)
    for spec in info.arrays:
        target = path if spec.name == main else f"{path.removesuffix('.tif')}-{spec.name}.tif"
        data = encode_cog(arrays[spec.name], spec, geobox, info)
        storage.put(target, data)
        written[spec.name] = OutputFile.of(target, data)
    return written


def encode_cog(array: NDArray[Any], spec: ArraySpec, geobox: GeoBox, info: CogInfo) -> bytes:
    """One array as the bytes of a COG.

    Args:
        array: ``[y, x]`` or ``[plane, y, x]`` over the geobox.
        spec: What it is.
        geobox: Where it lies.
        info: The run's own words.
    """
    planes = array if array.ndim == 3 else array[np.newaxis]
    resampling = "MODE" if spec.classes else "AVERAGE"
    # the driver copies from a dataset; memory, since a worker's temporary disk may be small or absent
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as plain, MemoryFile() as cog:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a grid may well start at the CRS's origin
            _write_plain(plain, planes, spec, geobox, info)
            rasterio_copy(plain.name, cog.name, overview_resampling=resampling, **_OPTIONS)
        return bytes(cog.getbuffer())


def valid(array: NDArray[Any], spec: ArraySpec) -> NDArray[np.bool_]:
    """True where the array holds an answer: neither fill nor a code that never wins; ``[y, x]``."""
    answer = ~np.isin(array, (*spec.losers, spec.fill))
    return np.asarray(answer.any(axis=0)) if answer.ndim == 3 else answer


def rgb(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three numbers."""
    return (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))


def _write_plain(file: MemoryFile, planes: NDArray[Any], spec: ArraySpec, geobox: GeoBox, info: CogInfo) -> None:
    rows, cols = geobox.shape
    profile = {
        "driver": "GTiff",
        "dtype": planes.dtype,
        "count": len(planes),
        "height": rows,
        "width": cols,
        "tiled": True,
    }
    with file.open(**profile, crs=str(geobox.crs), transform=geobox.affine) as dataset:
        dataset.write(planes)
        dataset.write_mask(valid(planes, spec))
        dataset.update_tags(**_tags(spec, info))
        for number, name in enumerate(spec.bands or (spec.name,), start=1):
            dataset.set_band_description(number, name)
        if spec.classes and planes.dtype == np.uint8 and len(planes) == 1:
            dataset.write_colormap(1, {entry.code: (*rgb(entry.colour), 255) for entry in spec.classes})
        else:
            dataset.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(planes) - 1)


def _tags(spec: ArraySpec, info: CogInfo) -> dict[str, str]:
    tags = {"RUN": info.run, "KERNEL": info.kernel, "ARRAY": spec.name, **info.tags}
    if spec.long_name:
        tags["TIFFTAG_IMAGEDESCRIPTION"] = f"{info.run}: {spec.long_name}"
    return tags | {f"CLASS_{entry.code}": entry.name for entry in spec.classes}
