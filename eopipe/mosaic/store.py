"""The sharded Zarr v3 store that a run fills: one shard a tile, one writer a shard.

A writer hands over whole tiles, so a write that does not cover whole shards cannot be expressed. Zarr then
writes each shard as one file, without reading it first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.storage import WrapperStore

from eopipe.errors import DamageError, OutputError, PlanError, one_line
from eopipe.mosaic import attributes
from eopipe.mosaic.layout import Layout
from eopipe.mosaic.pyramid import reduce
from eopipe.run_folder import MOSAIC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from affine import Affine
    from numpy.typing import NDArray
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from eopipe.grid import Tile
    from eopipe.storage import Storage


STATUS = {"not run": 0, "done": 1, "empty": 2, "masked": 3, "failed": 4, "outside": 5}
"""Codes of the array ``tile_status``, one pixel a tile, in the store's root."""

# zstd 3 against lz4: half the bytes for a fifth less speed; against zstd 5: 1.7 times as fast, 7 % more bytes.
_CODEC = ZstdCodec(level=3)
_ZARRS = "zarrs.ZarrsCodecPipeline"


def create(storage: Storage, layout: Layout, attrs: Mapping[str, Any]) -> None:
    """Write the store's metadata and coordinates; no pixel. The root's document comes last.

    Called again with the same layout it does nothing, so a run that was killed here starts over.

    Args:
        storage: The run's folder; the store is made in its ``mosaic.zarr``.
        layout: What to make.
        attrs: The run's attributes for the root and each level, such as title, kernel and licence.

    Raises:
        OutputError: The folder holds a mosaic of another layout.
    """
    document = stored_layout(storage, MOSAIC)
    if document is not None:
        if Layout.from_json(document) != layout:
            raise OutputError(
                f"{storage.url(MOSAIC)} holds a mosaic of another area, grid or set of arrays;"
                " choose another output.uri",
                reason="write.denied",
            )
        return
    with storage.guard(MOSAIC):
        root = zarr.open_group(storage.zarr_store(MOSAIC), mode="a", zarr_format=3)
        for level in range(layout.levels):
            _create_level(root, layout, level, attrs)
        _create_status(root, layout)
        if storage.local_path(MOSAIC) is not None:
            for path in storage.list(MOSAIC):  # onto the disk before the root lists them
                storage.flush(path)
        root.attrs.put({**attrs, **attributes.root_attributes(layout)})
    storage.flush(f"{MOSAIC}/zarr.json")


def read_layout(storage: Storage) -> Layout:
    """The layout of the mosaic in a run's folder.

    Raises:
        OutputError: There is no mosaic.
    """
    document = stored_layout(storage, MOSAIC)
    if document is None:
        raise OutputError(f"{storage.url(MOSAIC)} is no eopipe mosaic; give the folder of a run")
    return Layout.from_json(document)


def stored_layout(storage: Storage, folder: str) -> dict[str, Any] | None:
    """The layout in the attributes of a Zarr folder of a run; None where there is no such folder."""
    with storage.guard(folder):
        try:
            document: Any = zarr.open_group(storage.zarr_store(folder), mode="r").attrs.get("eopipe:layout")
        except FileNotFoundError:
            return None
    return dict(document) if document is not None else None


def checksum(array: NDArray[Any]) -> str:
    """Sha256 of an array's decoded values in C order: the same whatever codec wrote it."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


class MosaicWriter:
    """Writes, reads and erases tiles; opened once a worker.

    Args:
        storage: The run's folder.
        layout: The layout that :func:`create` was given.
        pipeline: ``zarr``, or ``zarrs`` (the extra ``fast``: the same values, measured 2 to 4 times as fast) for
            local folders. None reads ``EOPIPE_CODEC_PIPELINE``, and takes ``zarr`` where that is unset.

    Raises:
        PlanError: The pipeline is unknown or not installed.
    """

    def __init__(self, storage: Storage, layout: Layout, *, pipeline: str | None = None) -> None:
        self.layout = layout
        self._storage = storage
        self._pipeline = _pipeline(pipeline, local=storage.local_path(MOSAIC) is not None)
        self._store = storage.zarr_store(MOSAIC)
        self._sink = _Sink(self._store) if self._pipeline == "zarr" else self._store
        self._readers: dict[tuple[int, str], Any] = {}
        self._writers: dict[tuple[int, str], Any] = {}

    def write(self, tile: Tile, arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
        """Write a tile durably, at full resolution and at its own levels of the pyramid.

        Args:
            tile: Which.
            arrays: Each array of the layout: ``[y, x]`` or ``[plane, y, x]`` of the tile's side and the spec's dtype.

        Returns:
            Checksums of the decoded arrays: ``label`` for full resolution, ``label/1`` … for reduced levels.

        Raises:
            OutputError: Denied, full or unreachable.
            ValueError: An array is missing, unknown, or of the wrong shape or dtype.
        """
        index = self.layout.index(tile)
        self._check(arrays)
        sums: dict[str, str] = {}
        for spec in self.layout.arrays:
            values = arrays[spec.name]
            for level in range(self.layout.own_levels):
                if level:
                    values = reduce(values, spec)
                self._write_shard(level, spec.name, index, values)
                sums[_name(spec.name, level)] = checksum(values)
        return sums

    def write_shard(self, level: int, name: str, index: tuple[int, int], values: NDArray[Any]) -> None:
        """Write a shard of a coarse level; values are clipped by the level's edge.

        Raises:
            OutputError: Denied, full or unreachable.
            ValueError: The values do not cover the whole shard.
        """
        region = self.region(level, index)
        expected = tuple(side.stop - side.start for side in region)
        if values.shape[-2:] != expected:
            raise ValueError(f"{name}/{level}: {values.shape[-2:]} does not cover the shard {index} of {expected}")
        self._write_shard(level, name, index, values)

    def erase(self, tile: Tile) -> None:
        """Remove a tile's shards at all its own levels, so that it reads as not produced."""
        index = self.layout.index(tile)
        for spec in self.layout.arrays:
            for level in range(self.layout.own_levels):
                self._storage.delete(f"{MOSAIC}/{self.layout.key(level, spec.name, index)}")

    def read(self, tile: Tile, name: str, level: int = 0) -> NDArray[Any]:
        """A tile's values at one of its own levels; fill where it was not written.

        Raises:
            OutputError: The folder cannot be read.
            ValueError: The level has no shard of the tile's own.
        """
        if not 0 <= level < self.layout.own_levels:
            raise ValueError(f"level {level} is not among the tile's own, 0 to {self.layout.own_levels - 1}")
        return self.read_region(level, name, *self.region(level, self.layout.index(tile)))

    def read_region(self, level: int, name: str, rows: slice, cols: slice) -> NDArray[Any]:
        """Any rectangle of a level, in its array's own rows and columns.

        Raises:
            OutputError: The folder cannot be read.
            DamageError: A shard exists and is damaged.
        """
        path = f"{MOSAIC}/{level}/{name}"
        with self._storage.guard(path):
            array = self._array(level, name)
            try:
                return np.asarray(array[..., rows, cols])
            except (ValueError, RuntimeError) as error:  # checksum, zstd frame, or a length that cannot be
                if "os error" in str(error):
                    raise
                where = f"rows {rows.start}:{rows.stop}, columns {cols.start}:{cols.stop}"
                raise DamageError(
                    f"{self._storage.url(path)} {where}: a shard cannot be decoded ({one_line(error, 120)});"
                    " remove its tile's ledger record and run again"
                ) from error

    def region(self, level: int, index: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of a shard, clipped by the level's edge."""
        side, (rows, cols) = self.layout.shard(level), self.layout.shape(level)
        i, j = index
        return slice(i * side, min((i + 1) * side, rows)), slice(j * side, min((j + 1) * side, cols))

    def _write_shard(self, level: int, name: str, index: tuple[int, int], values: NDArray[Any]) -> None:
        key = f"{MOSAIC}/{self.layout.key(level, name, index)}"
        with self._storage.guard(key):
            self._array(level, name, writing=True)[(..., *self.region(level, index))] = values
        self._storage.flush(key)

    def _array(self, level: int, name: str, *, writing: bool = False) -> Any:
        opened, store = (self._writers, self._sink) if writing else (self._readers, self._store)
        if (level, name) not in opened:
            # zarr's settings are the process's: only changed where another pipeline is set
            settings = {"codec_pipeline.path": _ZARRS} if self._pipeline == "zarrs" else {}
            with zarr.config.set(settings):
                opened[level, name] = zarr.open_array(store, path=f"{level}/{name}", mode="r+")
        return opened[level, name]

    def _check(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        names = {spec.name for spec in self.layout.arrays}
        if names != set(arrays):
            raise ValueError(f"a tile has the arrays {sorted(names)}; got {sorted(arrays)}")
        for spec in self.layout.arrays:
            shape, values = (*spec.planes, self.layout.tile, self.layout.tile), arrays[spec.name]
            if values.shape != shape or values.dtype != np.dtype(spec.dtype):
                raise ValueError(f"{spec.name} is {values.dtype}{values.shape}; a tile has {spec.dtype}{shape}")


def write_status(storage: Storage, layout: Layout, statuses: Mapping[Tile, str]) -> None:
    """Replace ``tile_status``; only the driver calls it. A tile not named is ``not run``.

    Args:
        storage: The run's folder.
        layout: The mosaic's.
        statuses: Tile to a key of :data:`STATUS`.
    """
    codes = np.zeros(layout.tile_bounds.shape, np.uint8)
    for tile, status in statuses.items():
        codes[layout.index(tile)] = STATUS[status]
    with storage.guard(f"{MOSAIC}/tile_status"):
        zarr.open_array(storage.zarr_store(MOSAIC), path="tile_status", mode="r+")[:] = codes


def read_status(storage: Storage) -> NDArray[np.uint8]:
    """``tile_status`` as last written: ``[tile row, tile column]``, codes of :data:`STATUS`."""
    with storage.guard(f"{MOSAIC}/tile_status"):
        return np.asarray(zarr.open_array(storage.zarr_store(MOSAIC), path="tile_status", mode="r")[:])


class _Sink(WrapperStore[Any]):
    """Hides the shards that exist: zarr 3.1 reads a shard before it replaces it, even as a whole.

    So a write is one request instead of two, and a damaged shard can be written over.
    """

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        return None if "/c/" in key else await super().get(key, prototype, byte_range)


def _create_level(root: zarr.Group, layout: Layout, level: int, attrs: Mapping[str, Any]) -> None:
    group_attributes = {**attrs, **attributes.group_attributes(layout, level)}
    group = root.create_group(str(level), attributes=group_attributes, overwrite=True)
    side, chunk = layout.shard(level), layout.chunk(level)
    for spec in layout.arrays:
        planes = spec.planes
        group.create_array(
            spec.name,
            shape=(*planes, *layout.shape(level)),
            dtype=spec.dtype,
            shards=(*planes, side, side),
            chunks=(*(1 for _ in planes), chunk, chunk),
            fill_value=spec.fill,
            compressors=_CODEC,
            dimension_names=(*("band" for _ in planes), "y", "x"),
            attributes=attributes.array_attributes(spec, reduced=level > 0),
        )
    _create_axes(group, layout, layout.transform(level), layout.shape(level))


def _create_axes(group: zarr.Group, layout: Layout, transform: Affine, shape: tuple[int, int]) -> None:
    """Pixel centres, from whole pixel numbers so that no rounding builds up along an axis."""
    steps = {"y": (transform.f, transform.e), "x": (transform.c, transform.a)}
    for (axis, (start, step)), size in zip(steps.items(), shape, strict=True):
        array = group.create_array(
            axis,
            shape=(size,),
            dtype="float64",
            chunks=(size,),
            compressors=_CODEC,
            dimension_names=(axis,),
            attributes=attributes.axis_attributes(layout, axis),
            overwrite=True,
        )
        array[:] = start + (np.arange(size) + 0.5) * step
    mapping = attributes.spatial_ref_attributes(layout, transform)
    group.create_array("spatial_ref", shape=(), dtype="int64", attributes=mapping, overwrite=True)


def _create_status(root: zarr.Group, layout: Layout) -> None:
    shape = layout.tile_bounds.shape
    root.create_array(
        "tile_status",
        shape=shape,
        chunks=shape,
        dtype="uint8",
        fill_value=0,
        compressors=_CODEC,
        dimension_names=("y", "x"),
        attributes=attributes.status_attributes(layout, STATUS),
        overwrite=True,
    )
    _create_axes(root, layout, layout.transform_by(layout.tile), shape)


def _name(name: str, level: int) -> str:
    return f"{name}/{level}" if level else name


def _pipeline(pipeline: str | None, *, local: bool) -> str:
    name = pipeline or os.environ.get("EOPIPE_CODEC_PIPELINE", "zarr")
    if name not in {"zarr", "zarrs"}:
        raise PlanError(f"EOPIPE_CODEC_PIPELINE: {name!r} is unknown; use zarr or zarrs")
    if name == "zarrs" and importlib.util.find_spec("zarrs") is None:
        raise PlanError("EOPIPE_CODEC_PIPELINE: 'zarrs' is not installed; pip install 'eopipe[fast]', or use zarr")
    # zarrs reaches files by itself, but knows neither our endpoints nor our memory
    return name if local else "zarr"
