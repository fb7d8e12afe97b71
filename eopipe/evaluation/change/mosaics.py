"""A finished run's map against label rasters: a labelled pixel is judged at the mosaic's pixel under its centre."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import rasterio
import zarr
from pyproj import Transformer
from rasterio.errors import RasterioError
from rasterio.windows import Window

from eopipe.errors import ItemError, SpecError
from eopipe.evaluation.dataset import asset_path, read_items
from eopipe.evaluation.metrics import IGNORE, Confusion
from eopipe.evaluation.read_images import error_text
from eopipe.mosaic.store import read_layout
from eopipe.run_folder import MOSAIC
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from affine import Affine
    from numpy.typing import NDArray

    from eopipe.mosaic.layout import Layout

CHANGE = "change"
"""Name of the array that is judged."""

UNSEEN, NOT_PRODUCED = 254, 255
"""Codes of the map: no valid observation in an epoch; failed, not yet run or outside the area."""

ROWS = 512
"""Rows of a label raster that are judged at once."""


class MapArray(Protocol):
    """A map of change: a Zarr array, or an array in memory."""

    def __getitem__(self, window: tuple[slice, slice]) -> Any:
        """``[y, x]``: 0, 1, 254 or 255."""


@dataclass(frozen=True)
class LabelRaster:
    """A georeferenced label file.

    Args:
        address: Path or address of the file.
        changed: Its value of change.
        unchanged: Its value of no change; other values are not judged.
    """

    address: str
    changed: int
    unchanged: int


@dataclass(frozen=True)
class MapCounts:
    """Counts of a judged map; they add up.

    Args:
        confusion: Unchanged and changed; a pixel that the map has no answer for is missed.
        outside: Labelled pixels whose centre lies outside the mosaic.
        not_produced: Those inside that no tile has produced, or that lie outside the run's area.
        unseen: Those without a valid observation in an epoch.
    """

    confusion: Confusion = field(default_factory=lambda: Confusion.empty(2))
    outside: int = 0
    not_produced: int = 0
    unseen: int = 0

    def __add__(self, other: MapCounts) -> MapCounts:
        return MapCounts(*(getattr(self, name) + getattr(other, name) for name in vars(self)))


def judge_run(run: str, rasters: Sequence[LabelRaster]) -> tuple[MapCounts, list[str]]:
    """Judge a run's ``change``.

    Args:
        run: The run's folder, local or remote.
        rasters: The labels.

    Returns:
        The counts, and the label files that lie wholly outside the mosaic, which are left out.

    Raises:
        SpecError: The run has no such map, or no label lies in its mosaic.
        OutputError: There is no mosaic, or it cannot be reached.
    """
    storage = Storage.open(run)
    layout, total, elsewhere = read_layout(storage), MapCounts(), []
    with storage.guard(MOSAIC):
        array = read_array(storage, layout)
        for raster in rasters:
            counts = judge_map(raster, layout, array)
            if counts.confusion.pixels > counts.outside:
                total += counts
            else:
                elsewhere.append(raster.address)
    if not total.confusion.pixels:
        raise SpecError(f"no label of {rasters[0].address} lies in the mosaic of {run}; give labels of its area")
    return total, elsewhere


def read_array(storage: Storage, layout: Layout, name: str = CHANGE) -> MapArray:
    """An array of the mosaic at full resolution, read lazily.

    Raises:
        SpecError: The run has no array of that name.
    """
    names = [spec.name for spec in layout.arrays]
    if name not in names:
        raise SpecError(f"{storage.url()} has no array {name!r} ({', '.join(names)}); give a run of kernel change")
    array: MapArray = zarr.open_group(storage.zarr_store(MOSAIC), mode="r", zarr_format=3)[f"0/{name}"]  # type: ignore[assignment]  # not a group
    return array


def judge_map(raster: LabelRaster, layout: Layout, array: MapArray) -> MapCounts:
    """Judge a map on a mosaic's pixels.

    Args:
        raster: The labels.
        layout: Grid of the map.
        array: The map, at the layout's full resolution.

    Raises:
        SpecError: The raster cannot be read, has no CRS, or holds neither value.
    """
    total, shape = MapCounts(), layout.shape(0)
    for truth, rows, cols in located_labels(raster, layout):
        judged = truth != IGNORE
        inside = judged & (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
        codes = np.full(truth.shape, NOT_PRODUCED, np.uint8)
        if inside.any():
            row, col = rows[inside], cols[inside]
            top, left = int(row.min()), int(col.min())
            block = np.asarray(array[top : int(row.max()) + 1, left : int(col.max()) + 1])
            codes[inside] = block[row - top, col - left]
        total += MapCounts(
            Confusion.of(truth, np.where(codes > 1, IGNORE, codes), classes=2),
            outside=int(judged.sum() - inside.sum()),
            not_produced=int((inside & (codes == NOT_PRODUCED)).sum()),
            unseen=int((inside & (codes == UNSEEN)).sum()),
        )
    if not total.confusion.pixels:
        raise SpecError(
            f"labels {raster.address} hold neither {raster.changed} (changed) nor {raster.unchanged} (unchanged); "
            f"name their values with --changed and --unchanged"
        )
    return total


def located_labels(
    raster: LabelRaster, layout: Layout
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]]:
    """Labels, strip by strip, with the mosaic's rows and columns under their centres.

    Yields:
        Truth (0, 1, 255), row and column of each pixel; the latter may lie outside the mosaic.

    Raises:
        SpecError: The raster cannot be read, or has no CRS.
    """
    try:
        with rasterio.open(raster.address) as file:
            if file.crs is None:
                raise SpecError(f"labels {raster.address} have no CRS; georeference them")
            to_map = Transformer.from_crs(file.crs.to_wkt(), layout.grid.crs, always_xy=True)
            inverse = ~layout.transform(0)
            for top in range(0, file.height, ROWS):
                values = file.read(1, window=Window(0, top, file.width, min(ROWS, file.height - top)))
                row, col = np.indices(values.shape)
                x, y = _apply(file.transform, col.ravel() + 0.5, row.ravel() + top + 0.5)
                across, down = _apply(inverse, *to_map.transform(x, y))
                truth = np.full(values.size, IGNORE, np.uint8)
                truth[values.ravel() == raster.unchanged] = 0
                truth[values.ravel() == raster.changed] = 1
                yield truth, _floor(down), _floor(across)
    except RasterioError as error:
        raise SpecError(f"labels {raster.address} cannot be read ({error_text(error)}); give a GeoTIFF") from None


def find_rasters(address: str, asset: str, *, changed: int, unchanged: int) -> list[LabelRaster]:
    """The label raster at an address, or those of the items of a static STAC document.

    Args:
        address: Path or address of a raster, or of a ``.json`` or ``.geojson``.
        asset: Asset of the items that holds labels; items without it are left out.
        changed: See `LabelRaster`.
        unchanged: See `LabelRaster`.

    Raises:
        CatalogError: The document cannot be read.
        ItemError: No item has the asset.
    """
    paths = [address]
    if address.lower().split("?")[0].endswith((".json", ".geojson")):
        paths = [asset_path(item.assets[asset]) for item in read_items(address) if asset in item.assets]
    if not paths:
        raise ItemError(f"no item of {address} has an asset {asset!r}; name the labels' with --label-asset")
    return [LabelRaster(path, changed, unchanged) for path in paths]


def _apply(
    transform: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A transform on arrays; written out, since affine 2 and 3 spell the product differently."""
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f


def _floor(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers below; coordinates that cannot be projected become -1, outside the mosaic."""
    return np.floor(np.where(np.isfinite(values), values, -1)).astype(np.int64)
