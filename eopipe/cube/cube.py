"""Cube: a described stack of scenes for notebooks, read at the source chunk by chunk.

One dask task reads one chunk with the same code as a run, so a chunk equals the pixels
that a tile of a run sees, byte for byte before the conversion to reflectance (of SAR, to decibels).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor that reads what is written here)
import xarray as xr
from pydantic import ValidationError

from eopipe.area.crs import crs_of
from eopipe.area.grid_crs import resolve_crs
from eopipe.area.lonlat import Area
from eopipe.area.on_grid import GridArea
from eopipe.cube.gdal_settings import gdal_worker_env
from eopipe.cube.item_scenes import scenes_from_items
from eopipe.cube.reader import ReadSettings, TileReader
from eopipe.cube.sar import check_numbers, decibels, modality_of
from eopipe.cube.scenes import Scene, middle_longitude, solar_day
from eopipe.errors import NoItemsError, SpecError
from eopipe.grid import CELL, Grid, PixelBox
from eopipe.spec import MaskSpec, RadiometrySpec, SarSpec
from eopipe.spec.explain import explain
from eopipe.spec.model import band_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from eopipe.snapshot import SceneIndex, Snapshot

BLOCK_CACHE = 682 * 2**20
"""Bytes of GDAL's block cache in a notebook's process."""


@dataclass(frozen=True)
class Slot:
    """One step of the time axis: an epoch, or a solar day.

    Args:
        label: Epoch name or ``YYYY-MM-DD``.
        time: Of its first scene, UTC.
        rows: Rows of the snapshot, in scene order.
    """

    label: str
    time: np.datetime64
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Cube:
    """A description of pixels: what to read, where, and how; nothing is read yet.

    Args:
        snapshot: The frozen items.
        box: Pixels of the lattice.
        settings: Bands, composite, mask, grid, signing.
        slots: The time axis.
        chunk: Side of a chunk in pixels.
        region: The area on the grid; a map of the cube holds no data outside of it.
    """

    snapshot: Snapshot = field(repr=False)
    box: PixelBox
    settings: ReadSettings
    slots: tuple[Slot, ...]
    chunk: int = 1024
    region: GridArea | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the dataset behind: its graph holds this cube, and each task would carry it."""
        return {name: value for name, value in self.__dict__.items() if name != "dataset"}

    @property
    def grid(self) -> Grid:
        """The lattice."""
        return self.settings.grid

    def settings_for(self, bands: Sequence[str], *, factor: int = 1) -> ReadSettings:
        """The cube's settings for other bands, on a lattice ``factor`` times finer."""
        return replace(self.settings, bands=tuple(bands), grid=self.grid.finer(factor))

    def scenes(self, box: PixelBox, bands: Sequence[str], grid: Grid | None = None) -> list[list[Scene]]:
        """The scenes that touch a box, one list a slot, in scene order.

        Raises:
            ItemError: An item lacks a band.
        """
        grid, settings = grid or self.grid, self.settings
        touching = set(_index_of(self.snapshot, grid).query(np.array([grid.bounds(box)]))[0].tolist())
        rows = [[row for row in slot.rows if row in touching] for slot in self.slots]
        items = (self.snapshot.items(some) for some in rows)
        return [
            scenes_from_items(
                some, bands, settings.mask, settings.sar, settings.choice, radiometry=settings.radiometry
            )
            for some in items
        ]

    def read(self, box: PixelBox) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Reflectance ``[slot, band, y, x]`` with NaN where invalid, and observations ``[slot, y, x]``; of SAR dB.

        Raises:
            TileFault: A file could not be read after retries.
        """
        gdal_worker_env(BLOCK_CACHE)
        with TileReader(self.scenes(box, self.settings.bands), self.settings) as reader:
            pixels = reader.read(box)
        for note in reader.stats.notes:
            warnings.warn(note, stacklevel=2)
        sar = self.settings.modality == "sar"
        values = decibels(pixels.values) if sar else pixels.values.astype(np.float32) / np.float32(10000)
        values[~np.broadcast_to(pixels.valid[:, None], values.shape)] = np.nan
        return values, pixels.observations

    @cached_property
    def dataset(self) -> xr.Dataset:
        """Lazy dataset: a variable a band, ``[time, y, x]`` float32 reflectance, NaN where invalid; of SAR decibels.

        ``time`` is the first scene's; ``slot`` names the epoch or the day. ``spatial_ref`` holds the CRS.
        """
        array = self._array()
        coords = _coordinates(self.grid, self.box)
        coords["time"] = ("time", np.array([slot.time for slot in self.slots], "datetime64[ns]"))
        coords["slot"] = ("time", np.array([slot.label for slot in self.slots], dtype=str))
        units, name = ("dB", "radar backscatter") if self.settings.modality == "sar" else ("1", "reflectance")
        attrs = {"grid_mapping": "spatial_ref", "units": units, "long_name": name}
        variables = {
            band: (("time", "y", "x"), array[:, number], attrs) for number, band in enumerate(self.settings.bands)
        }
        return xr.Dataset(variables, coords, {"composite": self.settings.composite, "snapshot": self.snapshot.hash})

    def _array(self) -> Any:
        rows = _edges(self.box.row0, self.box.row1, self.chunk)
        cols = _edges(self.box.col0, self.box.col1, self.chunk)
        sides = (tuple(np.diff(edges).tolist()) for edges in (rows, cols))
        chunks = ((1,) * len(self.slots), (len(self.settings.bands),), *sides)
        return da.map_blocks(
            _read_chunk,
            cube=self,
            rows=tuple(rows),
            cols=tuple(cols),
            chunks=chunks,
            dtype=np.float32,
            meta=np.empty((0, 0, 0, 0), np.float32),
            name=f"eopipe-read-{_token(self)}",
        )


def _token(cube: Cube) -> str:
    from dask.base import tokenize  # noqa: PLC0415  (dask's own package layout)

    settings = cube.settings
    parts = (cube.snapshot.hash, cube.box, cube.slots, cube.chunk, settings.bands, settings.composite, settings.grid)
    spec = (settings.mask, settings.sar, settings.radiometry, settings.choice)
    return str(tokenize(*map(repr, parts), *map(repr, spec)))


def _read_chunk(  # the block's place comes from dask
    *, cube: Cube, rows: tuple[int, ...], cols: tuple[int, ...], block_id: tuple[int, ...] = ()
) -> NDArray[np.float32]:
    slot, _, row, col = block_id
    box = PixelBox(rows[row], cols[col], rows[row + 1], cols[col + 1])
    return replace(cube, slots=(cube.slots[slot],)).read(box)[0]


def _edges(first: int, last: int, step: int) -> list[int]:
    """Chunk edges at multiples of ``step`` on the lattice, so that neighbouring cubes chunk alike."""
    return [first, *range((first // step + 1) * step, last, step), last]


_INDEXES: dict[tuple[str, Grid], SceneIndex] = {}


def _index_of(snapshot: Snapshot, grid: Grid) -> SceneIndex:
    """The snapshot's scenes on the grid; the last few are cached, since each chunk unpickles its own snapshot."""
    key = (snapshot.hash, grid)
    if key not in _INDEXES:
        if len(_INDEXES) >= 8:
            _INDEXES.clear()
        _INDEXES[key] = snapshot.scenes(grid)
    return _INDEXES[key]


def _coordinates(grid: Grid, box: PixelBox) -> dict[str, Any]:
    res = grid.resolution
    crs = crs_of(grid.crs)
    left, top = box.col0 * res, -box.row0 * res
    x = (np.arange(box.col0, box.col1) + 0.5) * res
    y = -(np.arange(box.row0, box.row1) + 0.5) * res
    degrees = crs.is_geographic
    names = ("longitude", "latitude") if degrees else ("projection_x_coordinate", "projection_y_coordinate")
    units = ("degrees_east", "degrees_north") if degrees else ("m", "m")
    attrs = {**crs.to_cf(), "spatial_ref": crs.to_wkt(), "GeoTransform": f"{left} {res} 0 {top} 0 {-res}"}
    return {
        "y": ("y", y, {"standard_name": names[1], "units": units[1], "axis": "Y"}),
        "x": ("x", x, {"standard_name": names[0], "units": units[0], "axis": "X"}),
        "spatial_ref": ((), np.int32(crs.to_epsg() or 0), attrs),
    }


def open_cube(  # noqa: PLR0913  (keyword-only: what a notebook's cell says)
    snapshot: Snapshot,
    *,
    area: Any,
    bands: Sequence[str] | Mapping[str, str | Sequence[str]],
    crs: str = "utm",
    resolution: float = 10.0,
    composite: Literal["first", "median", "least-cloudy"] = "median",
    mask: str | Mapping[str, Any] | MaskSpec | None = None,
    modality: Literal["optical", "sar"] | None = None,
    sar: Mapping[str, Any] | SarSpec | None = None,
    scale: float | Mapping[str, float] | None = None,
    offset: float | Mapping[str, float] | None = None,
    nodata: float | Mapping[str, float] | None = None,
    unit: Literal["reflectance"] | None = None,
    groupby: Literal["epoch", "solar_day"] = "epoch",
    chunk: int = 1024,
    sign: Callable[[str], str] | None = None,
    requester_pays: bool = False,
    assets: Mapping[str, str | Sequence[str]] | None = None,
    alternate: str | None = None,
    threads: int = 4,
) -> Cube:
    """Describe a cube over an area.

    Args:
        snapshot: From :func:`eopipe.search`.
        area: ``[west, south, east, north]`` in degrees, GeoJSON, or an Area.
        bands: Canonical band names, such as ``("red", "green", "blue")``, or of SAR ``("vv", "vh")``; also keys of
            assets (``B04``, ``image#2``), or a mapping from names to keys.
        crs: Authority code, WKT, ``utm`` or an equal-area name.
        resolution: Side of a pixel in CRS units.
        composite: How the scenes of one step of time become one picture.
        mask: ``scl``, ``qa_pixel``, ``bqa``, ``fmask``, ``oa_fmask``, or settings as in a spec.
        modality: ``optical`` or ``sar``; follows from the bands, which must agree where it is given.
        sar: What SAR files hold, such as ``{"unit": "dB"}``, where the items do not say.
        scale: Reflectance a DN, for all bands or by band, as ``source.scale``; outranks what items and files say.
        offset: Likewise, added after scaling.
        nodata: Likewise, DN without data; what the files themselves declare counts beside it.
        unit: ``reflectance``, where an item or a file states another unit and is wrong.
        groupby: A step of time is an epoch of the snapshot, or a solar day at each scene's own longitude.
        chunk: Side of a chunk in pixels, a multiple of 512.
        sign: Signing hook; ``eopipe.stac.signing.signer_for(source)`` makes one.
        requester_pays: Whether reads may be charged to you.
        assets: Band or mask to the key of the asset that holds it, as ``source.bands`` has it in a spec.
        alternate: Name of the alternate addresses to read where assets have them, such as ``s3``.
        threads: Reader threads of one task.

    Raises:
        SpecError: A bad argument.
        AreaError: The area cannot be placed on the grid.
        NoItemsError: The snapshot is empty.
    """
    if chunk <= 0 or chunk % CELL:
        raise SpecError(f"chunk {chunk} is no multiple of {CELL}; give 512, 1024 or 2048")
    if groupby not in {"epoch", "solar_day"}:
        raise SpecError(f"groupby {groupby!r} is not known; give 'epoch' or 'solar_day'")
    actual = modality_of(tuple(bands))
    if modality not in {None, actual}:
        raise SpecError(f"modality {modality!r} has no bands {', '.join(bands)}; they are {actual}")
    if actual == "sar" and (mask is not None or composite == "least-cloudy"):
        raise SpecError("a cloud mask and 'least-cloudy' mean nothing for SAR; leave mask out, use median or first")
    numbers = _radiometry(scale=scale, offset=offset, nodata=nodata, unit=unit)
    check_numbers(numbers, tuple(bands))
    lonlat = area if isinstance(area, Area) else Area.parse(area)
    grid = Grid(resolve_crs(crs, lonlat), float(resolution))
    region = GridArea.project(lonlat, grid)
    settings = ReadSettings(
        grid=grid,
        bands=tuple(bands),
        composite=composite,
        mask=_mask(mask),
        sar=SarSpec.model_validate(dict(sar)) if sar is not None and not isinstance(sar, SarSpec) else sar,
        radiometry=numbers,
        sign=sign,
        requester_pays=requester_pays,
        assets=band_map({**(assets or {}), **(bands if isinstance(bands, Mapping) else {})}),
        alternate=alternate,
        threads=threads,
    )
    slots = _slots(snapshot, groupby)
    if not slots:
        raise NoItemsError("the snapshot holds no item; widen the dates or the area of the search")
    return Cube(snapshot, region.box, settings, slots, chunk, region)


def _mask(mask: str | Mapping[str, Any] | MaskSpec | None) -> MaskSpec | None:
    if mask is None or isinstance(mask, MaskSpec):
        return mask
    return MaskSpec.model_validate({"band": mask} if isinstance(mask, str) else dict(mask))


def _radiometry(**stated: Any) -> RadiometrySpec | None:
    numbers = {name: dict(value) if isinstance(value, Mapping) else value for name, value in stated.items()}
    try:
        return RadiometrySpec.model_validate(numbers) if any(value is not None for value in stated.values()) else None
    except ValidationError as error:
        raise SpecError(explain(error)) from None


def _slots(snapshot: Snapshot, groupby: str) -> tuple[Slot, ...]:
    groups: dict[str, list[tuple[Any, int]]] = {name: [] for name in snapshot.epochs} if groupby == "epoch" else {}
    for row, entry in enumerate(snapshot.index.select(["epoch", "datetime", "bbox"]).to_pylist()):
        bbox, label = entry["bbox"], entry["epoch"]
        if groupby == "solar_day":
            longitude = middle_longitude(bbox["xmin"], bbox["xmax"]) if bbox else 0.0
            label = solar_day(entry["datetime"], longitude)
        groups.setdefault(label, []).append((entry["datetime"], row))
    return tuple(
        Slot(label, np.datetime64(min(group)[0].replace(tzinfo=None), "ns"), tuple(row for _, row in group))
        for label, group in (sorted(groups.items()) if groupby == "solar_day" else groups.items())
        if group
    )
