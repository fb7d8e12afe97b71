"""SAR backscatter as canonical integers: decibels in uint16, and what is done with them in linear power.

A code is ``(dB + 128) x 256``, halves up: steps of 1/256 dB from -128 dB, and exact as float32 dB.
The step is 0.09 % of the power; the speckle of a Sentinel-1 GRD or RTC pixel (4.4 looks) is 48 %.
Whatever has no decibels (no power, negative power left by a noise correction, NaN, fill values such as -9999)
lies outside the range and is no data.

Averages are taken of the **power**, never of decibels: the mean of a speckled target's decibels lies
10 log10(e) (ln L - psi(L)) below that of its power, 2.5 dB for one look and 0.5 dB for 4.4 (F. Ulaby, R. Moore,
A. Fung, Microwave Remote Sensing, vol. 2, 1982), and by more along edges. So neighbours that a resampled pixel is
made of, and the two middle values of a median of even count, are turned into power, averaged, and turned back. A
median of odd count needs no mean: decibels and power have the same order.

The same value comes out on any machine and for any box: power of a code is a table of correctly rounded doubles made
in integer arithmetic; sums are doubles, added in the order of the file's rows and columns, without fused or
reordered operations; and the code of a power is found by comparing with the exact edges between codes.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numba import njit

from eopipe.cube.radiometry import INVALID, TOP
from eopipe.cube.resample import ONE, coordinates
from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.kernelinfo import Inputs
    from eopipe.spec import RadiometrySpec, SourceSpec

SAR_BANDS = ("vv", "vh", "hh", "hv")
"""Canonical SAR bands: transmitted and received polarisation."""

STEPS = 256
"""Codes per decibel."""

LOWEST = -128
"""Decibels of code 0."""

Unit = Literal["dB", "power", "amplitude"]
"""What a file's numbers are: 10 log10 of the power, the power, or its square root."""

_KINDS = {"dB": 0, "power": 1, "amplitude": 2}
_BITS = 256
_INVALID = np.uint16(INVALID)
_OCTAVE = 10 * STEPS * math.log10(2)
_LEADING = 10 * STEPS * np.log10(1 + np.arange(2048) / 2048)
"""Codes of twice the power, and of the 2048 leading fractions of a double: where the search for a code begins."""


def modality_of(bands: Sequence[str]) -> Literal["optical", "sar"]:
    """``sar`` for polarisations, ``optical`` for all other bands.

    Raises:
        SpecError: Both kinds are among the bands; one reader composites one kind.
    """
    sar, optical = ([band for band in bands if (band in SAR_BANDS) is radar] for radar in (True, False))
    if sar and optical:
        raise SpecError(
            f"bands {', '.join(sar)} are SAR and {', '.join(optical)} are optical; read them as two cubes or two runs"
        )
    return "sar" if sar else "optical"


def check_source(inputs: Inputs, source: SourceSpec) -> None:
    """Refuse a source whose settings mean nothing for what the kernel reads.

    Raises:
        SpecError: A cloud mask or a composite by cloud cover for SAR, or SAR settings for optical; or a number for a
            band that is not read.
    """
    if inputs.modality != modality_of(inputs.bands):
        raise SpecError(f"the kernel says it reads {inputs.modality}, and its bands are {', '.join(inputs.bands)}")
    check_numbers(source.radiometry, inputs.bands)
    if inputs.modality == "sar":
        if source.mask is not None:
            raise SpecError(f"source.mask: {source.mask.band} is a mask of optical scenes; remove it to map from SAR")
        if source.composite == "least-cloudy":
            raise SpecError("source.composite: 'least-cloudy' means nothing for SAR; use median or first")
    elif source.sar is not None:
        raise SpecError(
            "source.sar: this kernel reads optical scenes; remove the key, or take a kernel that reads SAR"
        )


def check_numbers(numbers: RadiometrySpec | None, bands: Sequence[str]) -> None:
    """Refuse what the spec says of files' numbers where it has no effect: a misspelt band would be read as it was.

    Raises:
        SpecError: A band is not read, or a unit of reflectance is stated for SAR.
    """
    if numbers is None:
        return
    if (key := numbers.unread(bands)) is not None:
        raise SpecError(f"source.{key}: this band is not read; the bands are {', '.join(bands)}")
    if numbers.unit is not None and modality_of(bands) == "sar":
        raise SpecError("source.unit: SAR is no reflectance; state source.sar: {unit: dB | power | amplitude}")


def warnings_of(source: SourceSpec) -> list[str]:
    """What the spec's SAR settings mean for the map, one line each."""
    if source.sar is None or source.sar.unit != "amplitude" or source.sar.offset:
        return []
    warning = (
        "source.sar says amplitude with no offset: pixels are 20 log10(DN), which is no calibrated backscatter; "
        "set source.sar.offset (dB) where the provider states a constant, or take a calibrated product"
    )
    return [warning]


def decibels(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Decibels of codes, exact in float32; INVALID has no meaning here."""
    values: NDArray[np.float32] = codes.astype(np.float32) / np.float32(STEPS) + np.float32(LOWEST)
    return values


@lru_cache(maxsize=1)
def power_tables() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Power of each code ``[65535]``, and the powers at which one code ends and the next begins ``[65534]``.

    Powers of one ratio in 256-bit fixed point, each rounded once to the nearest double.
    """
    ratio = _half_step()
    value, one = _fixed_power_of_ten(LOWEST), 1 << _BITS
    powers: list[float] = []
    edges: list[float] = []
    for _ in range(TOP):
        powers.append(value / one)
        value = value * ratio >> _BITS
        edges.append(value / one)
        value = value * ratio >> _BITS
    powers.append(value / one)
    tables = np.array(powers), np.array(edges)
    for table in tables:
        table.flags.writeable = False
    return tables


def _half_step() -> int:
    """Ratio of two powers half a code apart, 10^(1/5120), in fixed point; the root is taken in integers."""
    exponent = 2 * 10 * STEPS
    # Newton's iteration from below converges to the floor of the root of 10 * 2^(BITS * exponent).
    guess = int(10 ** (1 / exponent) * 2**52) << (_BITS - 52)
    for _ in range(4):
        error = (10 << _BITS) - _fixed_power(guess, exponent)
        guess += ((error * guess) // exponent) // (10 << _BITS)
    return guess


def _fixed_power(base: int, exponent: int) -> int:
    power = 1 << _BITS
    while exponent:
        if exponent & 1:
            power = power * base >> _BITS
        base = base * base >> _BITS
        exponent >>= 1
    return power


def _fixed_power_of_ten(decibel: int) -> int:
    """10^(dB/10) in fixed point; whole tens exactly, the rest by half steps."""
    tens, rest = divmod(decibel, 10)
    base = _fixed_power(_half_step(), rest * 2 * STEPS)
    whole: int = 10 ** abs(tens)
    return base // whole if tens < 0 else base * whole


@njit(nogil=True, cache=True, inline="always")
def code_of(power: float, edges: NDArray[Any]) -> int:
    """Code of a power; INVALID where it has none. Its leading bits give a guess, the comparison decides."""
    n = 65535
    if power > 0.0:
        bits = np.float64(power).view(np.int64)
        guess = _OCTAVE * ((bits >> 52) - 1023) + _LEADING[(bits >> 41) & 2047] + 32768.5
        if -2.0 < guess < 65536.0:
            n = min(max(int(guess), 0), 65534)
            while n > 0 and power < edges[n - 1]:
                n -= 1
            while n < 65534 and power >= edges[n]:
                n += 1
    return int(n)


@njit(nogil=True, cache=True)
def _encode(
    values: NDArray[Any],
    kind: int,
    scale: float,
    offset: float,
    shift: int,
    nodata: float,
    edges: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Codes of numbers of one kind (see _KINDS); NaN as ``nodata`` matches nothing."""
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            raw = np.float64(values[y, x])
            number = raw * scale + offset
            code = 65535
            if raw != nodata and np.isfinite(number):  # NaN is finite nowhere
                if kind == 0:
                    place = np.floor((number + 128.0) * 256.0 + 0.5)
                    if place >= 0.0 and place <= 65534.0:
                        code = int(place)
                elif kind == 1:
                    code = code_of(number, edges)
                elif number > 0.0:
                    code = code_of(number * number, edges)
                if code != 65535:
                    code += shift
                    if code < 0 or code > 65534:
                        code = 65535
            out[y, x] = code


def encode(
    values: NDArray[Any],
    unit: Unit,
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    decibels: float = 0.0,
    nodata: float | None = None,
) -> NDArray[np.uint16]:
    """Codes of a band's numbers.

    Args:
        values: ``[y, x]``, any real type.
        unit: What ``values x scale + offset`` is.
        scale: As the item states it.
        offset: Likewise.
        decibels: Added in decibels, such as a calibration constant of -83 dB; rounded to 1/256 dB.
        nodata: Number without data, before scaling; NaN never has any.

    Returns:
        uint16 ``[y, x]``; INVALID where there is no data, or nothing between -128 and +128 dB.
    """
    out = np.empty(values.shape, np.uint16)
    # In the type of the file: -3.4e38 is stated as a decimal that float32 does not hold exactly.
    if nodata is not None and values.dtype.kind == "f":
        nodata = float(values.dtype.type(nodata))
    missing = math.nan if nodata is None else float(nodata)
    shift = math.floor(decibels * STEPS + 0.5)
    _encode(values, _KINDS[unit], float(scale), float(offset), shift, missing, power_tables()[1], out)
    return out


@njit(nogil=True, cache=True)
def mean_power(  # noqa: PLR0913, PLR0917  (one flat loop is what numba compiles well)
    source: NDArray[Any],
    origin: tuple[int, int],
    rows: NDArray[Any],
    cols: NDArray[Any],
    step: int,
    corner: tuple[int, int],
    widen: tuple[int, int],
    power: NDArray[Any],
    edges: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Resample codes bilinearly in linear power; :func:`eopipe.cube.resample.bilinear` for backscatter.

    Args:
        source: ``[y, x]`` uint16 codes of a window of the file.
        origin: Row and column of the window in the file.
        rows: Source rows at the nodes of a cell, ``[n, n]``; pixel edges are integers.
        cols: Source columns likewise.
        step: Distance of the nodes.
        corner: Row and column of ``out`` in the cell.
        widen: Half-width of the triangle in 1/1024 source pixels, by rows and columns; 1024 = plain bilinear.
        power: From :func:`power_tables`.
        edges: Likewise.
        out: ``[y, x]`` uint16, written; INVALID where the source pixel under the centre has no data.
    """
    height, width = source.shape
    wr, wc = widen
    plain = wr == ONE and wc == ONE
    at_r, at_c = np.empty(out.shape[1], np.int64), np.empty(out.shape[1], np.int64)
    for y in range(out.shape[0]):
        coordinates(rows, corner[0] + y, corner[1], step, origin[0], at_r)
        coordinates(cols, corner[0] + y, corner[1], step, origin[1], at_c)
        for x in range(out.shape[1]):
            nr, nc = at_r[x] >> 10, at_c[x] >> 10
            if nr < 0 or nc < 0 or nr >= height or nc >= width or source[nr, nc] == _INVALID:
                out[y, x] = _INVALID
                continue
            # Distances are counted between pixel centres, half a pixel from the edges.
            r, c = at_r[x] - ONE // 2, at_c[x] - ONE // 2
            r0, c0 = r >> 10, c >> 10
            if plain and r0 >= 0 and c0 >= 0 and r0 + 1 < height and c0 + 1 < width:
                v00, v01, v10, v11 = source[r0, c0], source[r0, c0 + 1], source[r0 + 1, c0], source[r0 + 1, c0 + 1]
                if max(v00, v01, v10, v11) != _INVALID:  # which is the largest code
                    b, d = r & (ONE - 1), c & (ONE - 1)
                    # The same products in the same order as below, so the same sum.
                    mean = np.float64((ONE - b) * (ONE - d)) * power[v00] + np.float64((ONE - b) * d) * power[v01]
                    mean += np.float64(b * (ONE - d)) * power[v10]
                    mean += np.float64(b * d) * power[v11]
                    out[y, x] = code_of(mean / (ONE * ONE), edges)
                    continue
            total, weight = 0.0, 0.0
            for i in range(max(-((wr - r) // ONE), 0), min((r + wr) // ONE, height - 1) + 1):
                wi = wr - abs(i * ONE - r)
                for j in range(max(-((wc - c) // ONE), 0), min((c + wc) // ONE, width - 1) + 1):
                    code = source[i, j]
                    if code != _INVALID:
                        w = np.float64(wi * (wc - abs(j * ONE - c)))
                        total += w * power[code]
                        weight += w
            out[y, x] = code_of(total / weight, edges)


@njit(nogil=True, cache=True)
def mean_of_two(one: NDArray[Any], two: NDArray[Any], power: NDArray[Any], edges: NDArray[Any]) -> None:
    """Code of the mean power of two rows of codes, written to the first; equal codes stay, INVALID too."""
    for x in range(one.size):
        if one[x] != two[x]:
            one[x] = code_of((power[one[x]] + power[two[x]]) * 0.5, edges)
