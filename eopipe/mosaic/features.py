"""``features.zarr``: the window features that a run stores, by window, so that other prompts need no encoder.

**One chunk, one file a window.** Windows overlap and their stride (112) divides no tile, so a chunk of several
windows would lie in several tiles, and two tasks would write one file, which loses data. A file a window has one
writer: the tile that holds the window's origin, or, where that tile is no part of the run, the first of the run's
tiles that the window touches. A window without a valid pixel has no file and reads as NaN.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from eopipe.errors import DamageError, OutputError, TileFault, one_line
from eopipe.grid import PixelBox, Tile
from eopipe.mosaic.pca import STORED, Basis
from eopipe.mosaic.store import stored_layout
from eopipe.run_folder import FEATURES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.kernelinfo import KernelInfo
    from eopipe.storage import Storage

Index = tuple[int, int]
"""Row and column of a window on the lattice of the stride."""

_ARRAY = "features"
_CODEC = ZstdCodec(level=1)  # halves of CLIP's features hardly shrink: 4 % here, and no more at level 3


@dataclass(frozen=True)
class FeatureLayout:
    """The lattice of windows, and the shape of their features; everything else follows.

    Args:
        size: Side of a window, kernel pixels.
        stride: Distance of windows.
        tile: Side of a tile, kernel pixels.
        tiles: Bounding box of the run's tiles, in tile indices.
        tokens: Rows of a window's features.
        channels: Columns, as the kernel makes them.
        reduced: Columns that are stored where a basis reduces them, else None.
    """

    size: int
    stride: int
    tile: int
    tiles: PixelBox
    tokens: int
    channels: int
    reduced: int | None

    @classmethod
    def of(cls, info: KernelInfo, tile: int, tiles: PixelBox) -> FeatureLayout:
        """For a kernel that stores features, and tiles of a side in grid pixels."""
        window, spec = info.window, info.features
        assert spec is not None
        return cls(window.size, window.stride, tile * info.factor, tiles, spec.tokens, spec.channels, spec.reduced)

    @property
    def columns(self) -> int:
        """Columns that are stored."""
        return self.reduced or self.channels

    @property
    def windows(self) -> PixelBox:
        """Indices of all windows that touch a tile: what the array covers."""
        return self.touching(self.tiles.scale(self.tile))

    def touching(self, box: PixelBox) -> PixelBox:
        """Indices of the windows that touch a box of kernel pixels."""
        first, step = self.size - 1, self.stride
        return PixelBox(
            -(-(box.row0 - first) // step), -(-(box.col0 - first) // step), -(-box.row1 // step), -(-box.col1 // step)
        )

    def owner(self, index: Index, tiles: Collection[Tile]) -> Tile | None:
        """The tile that writes a window: that of its origin, else the first that it touches; None where none does.

        Args:
            index: The window.
            tiles: All tiles of the run, best a set.
        """
        (top, bottom), (left, right) = ((at * self.stride, at * self.stride + self.size - 1) for at in index)
        for row in range(top // self.tile, bottom // self.tile + 1):
            for col in range(left // self.tile, right // self.tile + 1):
                if (tile := Tile(row, col)) in tiles:
                    return tile
        return None

    def windows_of(self, tile: Tile, tiles: Collection[Tile]) -> Iterator[Index]:
        """The windows that a tile writes, row by row."""
        box = self.touching(tile.box(self.tile))
        for row in range(box.row0, box.row1):
            for col in range(box.col0, box.col1):
                if self.owner((row, col), tiles) == tile:
                    yield row, col

    def path(self, index: Index) -> str:
        """A window's file in the run's folder."""
        row, col = self.place(index)
        return f"{FEATURES}/{_ARRAY}/c/{row}/{col}/0/0"

    def place(self, index: Index) -> Index:
        """A window's position in the array."""
        return index[0] - self.windows.row0, index[1] - self.windows.col0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FeatureLayout:
        """Back from :meth:`to_json`."""
        return cls(**{**data, "tiles": PixelBox(**data["tiles"])})


def create(storage: Storage, layout: FeatureLayout, basis: Basis | None, attrs: Mapping[str, Any]) -> None:
    """Write the store's metadata and the basis; no window. The root's document comes last.

    Args:
        storage: The run's folder.
        layout: Of the store.
        basis: Where the layout is reduced.
        attrs: The run's attributes, such as its kernel and grid.
    """
    rows, cols = layout.windows.shape
    with storage.guard(FEATURES):
        root = zarr.open_group(storage.zarr_store(FEATURES), mode="a", zarr_format=3)
        root.create_array(
            _ARRAY,
            shape=(rows, cols, layout.tokens, layout.columns),
            chunks=(1, 1, layout.tokens, layout.columns),
            dtype=np.dtype(STORED).name,
            fill_value=np.nan,
            compressors=_CODEC,
            dimension_names=("window_row", "window_col", "token", "component" if basis else "channel"),
            attributes={
                "long_name": "window features; NaN where a window had no valid pixel",
                "window_origin": [layout.windows.row0, layout.windows.col0],
                **(basis.loss if basis else {}),
            },
            overwrite=True,
        )
        if basis is not None:
            axes = {"mean": ("channel",), "basis": ("component", "channel")}
            for name, values in (("mean", basis.mean), ("basis", basis.components)):
                root.create_array(name, data=values, dimension_names=axes[name], overwrite=True)
        for path in storage.list(FEATURES):
            storage.flush(path)
        identity = basis.identity if basis else None
        root.attrs.put({**attrs, "eopipe:layout": asdict(layout), "eopipe:basis": identity})
    storage.flush(f"{FEATURES}/zarr.json")


def read_layout(storage: Storage) -> FeatureLayout:
    """The layout of the features in a run's folder.

    Raises:
        OutputError: There are none.
    """
    document = stored_layout(storage, FEATURES)
    if document is None:
        raise OutputError(f"{storage.url()} keeps no window features; run it with kernel.features: keep")
    return FeatureLayout.from_json(document)


class FeatureStore:
    """Reads and writes windows; opened once a worker.

    Args:
        storage: The run's folder.
        layout: The layout that :func:`create` was given.

    Raises:
        DamageError: The basis is not the one that the store was made with.
    """

    def __init__(self, storage: Storage, layout: FeatureLayout) -> None:
        self.layout = layout
        self._storage = storage
        with storage.guard(FEATURES):
            root = zarr.open_group(storage.zarr_store(FEATURES), mode="r+")
            self._array: Any = root[_ARRAY]
            self.basis = _read_basis(root, storage.url(FEATURES)) if layout.reduced is not None else None

    def write(self, windows: Mapping[Index, NDArray[np.float32]]) -> dict[Index, str]:
        """Write windows durably; returns the sha256 of each one's stored array.

        Args:
            windows: ``[token, channel]`` each; the caller is the writer of all of them.

        Raises:
            OutputError: Denied, full or unreachable.
            TileFault: A value that 16 bits cannot hold.
        """
        sums: dict[Index, str] = {}
        for neighbours in _neighbours(sorted(windows)):
            values = np.stack([self._rounded(windows[index]) for index in neighbours])
            (row, first), last = self.layout.place(neighbours[0]), self.layout.place(neighbours[-1])[1]
            with self._storage.guard(self.layout.path(neighbours[0])):
                self._array[row, first : last + 1] = values
            for index, stored in zip(neighbours, values, strict=True):
                self._storage.flush(self.layout.path(index))
                sums[index] = hashlib.sha256(stored.tobytes()).hexdigest()
        return sums

    def stored(self, index: Index) -> NDArray[np.float16] | None:
        """A window's stored array; None where it has no file.

        Raises:
            OutputError: The folder cannot be read.
            DamageError: The file is not what a writer left.
        """
        return self.stored_row(index, 1).get(index)

    def stored_row(self, first: Index, count: int) -> dict[Index, NDArray[np.float16]]:
        """The stored arrays of some windows of a row, read together; those without a file are left out.

        Raises:
            OutputError: The folder cannot be read.
            DamageError: A file is not what a writer left.
        """
        row, col = self.layout.place(first)
        where = self.layout.path(first)
        with self._storage.guard(where):
            try:
                arrays: NDArray[np.float16] = np.asarray(self._array[row, col : col + count])
            except (ValueError, RuntimeError) as error:
                cause = one_line(error, 120)
                raise DamageError(f"{self._storage.url(where)} or a neighbour cannot be decoded ({cause})") from error
        return {(first[0], first[1] + n): array for n, array in enumerate(arrays) if not np.isnan(array[0, 0])}

    def restored(self, stored: NDArray[np.float16]) -> NDArray[np.float32]:
        """A window's features ``[token, channel]``, from its stored array."""
        values = stored.astype(np.float32)
        return self.basis.restore(values) if self.basis is not None else values

    def digests(self, tile: Tile, tiles: Collection[Tile]) -> dict[Index, str]:
        """Sha256 of each window of a tile's own that has a file."""
        arrays = {index: self.stored(index) for index in self.layout.windows_of(tile, tiles)}
        return {
            index: hashlib.sha256(array.tobytes()).hexdigest() for index, array in arrays.items() if array is not None
        }

    def _rounded(self, features: NDArray[np.float32]) -> NDArray[np.float16]:
        values = self.basis.reduce(features) if self.basis is not None else features
        with np.errstate(over="ignore"):
            stored = values.astype(STORED)
        if not np.isfinite(stored).all():
            raise TileFault("features.range", "a window's features do not fit 16 bits; set kernel.features: none")
        return stored


def tile_checksum(digests: Mapping[Index, str]) -> str:
    """Sha256 over a tile's windows and their sha256: the same whatever order they were written in."""
    text = "\n".join(f"{row},{col}:{digest}" for (row, col), digest in sorted(digests.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _neighbours(indices: Sequence[Index]) -> list[list[Index]]:
    """Sorted indices as runs of neighbours in a row of windows; zarr writes their files together."""
    runs = groupby(enumerate(indices), key=lambda pair: (pair[1][0], pair[1][1] - pair[0]))
    return [[index for _, index in run] for _, run in runs]


def _read_basis(root: zarr.Group, where: str) -> Basis:
    attrs: Any = root[_ARRAY].attrs
    mean, components = (np.asarray(root[name][...]) for name in ("mean", "basis"))  # type: ignore[index]
    loss = ("variance_kept", "mean_cosine_error", "max_cosine_error", "sampled_tokens")
    basis = Basis(mean, components, *(attrs[name] for name in loss))
    if basis.identity != root.attrs["eopipe:basis"]:
        raise DamageError(f"{where}: the basis is not the one that its features were made with; restore it")
    return basis
