"""Image and label files as arrays, read as the papers' tools read them (OpenCV, mmsegmentation)."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import fsspec
import numpy as np
import rasterio
from PIL import Image, ImageOps
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from eopipe.errors import CatalogError, SpecError, one_line
from eopipe.redact import redact, unsign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""Suffixes of image files, in lower case."""

T = TypeVar("T")

_ORIENTATION = 0x0112
"""EXIF tag; orientations 5 to 8 exchange rows and columns."""


@dataclass(frozen=True)
class LabelImage:
    """The content of a label file.

    Args:
        values: ``[H, W]``, or colours ``[H, W, 3]``.
        palette: uint8 ``[N, 3]`` where the file has one; ``values`` are its row numbers then.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None


def read_image(address: str) -> NDArray[np.uint8]:
    """An image as OpenCV's colour reader returns it, but red first: one band is repeated, opacity dropped.

    Args:
        address: A local path, or an address that fsspec opens.

    Returns:
        uint8 ``[H, W, 3]``; rotated by its EXIF orientation.

    Raises:
        SpecError: The file is no image, or has more than 8 bits.
        CatalogError: The address cannot be reached.
    """
    return _read(address, _tiff_image, _pillow_image)


def read_label(address: str) -> LabelImage:
    """A label file's values as they are stored; its EXIF orientation is ignored.

    Raises:
        SpecError: The file is no image.
        CatalogError: The address cannot be reached.
    """
    return _read(address, _tiff_label, _pillow_label)


def picture_shape(address: str, *, turned: bool = True) -> tuple[int, int]:
    """Rows and columns, from the header.

    Args:
        address: As `read_image`.
        turned: Whether the EXIF orientation applies, as it does to images and not to labels.
    """

    def pillow_shape(file: Image.Image, _: str) -> tuple[int, int]:
        swapped = turned and file.getexif().get(_ORIENTATION) in {5, 6, 7, 8}
        return (file.width, file.height) if swapped else (file.height, file.width)

    return _read(address, lambda file, _: (file.height, file.width), pillow_shape)


def error_text(error: Exception) -> str:
    """The message of a library's error as one line of 200 characters at most."""
    return one_line(error, 200)


def _read(address: str, tiff: Callable[[Any, str], T], pillow: Callable[[Any, str], T]) -> T:
    """Open a TIFF with rasterio, any other file with pillow, and call the reader for it."""
    source: Any = address if "://" not in address else io.BytesIO(_fetch(address))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # benchmark files have no CRS
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # aerial scenes are large
            if address.lower().split("?")[0].endswith((".tif", ".tiff")):
                with rasterio.open(source) as file:
                    return tiff(file, address)
            with Image.open(source) as image:
                return pillow(image, address)
    except FileNotFoundError:
        raise SpecError(f"{address} does not exist; give a folder or a collection whose files exist") from None
    except (RasterioError, OSError, SyntaxError, Image.DecompressionBombError) as error:  # pillow's, for broken PNGs
        raise SpecError(f"{address} cannot be read as a picture ({error_text(error)}); replace the file") from None


def _fetch(address: str) -> bytes:
    try:
        with fsspec.open(address, "rb") as file:
            return bytes(file.read())
    except Exception as error:  # noqa: BLE001  (fsspec's schemes each raise their own kinds)
        message = redact(one_line(error))[:200]
        raise CatalogError(f"{unsign(address)} cannot be read ({message}); check the address, or try later") from None


def _tiff_image(file: Any, address: str) -> NDArray[np.uint8]:
    if file.count not in {1, 3, 4}:
        raise SpecError(f"{address} has {file.count} bands; give pictures of one band or of red, green, blue")
    _refuse_deep(file.dtypes[0], address)
    pixels: NDArray[np.uint8] = file.read([1, 2, 3] if file.count > 1 else [1, 1, 1])
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _pillow_image(file: Image.Image, address: str) -> NDArray[np.uint8]:
    deep = any("16" in str(tile[3]) for tile in getattr(file, "tile", []))  # pillow would drop the lower 8 bits
    _refuse_deep(file.mode if file.mode in {"I", "F"} or file.mode.startswith("I;") or deep else "uint8", address)
    upright = ImageOps.exif_transpose(file) or file
    return np.array(upright.convert("RGB"))


def _refuse_deep(kind: str, address: str) -> None:
    if kind != "uint8":
        raise SpecError(
            f"{address} is no 8-bit picture ({kind}); convert it as the set's authors do, or scale it to 0-255 by one"
            " fixed stretch for the whole set"
        )


def _tiff_label(file: Any, address: str) -> LabelImage:
    if file.count not in {1, 3, 4}:
        raise SpecError(f"label {address} has {file.count} bands; give one band of classes, or their colours")
    if file.count > 1:
        return LabelImage(np.ascontiguousarray(file.read([1, 2, 3]).transpose(1, 2, 0)))
    try:
        table = file.colormap(1)
    except ValueError:  # rasterio raises it where the band has no colour table
        return LabelImage(file.read(1))
    return LabelImage(file.read(1), np.array([table.get(value, (0, 0, 0))[:3] for value in range(256)], np.uint8))


def _pillow_label(file: Image.Image, _: str) -> LabelImage:
    if file.mode == "P":
        colours = np.array(file.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return LabelImage(np.array(file), np.concatenate([colours, np.zeros((256 - len(colours), 3), np.uint8)]))
    if file.mode in {"RGBA", "LA", "CMYK", "YCbCr"}:
        return LabelImage(np.array(file.convert("L" if file.mode == "LA" else "RGB")))
    return LabelImage(np.array(file))


def is_picture(path: Path) -> bool:
    """Whether a file name has the suffix of an image."""
    return path.suffix.lower() in SUFFIXES
