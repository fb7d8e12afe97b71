"""The map as a picture: title, legend with shares and areas, scale bar, north, source.

It is drawn from the level of the pyramid that fills the page, so any size of mosaic takes the same time. Four
things that are not classes look different from each other: outside (paper), no valid observation (grey), a
failed tile (red hatching) and a tile that was not run (blue dots). Where a kernel makes several maps of classes, as
one of change does (the change, the classes before and after), the others stand left of the first, with their own key.
"""

from __future__ import annotations

import io
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eopipe.mosaic.class_areas import class_areas, map_spec
from eopipe.mosaic.cog import rgb
from eopipe.mosaic.quicklook_frame import View, look, metres_across, place_names
from eopipe.mosaic.store import STATUS, MosaicWriter, read_status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernelinfo import ArraySpec
    from eopipe.mosaic.class_areas import ClassArea
    from eopipe.mosaic.layout import Layout
    from eopipe.storage import Storage

PAPER, INK, SOFT = (252, 252, 250), (32, 32, 32), (110, 110, 110)
NO_OBSERVATION, FAILED, NOT_RUN = (190, 190, 190), (214, 40, 40), (90, 120, 190)
_MARGIN, _LEGEND, _MOST_CLASSES = 28, 380, 24
_BUNDLED = frozenset("…·“”°±")
_WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")


@dataclass(frozen=True)
class QuicklookInfo:
    """Texts of the picture, and what it shows.

    Args:
        title: Usually the run's name.
        subtitle: Dates and source, such as ``2025-05-01/2025-09-30 · sentinel-2-l2a``.
        attribution: The data's credit line.
        histogram: Pixels by code at full resolution (the ledger's sum); estimated from the pyramid where None.
        extent: Pixels to show; where None, the tiles that were or should have been mapped.
    """

    title: str
    subtitle: str = ""
    attribution: str = ""
    histogram: Mapping[int, int] | None = None
    extent: PixelBox | None = None


def quicklook(
    storage: Storage,
    layout: Layout,
    info: QuicklookInfo,
    *,
    beside: Callable[[View], NDArray[np.uint8]] | None = None,
) -> bytes:
    """Draw the mosaic.

    Args:
        storage: The run's folder; its pyramid and ``tile_status`` are complete.
        layout: The mosaic's.
        info: Texts.
        beside: Makes another picture of what the map shows, ``[y, x, 3]`` over the view's pixels; it stands left of
            the map.

    Returns:
        A PNG of about 1,500 pixels; wider where there are several pictures.

    Raises:
        OutputError: The folder cannot be read.
    """
    spec = map_spec(layout)
    statuses = read_status(storage)
    view = look(MosaicWriter(storage, layout), spec, statuses, info.extent)
    picture = _map(view, spec)
    others = [array for array in layout.arrays if array.classes and array.name != spec.name]
    areas = class_areas(storage, layout, histogram=info.histogram)
    page = _Page(picture.size, info, columns=1 + len(others) + (beside is not None))
    if beside is not None:
        scene = Image.fromarray(beside(view)).resize(picture.size, Image.Resampling.BICUBIC)
        page.draw_beside(scene, "the scene in true colour")
    for array in others:
        image = _map(look(MosaicWriter(storage, layout), array, statuses, info.extent), array)
        page.draw_beside(image.resize(picture.size, Image.Resampling.NEAREST), array.long_name or array.name)
    page.draw_map(picture, view, layout)
    y = page.draw_legend(spec, areas, statuses, unseen=bool((view.values == spec.nodata).any()))
    page.draw_keys(others, y)
    return page.png()


def _map(view: View, spec: ArraySpec) -> Image.Image:
    table = np.full((256, 3), PAPER, np.uint8)
    for code in {*spec.losers, spec.nodata} - {spec.fill}:
        table[code] = NO_OBSERVATION
    for entry in spec.classes:
        table[entry.code] = rgb(entry.colour)
    picture = table[view.values & 255]
    size = (max(1, round(picture.shape[1] * view.stretch_x)), max(1, round(picture.shape[0] * view.stretch_y)))
    image = Image.fromarray(picture).resize(size, Image.Resampling.NEAREST)
    codes = Image.fromarray(view.statuses).resize(size, Image.Resampling.NEAREST)
    return Image.fromarray(_patterns(np.array(image), np.asarray(codes)))


def _patterns(picture: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, cols = np.ogrid[: codes.shape[0], : codes.shape[1]]
    failed = codes == STATUS["failed"]
    picture[failed] = (255, 235, 235)
    picture[failed & ((rows + cols) % 9 < 3)] = FAILED
    missing = codes == STATUS["not run"]
    picture[missing] = (238, 242, 250)
    picture[missing & (rows % 8 < 2) & (cols % 8 < 2)] = NOT_RUN
    return picture


class _Page:
    """Title above, map on the left (other pictures left of it), legend on the right, source below."""

    def __init__(self, map_size: tuple[int, int], info: QuicklookInfo, *, columns: int = 1) -> None:
        self._info = info
        column = max(map_size[0], 420) + _MARGIN
        self._next_left, self._column = _MARGIN, column
        self._top = _MARGIN + 46 + (30 if info.subtitle else 0)
        height = self._top + max(map_size[1] + 76, 560) + 34
        width = _MARGIN * 2 + columns * column + _LEGEND
        self._image = Image.new("RGB", (width, height), PAPER)
        self._pen = ImageDraw.Draw(self._image)
        self._legend_left = width - _LEGEND - _MARGIN
        self._text((_MARGIN, _MARGIN), info.title, 32)
        if info.subtitle:
            self._text((_MARGIN, _MARGIN + 44), _fit(info.subtitle, 17, width - 2 * _MARGIN), 17, SOFT)
        self._text((_MARGIN, height - 30), _fit(info.attribution or "eopipe", 13, width - 2 * _MARGIN), 13, SOFT)

    def draw_beside(self, picture: Image.Image, words: str) -> None:
        """Another picture, from the left, before the map is drawn."""
        left = self._next_left
        _, bottom = self._paste(picture, left)
        self._text((left, bottom + 14), words, 15)
        self._next_left += self._column

    def draw_map(self, picture: Image.Image, view: View, layout: Layout) -> None:
        left = self._next_left
        right, bottom = self._paste(picture, left)
        self._scale_bar(left, bottom + 14, metres_across(layout, view) / picture.width, picture.width)
        self._north(max(right, left + 420) - 16, bottom + 14)
        self._text((left, bottom + 48), place_names(layout, view), 14, SOFT)

    def _paste(self, picture: Image.Image, left: int) -> tuple[int, int]:
        """Framed; its right and lower edge."""
        top = self._top + 8
        self._image.paste(picture, (left, top))
        right, bottom = left + picture.width, top + picture.height
        self._pen.rectangle((left - 1, top - 1, right, bottom), outline=(150, 150, 150))
        return right, bottom

    def draw_legend(
        self, spec: ArraySpec, areas: list[ClassArea], statuses: NDArray[np.uint8], *, unseen: bool
    ) -> int:
        """The map's classes and its other marks; returns where the next legend may begin."""
        left, y = self._legend_left, self._top + 8
        self._text((left, y), _fit(spec.long_name or spec.name, 18, _LEGEND - 146), 18)
        self._text((left + _LEGEND - 96, y + 2), "share", 14, SOFT, right=True)
        self._text((left + _LEGEND - 7, y + 2), "km", 14, SOFT, right=True)
        self._text((left + _LEGEND, y), "2", 10, SOFT, right=True)  # the bundled font has no superscript
        y += 36
        largest = sorted((area for area in areas if area.pixels), key=lambda area: -area.pixels)
        for area in largest[:_MOST_CLASSES]:
            self._box(left, y, rgb(area.colour))
            self._text((left + 36, y), _fit(area.name, 16, 170), 16)
            self._text((left + _LEGEND - 96, y), _percent(area.share), 16, right=True)
            self._text((left + _LEGEND, y), _km2(area.km2), 16, right=True)
            y += 28
        rest = largest[_MOST_CLASSES:]
        if rest:
            share, km2 = sum(area.share for area in rest), sum(area.km2 for area in rest)
            self._text((left + 36, y), f"{len(rest)} more", 16, SOFT)
            self._text((left + _LEGEND - 96, y), _percent(share), 16, SOFT, right=True)
            self._text((left + _LEGEND, y), _km2(km2), 16, SOFT, right=True)
            y += 28
        return self._draw_absences(left, y + 12, statuses, unseen=unseen)

    def draw_keys(self, others: list[ArraySpec], y: int) -> None:
        """Classes and colours of the other maps; maps with the same classes share a key."""
        left = self._legend_left
        for classes in dict.fromkeys(array.classes for array in others):
            names = [array.long_name or array.name for array in others if array.classes == classes]
            self._text((left, y + 12), _fit(", ".join(names), 16, _LEGEND), 16)
            y += 44
            for entry in classes[:_MOST_CLASSES]:
                self._box(left, y, rgb(entry.colour))
                self._text((left + 36, y), _fit(entry.name, 16, _LEGEND - 36), 16)
                y += 28

    def _draw_absences(self, left: int, y: int, statuses: NDArray[np.uint8], *, unseen: bool) -> int:
        if unseen:
            self._box(left, y, NO_OBSERVATION)
            self._text((left + 36, y), "no valid observation", 16)
            y += 28
        of = int((statuses != STATUS["outside"]).sum())
        for status, words in (("failed", "failed"), ("not run", "not run yet")):
            count = int((statuses == STATUS[status]).sum())
            if count:
                pattern = np.full((20, 26), STATUS[status], np.uint8)
                swatch = Image.fromarray(_patterns(np.zeros((20, 26, 3), np.uint8), pattern))
                self._image.paste(swatch, (left, y))
                self._pen.rectangle((left, y, left + 25, y + 19), outline=INK)
                colour = FAILED if status == "failed" else INK
                self._text((left + 36, y), f"{words}: {count:,} of {of:,} tiles", 16, colour)
                y += 28
        return y

    def _box(self, left: int, top: int, colour: tuple[int, int, int]) -> None:
        self._pen.rectangle((left, top, left + 25, top + 19), fill=colour, outline=(90, 90, 90))

    def _scale_bar(self, left: int, top: int, metres_a_pixel: float, width: int) -> None:
        metres = _round_length(metres_a_pixel * width / 4)
        length = round(metres / metres_a_pixel)
        self._pen.rectangle((left, top + 6, left + length // 2, top + 12), fill=INK, outline=INK)
        self._pen.rectangle((left + length // 2, top + 6, left + length, top + 12), fill=PAPER, outline=INK)
        words = f"{metres / 1000:,.15g} km" if metres >= 1000 else f"{metres:.15g} m"
        self._text((left + length + 10, top), words, 15)

    def _north(self, x: int, top: int) -> None:
        self._pen.polygon([(x, top - 4), (x - 7, top + 16), (x, top + 11), (x + 7, top + 16)], fill=INK)
        self._text((x - 14, top), "north is up", 14, SOFT, right=True)

    def _text(
        self,
        at: tuple[float, float],
        words: str,
        size: int,
        colour: tuple[int, int, int] = INK,
        *,
        right: bool = False,
    ) -> None:
        text, font = _lettering(size, words)
        self._pen.text(at, text, fill=colour, font=font, anchor="ra" if right else "la")

    def png(self) -> bytes:
        out = io.BytesIO()
        self._image.save(out, "PNG", optimize=True)
        return out.getvalue()


def _lettering(size: int, words: str) -> tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """Pillow's bundled font knows little beyond ASCII: other letters take a system's font, or lose their accents."""
    if all(letter in _BUNDLED or 32 <= ord(letter) < 127 for letter in words):
        return words, ImageFont.load_default(size=size)
    for name in _WIDE_FONTS:
        with suppress(OSError):
            return words, ImageFont.truetype(name, size)
    plain = unicodedata.normalize("NFKD", words.replace("\u2013", "-").replace("\u2014", "-"))
    bare = (letter for letter in plain if not unicodedata.combining(letter))
    text = "".join(letter if letter in _BUNDLED or 32 <= ord(letter) < 127 else "?" for letter in bare)
    return text, ImageFont.load_default(size=size)


def _fit(words: str, size: int, width: int) -> str:
    """Cut to a width, so that a long name never runs into the numbers."""
    words, font = _lettering(size, words)
    if font.getlength(words) <= width:
        return words
    while words and font.getlength(words + "…") > width:
        words = words[:-1]
    return words.rstrip() + "…"


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def _km2(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"


def _round_length(metres: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is no longer."""
    power = 10.0 ** np.floor(np.log10(metres))
    return float(next(step * power for step in (5, 2, 1) if step * power <= metres))
