"""What an opened file says of its numbers, and what they mean with what was stated before.

Scale and offset of a file count where neither spec, item nor Collection state them; they outrank the family's table.
A file's no-data, mask and alpha always count, together with a stated no-data that its type can hold. Where nothing
states a scale, floats of 0 to 1 are taken as they are (with a note), and integers are refused.

Sources: GDAL raster data model (scale, offset and unit of a band; nodata masks, alpha bands, ``.msk`` files: RFC 15).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from eopipe.cube.radiometry import missing_floats
from eopipe.cube.radiometry_rule import same
from eopipe.cube.stated_numbers import contradicts_reflectance, plain_unit
from eopipe.errors import ItemError
from eopipe.redact import bare_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from eopipe.cube.scenes import AssetRef, Origin

_MOST_REFLECTANCE = 2.0
"""Median above which floats are no reflectance of 0 to 1: clouds and snow stay below it."""

_SAMPLE = 256
"""Side of the windows that a file's floats are judged by."""

_ASSUMED = (
    "offset: the item names neither Sentinel-2's processing baseline nor an offset, and 0 was taken; set "
    "source.offset: -0.1 where the files are of baseline 04.00 or later"
)

MaskKind = Literal["", "internal", "alpha", "msk"]
"""Where a file's own mask is: nowhere, in the dataset, in its alpha band, in a ``.msk`` file beside it."""


@dataclass(frozen=True)
class Numbers:
    """What the pixels of one band of one file mean.

    Args:
        scale: Value = DN x scale + offset.
        offset: See ``scale``.
        nodata: DN without data, each of which the file's type can hold.
        scale_origin: What states the scale: an :data:`~eopipe.cube.scenes.Origin`, ``file``, or ``type`` of floats
            that are taken as they are.
        offset_origin: Likewise; None where nothing states an offset, which is 0.
        file_nodata: The file's own no-data, where it counts.
        notes: Conflicts and assumptions, one line each, without the file's name.
    """

    scale: float = 1.0
    offset: float = 0.0
    nodata: tuple[float, ...] = ()
    scale_origin: Origin | Literal["file", "type"] | None = None
    offset_origin: Origin | Literal["file"] | None = None
    file_nodata: float | None = None
    notes: tuple[str, ...] = ()


def numbers_of(dataset: Any, ref: AssetRef) -> Numbers:
    """Settle the numbers of a band.

    Args:
        dataset: The open file at full resolution.
        ref: The band; a quality mask has no-data alone.

    Raises:
        ItemError: Nothing says what its numbers are, or they are no reflectance; the message names the key to set.
    """
    index, dtype = ref.band_index - 1, _dtype(dataset, ref)
    if ref.of_integers is not None and dtype.kind != "f":
        ref = ref.of_integers
    notes, in_file = list(ref.remarks), dataset.nodatavals[index]
    stated = ref.nodata if ref.nodata is None or holds(dtype, ref.nodata) else ref.table_nodata
    in_file = float(in_file) if in_file is not None and holds(dtype, in_file) else None
    nodata = tuple(dict.fromkeys(float(n) for n in (stated, in_file) if n is not None and holds(dtype, n)))
    if ref.unit == "codes":
        return Numbers(nodata=nodata, file_nodata=in_file)
    scale, offset = _tag(dataset.scales[index], neutral=1.0), _tag(dataset.offsets[index], neutral=0.0)
    if scale is None and offset is not None and dtype.kind == "f":
        scale = 1.0
    _refuse_unit(dataset, ref)
    used, origin = _scale(dataset, ref, dtype, scale, nodata, notes)
    shift, shift_origin = _offset(ref, origin, offset, scale)
    if shift_origin == "assumed":
        notes.append(_ASSUMED)
    if ref.origins.scale not in {None, "table"} and scale is not None:
        notes += _conflict("scale", str(ref.origins.scale), used, scale)
    if ref.origins.offset not in {None, "table", "flag", "assumed"} and offset is not None:
        notes += _conflict("offset", str(ref.origins.offset), shift, offset)
    return Numbers(used, shift, nodata, origin, shift_origin, in_file, tuple(notes))


def holds(dtype: np.dtype[Any], nodata: float) -> bool:
    """Whether a type can hold a no-data value: "nan" or -3.4e38 of an item means nothing for integers."""
    if dtype.kind == "f":
        return not math.isnan(nodata)  # NaN never has data, stated or not
    if dtype.kind not in "iu" or not math.isfinite(nodata) or not float(nodata).is_integer():
        return False
    info = np.iinfo(dtype)
    return bool(info.min <= nodata <= info.max)


def mask_kind(dataset: Any, ref: AssetRef) -> MaskKind:
    """Where the mask of a band is, ``.msk`` files aside, which are not in the dataset.

    Writers mark the fourth band of any image as alpha: it is none where the asset names it as data, such as NIR.
    """
    flags, alpha = dataset.mask_flag_enums[ref.band_index - 1], alpha_band(dataset)
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        return "internal"
    return "alpha" if alpha > ref.data_bands and alpha != ref.band_index else ""


def alpha_band(dataset: Any) -> int:
    """Number of the alpha band, from 1; 0 where there is none. GDAL passes it over where a no-data value is set."""
    if dataset.count < 2:
        return 0
    kinds = dataset.colorinterp
    return kinds.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in kinds else 0


def _scale(
    dataset: Any, ref: AssetRef, dtype: np.dtype[Any], tag: float | None, nodata: tuple[float, ...], notes: list[str]
) -> tuple[float, Origin | Literal["file", "type"]]:
    if ref.scale is not None and ref.origins.scale not in {None, "table"}:
        return ref.scale, ref.origins.scale
    if tag is not None:
        return tag, "file"
    if ref.unit != "reflectance":
        return ref.scale or 1.0, "table"
    table = ref.scale if ref.origins.scale == "table" else None
    if dtype.kind == "f":
        median = _median(dataset, ref.band_index, nodata)
        if median <= _MOST_REFLECTANCE:
            notes.append("nothing states the scale of floating-point files: their values are taken as reflectance, "
                         "as they are; set source.scale where they are not")  # fmt: skip
            return 1.0, "type"
        problem = f"holds {dtype} values of about {median:.5g}"
    else:
        problem = f"holds {dtype}"
    if table is None or (dtype.kind != "f" and ref.dtypes and dtype.name not in ref.dtypes):
        family = ref.family or "unknown collection"
        wrong = f"; files of {family} hold {', '.join(ref.dtypes)}" if table is not None else f" ({family})"
        raise ItemError(
            f"{bare_url(ref.href)} {problem}{wrong}, and neither spec, item, collection nor file state what they "
            f"mean; set source.scale (reflectance a DN, such as 0.0001) and source.offset, or take other assets by "
            f"source.bands or another collection"
        )
    return table, "table"


def _offset(
    ref: AssetRef, scale_origin: object, tag: float | None, scale_tag: float | None
) -> tuple[float, Origin | Literal["file"] | None]:
    origin = ref.origins.offset
    if origin not in {None, "table", "baseline", "assumed"}:
        return ref.offset, origin
    # An offset belongs to the scale beside it: where another scale counts, it is of no account.
    agrees = scale_origin == "file" or scale_tag is None or ref.scale is None or same(scale_tag, ref.scale)
    if tag is not None and agrees:
        return tag, "file"
    if origin in {"baseline", "assumed"} and scale_origin != "type":
        return ref.offset, origin
    if origin == "table" and scale_origin == "table":
        return ref.offset, origin
    return 0.0, None


def _conflict(key: str, origin: str, value: float, tag: float) -> Iterator[str]:
    if not same(value, tag):
        yield f"{key}: {origin} says {value:g}, the file {tag:g}; that of the {origin} counts"


def _refuse_unit(dataset: Any, ref: AssetRef) -> None:
    unit = plain_unit(dataset.units[ref.band_index - 1])
    if ref.unit == "reflectance" and not ref.unit_stated and contradicts_reflectance(unit):
        raise ItemError(
            f"{bare_url(ref.href)} states the unit {unit!r}, which is not reflectance; take a collection of "
            f"reflectance, or where the statement is wrong set source.unit: reflectance (and source.scale)"
        )


def _dtype(dataset: Any, ref: AssetRef) -> np.dtype[Any]:
    name = dataset.dtypes[ref.band_index - 1]
    if name.startswith("complex"):
        raise ItemError(f"{bare_url(ref.href)} holds complex numbers ({name}); take another asset (source.bands)")
    dtype: np.dtype[Any] = np.dtype(name)
    return dtype


def _tag(value: float, *, neutral: float) -> float | None:
    """A file's scale or offset; None where it is GDAL's default or none at all."""
    if not math.isfinite(value) or value in {0.0, neutral}:
        return None
    # Written in float32, 0.0001 reads 9.999999747e-05.
    short = np.float32(value)
    return float(str(short)) if float(short) == value else value


def _median(dataset: Any, index: int, nodata: tuple[float, ...]) -> float:
    """Median of the valid values of five windows, always the same ones; 0 where none is valid."""
    height, width = dataset.height, dataset.width
    rows, cols = min(_SAMPLE, height), min(_SAMPLE, width)
    shares = ((0.5, 0.5), (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75))
    values: list[NDArray[Any]] = []
    for down, right in shares:
        row, col = int((height - rows) * down), int((width - cols) * right)
        pixels = dataset.read(index, window=Window(col, row, cols, rows))
        values.append(pixels[~missing_floats(pixels, nodata)])
    valid = np.abs(np.concatenate(values))
    valid = valid[valid > 0]
    return float(np.median(valid)) if valid.size else 0.0
