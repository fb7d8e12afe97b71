"""A finished run's map against label rasters: each labelled pixel at the mosaic's pixel that its centre falls in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import rasterio
import zarr
from pyproj import Transformer
from rasterio.errors import RasterioError
from rasterio.windows import Window

from eopipe.errors import ItemError, SpecError
from eopipe.evaluation.dataset import local_path, read_items
from eopipe.evaluation.metrics import IGNORE, Confusion
from eopipe.mosaic.store import MOSAIC, read_layout
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from affine import Affine
    from numpy.typing import NDArray

    from eopipe.mosaic.layout import Layout

CHANGE = "change"
"""The array that is judged."""

UNSEEN, NOT_PRODUCED = 254, 255
"""In the map: no valid observation in an epoch; failed, not yet run or outside the area."""

ROWS = 512
"""Of a label raster that are judged at once."""


class ReadsMap(Protocol):
    """Reads part of a map; a Zarr array, or an array in memory."""

    def __getitem__(self, place: tuple[slice, slice]) -> Any:
        """``[y, x]``: 0, 1, 254 or 255."""
        ...


@dataclass(frozen=True)
class LabelRaster:
    """Labels with a place.

    Args:
        address: Of the file.
        changed: Its value of change.
        unchanged: Its value of no change; what is neither is not judged.
    """

    address: str
    changed: int
    unchanged: int


@dataclass(frozen=True)
class MapJudged:
    """What a map is worth; sums add.

    Args:
        confusion: Unchanged and changed; a pixel that the map does not tell is missed.
        outside: Labelled pixels whose centre lies outside the mosaic.
        not_produced: Those in it that no tile has produced, or that the run's area leaves out.
        unseen: Those that an epoch did not see.
    """

    confusion: Confusion
    outside: int = 0
    not_produced: int = 0
    unseen: int = 0

    @classmethod
    def empty(cls) -> MapJudged:
        """Nothing judged yet."""
        return cls(Confusion.empty(2))

    def __add__(self, other: MapJudged) -> MapJudged:
        return MapJudged(
            self.confusion + other.confusion,
            self.outside + other.outside,
            self.not_produced + other.not_produced,
            self.unseen + other.unseen,
        )

    @property
    def inside(self) -> int:
        """Labelled pixels that the mosaic has."""
        return self.confusion.pixels - self.outside


def judge_run(out: str, rasters: Sequence[LabelRaster]) -> tuple[MapJudged, list[str]]:
    """Judge a run's ``change``.

    Args:
        out: The run's folder, local or remote.
        rasters: The labels.

    Returns:
        What was found, and the label files that lie wholly outside the mosaic, which are left out.

    Raises:
        SpecError: The run has no such map, or no label lies in its mosaic.
        OutputError: There is no mosaic, or it cannot be reached.
    """
    storage = Storage.open(out)
    layout, total, beside = read_layout(storage), MapJudged.empty(), []
    with storage.guard(MOSAIC):
        array = read_array(storage, layout)
        for raster in rasters:
            found = judge_map(raster, layout, array)
            if found.inside:
                total += found
            else:
                beside.append(raster.address)
    if not total.confusion.pixels:
        raise SpecError(
            f"no pixel that {rasters[0].address} labels lies in the mosaic of {out}; give labels of its area"
        )
    return total, beside


def read_array(storage: Storage, layout: Layout, name: str = CHANGE) -> ReadsMap:
    """A map at full resolution; it is read where it is asked.

    Raises:
        SpecError: The run has none of that name.
    """
    names = [spec.name for spec in layout.arrays]
    if name not in names:
        raise SpecError(
            f"{storage.url()} has no array {name!r} ({', '.join(names)}); give a run of the change kernel"
        )
    found: ReadsMap = zarr.open_group(storage.zarr_store(MOSAIC), mode="r", zarr_format=3)[f"0/{name}"]  # type: ignore[assignment]  # not a group
    return found


def judge_map(raster: LabelRaster, layout: Layout, array: ReadsMap) -> MapJudged:
    """Judge a map on a mosaic's pixels.

    Args:
        raster: The labels.
        layout: Where the map lies.
        array: The map, of the layout's full resolution.

    Raises:
        SpecError: The raster cannot be read, has no CRS, or holds neither value.
    """
    total = MapJudged.empty()
    for truth, rows, cols in labelled(raster, layout):
        total += _judge(truth, rows, cols, layout.shape(0), array)
    if not total.confusion.pixels:
        raise SpecError(
            f"labels {raster.address} hold neither {raster.changed} (changed) nor {raster.unchanged} (unchanged); "
            f"say what they hold with --changed and --unchanged"
        )
    return total


def labelled(
    raster: LabelRaster, layout: Layout
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]]:
    """Labels, strip by strip, with the mosaic's rows and columns in which their centres fall.

    Yields:
        Truth (0, 1, 255), rows and columns of each pixel; these may lie outside.

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
        said = " ".join(str(error).split())[:200]
        raise SpecError(f"labels {raster.address} cannot be read ({said}); give a georeferenced raster") from None


def labels_of(address: str, asset: str, *, changed: int, unchanged: int) -> list[LabelRaster]:
    """Label rasters of a file, or of those items of a static STAC document that have any.

    Raises:
        CatalogError: The document cannot be read.
        ItemError: No item has the asset.
    """
    if not address.lower().split("?")[0].endswith((".json", ".geojson")):
        return [LabelRaster(address, changed, unchanged)]
    found = [item.assets[asset] for item in read_items(address) if asset in item.assets]
    if not found:
        raise ItemError(f"no item of {address} has an asset {asset!r}; name the labels' with --label-asset")
    return [LabelRaster(local_path(each.get_absolute_href() or each.href), changed, unchanged) for each in found]


def _judge(
    truth: NDArray[np.uint8],
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    shape: tuple[int, int],
    array: ReadsMap,
) -> MapJudged:
    judged = truth != IGNORE
    inside = judged & (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    codes = np.full(truth.shape, NOT_PRODUCED, np.uint8)
    if inside.any():
        row, col = rows[inside], cols[inside]
        top, left = int(row.min()), int(col.min())
        part = np.asarray(array[top : int(row.max()) + 1, left : int(col.max()) + 1])
        codes[inside] = part[row - top, col - left]
    said = np.where(codes > 1, IGNORE, codes)
    return MapJudged(
        Confusion.of(truth, said, classes=2),
        outside=int(judged.sum() - inside.sum()),
        not_produced=int((inside & (codes == NOT_PRODUCED)).sum()),
        unseen=int((inside & (codes == UNSEEN)).sum()),
    )


def _apply(
    transform: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Written out, for affine 2 and 3 spell it differently."""
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f


def _floor(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers below; what a projection cannot place lies outside."""
    return np.floor(np.where(np.isfinite(values), values, -1)).astype(np.int64)
