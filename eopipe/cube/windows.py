"""Read the windows that a box needs from one file, and resample them onto the lattice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eopipe.cube.asset_file import MASKED
from eopipe.cube.radiometry import INVALID, canonical_floats, missing_floats, table
from eopipe.cube.resample import ONE, bilinear, nearest
from eopipe.cube.sar import encode, mean_power, power_tables
from eopipe.grid import CELL, PixelBox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from eopipe.cube.asset_file import AssetFile, Facts
    from eopipe.cube.cell_coordinates import CellMap, CellPart, Geometry
    from eopipe.cube.sar import Unit
    from eopipe.cube.scenes import AssetRef

MOST_PIXELS = 24_000_000
"""Source pixels in one window; larger ones are read piece by piece."""

MOST_FULL = 6_000_000
"""The same where overviews may not be read: a coarse grid has many source pixels there, of up to 6 bytes each."""

_SMALL = ("uint8", "int8", "uint16", "int16")
_IDENTITY = np.arange(65536, dtype=np.uint16)


@dataclass(frozen=True)
class Piece:
    """A box within one cell, and the source window that it needs."""

    cell: PixelBox
    box: PixelBox
    map: CellMap
    level: int
    window: PixelBox

    def nodes(self, window: PixelBox) -> _Nodes:
        """Coordinates of the piece for resampling from pixels of a window that holds the piece's own."""
        corner = (self.box.row0 - self.cell.row0, self.box.col0 - self.cell.col0)
        return ((window.row0, window.col0), self.map.rows, self.map.cols, self.map.step, corner)


_Nodes = tuple[tuple[int, int], "NDArray[np.float64]", "NDArray[np.float64]", int, tuple[int, int]]
"""Window's corner in the file, source rows and columns at nodes, their distance, the piece's corner in the cell."""

Use = Literal["overviews", "full", "nearest"]
"""How a file is read: means from an overview or from full resolution, or the nearest pixel of full resolution."""


def use_of(ref: AssetRef, *, is_mask: bool) -> Use:
    """How a band or mask is read. Overviews of a mask may have mixed its codes; see ``AssetRef.overviews``."""
    if is_mask:
        return "nearest"
    return "overviews" if ref.overviews else "full"


def _most(use: Use) -> int:
    return MOST_FULL if use == "full" else MOST_PIXELS


def pieces(facts: Facts, geometry: Geometry, box: PixelBox, use: Use) -> list[Piece]:
    """The parts of a box that a file covers, cell by cell, row-major; a level is chosen for each cell."""
    return [piece for cell in box.blocks(CELL) for piece in _cell_pieces(facts, geometry, cell, cell & box, use)]


def _cell_pieces(facts: Facts, geometry: Geometry, cell: PixelBox, box: PixelBox, use: Use) -> Iterator[Piece]:
    for part in geometry.parts(cell, facts.georeference):
        inside = box & part.box
        if not inside.empty:
            yield from _part_pieces(facts, part, cell, inside, use)


def _part_pieces(facts: Facts, part: CellPart, cell: PixelBox, box: PixelBox, use: Use) -> Iterator[Piece]:
    full = part.on(facts.georeference)
    level = -1
    if use == "overviews" and facts.factors:
        ratio = min(full.scale)
        level = facts.level_for(ratio) if math.isfinite(ratio) else -1
        if facts.georeference.turn and not facts.level(level).turn:
            level = -1
    georeference = facts.level(level)
    cell_map = full if level < 0 else part.on(georeference)
    widths = cell_map.half_widths if use != "nearest" else (ONE, ONE)
    reach = (-(-widths[0] // ONE) + 1, -(-widths[1] // ONE) + 1)
    boxes = [box]
    while boxes:
        box = boxes.pop()
        window = cell_map.window(cell, box, georeference, reach)
        if window is not None and _area(window) > _most(use) and max(box.shape) > 16:
            boxes += reversed(box.halves())
        elif window is not None:
            yield Piece(cell, box, cell_map, level, window)


def windows(served: Sequence[Piece], use: Use) -> list[tuple[int, PixelBox, list[Piece]]]:
    """Reads to do: (level, window, pieces that it serves); neighbours share one window where that is not wasteful."""
    reads: list[tuple[int, PixelBox, list[Piece]]] = []
    for level in sorted({piece.level for piece in served}):
        group = [piece for piece in served if piece.level == level]
        corners = [(w.row0, w.col0, w.row1, w.col1) for w in (piece.window for piece in group)]
        row0, col0, row1, col1 = zip(*corners, strict=True)
        union = PixelBox(min(row0), min(col0), max(row1), max(col1))
        if _area(union) <= min(_most(use), 2 * sum(_area(piece.window) for piece in group)):
            reads.append((level, union, group))
        else:
            reads.extend((level, piece.window, [piece]) for piece in group)
    return reads


def sample_bands(file: AssetFile, ref: AssetRef, geometry: Geometry, box: PixelBox, out: NDArray[np.uint16]) -> None:
    """Canonical integers of a box from one band.

    Args:
        file: The open file.
        ref: The band: unit, scale, offset.
        geometry: Coordinates.
        box: On the lattice.
        out: ``[y, x]`` uint16 of the box, written; INVALID where there is no data.
    """
    out[...] = INVALID
    facts = file.facts(ref)
    use = use_of(ref, is_mask=False)
    for level, window, served in windows(pieces(facts, geometry, box, use), use):
        pixels = file.read(ref, window, level)
        source, nodata, values, lowest = _prepare(pixels, facts, ref)
        for piece in served:
            target = out[piece.box.slices(box)]
            shift = _aligned(piece, window)
            if shift is not None and source.dtype.itemsize <= 2:
                _copy_aligned(source, values, lowest, shift, target)
                continue
            nodes, widen = piece.nodes(window), piece.map.half_widths
            if ref.unit != "reflectance":
                mean_power(source, *nodes, widen, *power_tables(), target)
                continue
            has_nodata = nodata is not None
            bilinear(source, *nodes, widen, nodata or 0, has_nodata, values, lowest, target)


def sample_mask(
    file: AssetFile,
    ref: AssetRef,
    geometry: Geometry,
    box: PixelBox,
    out: NDArray[np.uint16],
    present: NDArray[np.bool_],
) -> tuple[float, ...]:
    """Mask codes of a box, nearest neighbour at full resolution (overviews may have mixed the codes).

    Args:
        file: The open file.
        ref: The mask's band.
        geometry: Coordinates.
        box: On the lattice.
        out: ``[y, x]`` uint16, written where the file covers the pixel.
        present: ``[y, x]`` bool, written.

    Returns:
        Codes that mean no data in this file, beside those that mean it in every such mask.
    """
    facts = file.facts(ref)
    for level, window, served in windows(pieces(facts, geometry, box, "nearest"), "nearest"):
        pixels = file.read(ref, window, level)
        for piece in served:
            index = piece.box.slices(box)
            nearest(pixels, *piece.nodes(window), out[index], present[index])
            if facts.masked:
                valid = ((pixels != MASKED) & ~np.isnan(pixels)).astype(np.uint16)
                unmasked, within = np.zeros(out[index].shape, np.uint16), np.zeros(out[index].shape, np.bool_)
                nearest(valid, *piece.nodes(window), unmasked, within)
                present[index] &= unmasked == 1
    return facts.numbers.nodata


def _prepare(
    pixels: NDArray[Any], facts: Facts, ref: AssetRef
) -> tuple[NDArray[Any], int | None, NDArray[np.uint16], int]:
    """Integer pixels, their no-data, and the table from DN to canonical values with its lowest DN."""
    numbers, nodata = facts.numbers, facts.numbers.nodata
    if ref.unit != "reflectance":
        return _codes(pixels, facts, ref), INVALID, _IDENTITY, 0
    if facts.dtype in _SMALL:
        several = bool(facts.masked) or len(nodata) > 1
        single = nodata[0] if nodata and not several else None
        values = table(facts.dtype, numbers.scale, numbers.offset, single)
        lowest = int(np.iinfo(facts.dtype).min)
        if several:
            return _marked(pixels, nodata), MASKED, values, lowest
        return pixels, None if single is None else int(single), values, lowest
    wide = pixels if pixels.dtype.kind == "f" else pixels.astype(np.float64)
    return canonical_floats(wide, numbers.scale, numbers.offset, nodata), INVALID, _IDENTITY, 0


def _marked(pixels: NDArray[Any], nodata: Sequence[float]) -> NDArray[np.int32]:
    """Small integers as int32 with one mark for every kind of no-data."""
    wide = pixels if pixels.dtype == np.int32 else pixels.astype(np.int32)
    for value in nodata:
        wide[wide == int(value)] = MASKED
    return wide


def _codes(pixels: NDArray[Any], facts: Facts, ref: AssetRef) -> NDArray[np.uint16]:
    """Codes of SAR pixels, which power is averaged from; by a table where the file has few values."""
    assert ref.unit != "reflectance"
    assert ref.unit != "codes"
    numbers, nodata = facts.numbers, facts.numbers.nodata
    single = nodata[0] if len(nodata) == 1 else None
    if facts.dtype in _SMALL and not facts.masked and len(nodata) <= 1:
        values = _code_table(facts.dtype, ref.unit, numbers.scale, numbers.offset, ref.decibels, single)
        lowest = int(np.iinfo(facts.dtype).min)
        codes: NDArray[np.uint16] = values[pixels if lowest == 0 else pixels.astype(np.int32) - lowest]
        return codes
    if facts.masked or len(nodata) > 1:
        wide = pixels if pixels.dtype.kind == "f" else pixels.astype(np.float64)
        pixels = np.where(missing_floats(wide, (*nodata, float(MASKED))), wide.dtype.type("nan"), wide)
    scale, offset = numbers.scale, numbers.offset
    return encode(pixels, ref.unit, scale=scale, offset=offset, decibels=ref.decibels, nodata=single)


@lru_cache(maxsize=64)
def _code_table(
    dtype: str, unit: Unit, scale: float, offset: float, decibels: float, nodata: float | None
) -> NDArray[np.uint16]:
    info = np.iinfo(dtype)
    numbers = np.arange(info.min, info.max + 1, dtype=np.int32)[None]
    codes: NDArray[np.uint16] = encode(numbers, unit, scale=scale, offset=offset, decibels=decibels, nodata=nodata)[0]
    codes.flags.writeable = False
    return codes


def _aligned(piece: Piece, window: PixelBox) -> tuple[int, int] | None:
    """Source row and column (in the window) under the piece's corner, where source and lattice pixels coincide."""
    step = float(piece.map.step)
    rows, cols = piece.map.rows, piece.map.cols
    exact = (
        rows[1, 0] - rows[0, 0] == step
        and cols[0, 1] - cols[0, 0] == step
        and rows[0, 1] == rows[0, 0]
        and cols[1, 0] == cols[0, 0]
        and float(rows[0, 0]).is_integer()
        and float(cols[0, 0]).is_integer()
    )
    if not exact:
        return None
    row = int(rows[0, 0]) + piece.box.row0 - piece.cell.row0 - window.row0
    col = int(cols[0, 0]) + piece.box.col0 - piece.cell.col0 - window.col0
    return row, col


def _copy_aligned(
    source: NDArray[Any], values: NDArray[np.uint16], lowest: int, shift: tuple[int, int], out: NDArray[np.uint16]
) -> None:
    row, col = shift
    top, left = max(0, -row), max(0, -col)
    bottom, right = min(out.shape[0], source.shape[0] - row), min(out.shape[1], source.shape[1] - col)
    if bottom <= top or right <= left:
        return
    pixels = source[row + top : row + bottom, col + left : col + right]
    out[top:bottom, left:right] = values[pixels if lowest == 0 else pixels.astype(np.int32) - lowest]


def _area(box: PixelBox) -> int:
    return box.shape[0] * box.shape[1]
