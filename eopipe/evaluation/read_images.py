"""Image and label files as arrays, read the way the papers' tools read them."""

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

from eopipe.errors import CatalogError, SpecError
from eopipe.redact import redact, unsign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""Of pictures, in lower case."""

T = TypeVar("T")

_TIFF = (".tif", ".tiff")
_TURNED = {5, 6, 7, 8}
"""EXIF orientations that exchange rows and columns."""
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Stored:
    """A label file as it is.

    Args:
        values: ``[H, W]``, or colours ``[H, W, 3]``.
        palette: uint8 ``[N, 3]`` where the file has one; ``values`` then are its rows.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None


def read_image(address: str) -> NDArray[np.uint8]:
    """A picture as OpenCV's colour reader gives it, but red first: one band is repeated, opacity dropped.

    Args:
        address: A local path, or an address that fsspec opens.

    Returns:
        uint8 ``[H, W, 3]``; turned as its EXIF orientation says.

    Raises:
        SpecError: The file is no picture, or has more than 8 bits.
        CatalogError: The address cannot be reached.
    """
    return _read(address, _image_of_tiff, _image_of_picture)


def read_label(address: str) -> Stored:
    """A label file's values as they are stored, unturned.

    Raises:
        SpecError: The file is no picture.
        CatalogError: The address cannot be reached.
    """
    return _read(address, _label_of_tiff, _label_of_picture)


def picture_shape(address: str, *, turned: bool = True) -> tuple[int, int]:
    """Rows and columns, from the header.

    Args:
        address: As `read_image`.
        turned: Whether EXIF orientation counts, as it does for images and not for labels.
    """
    return _read(address, lambda file, _: (file.height, file.width), lambda file, _: _shape(file, turned=turned))


def _read(address: str, tiff: Callable[[Any, str], T], picture: Callable[[Any, str], T]) -> T:
    """Open a file by its kind and hand it to one of the two readers."""
    source: Any = address if "://" not in address else io.BytesIO(_fetch(address))
    try:
        if address.lower().split("?")[0].endswith(_TIFF):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a benchmark's files lie nowhere
                with rasterio.open(source) as file:
                    return tiff(file, address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # aerial scenes are large
            with Image.open(source) as opened:
                return picture(opened, address)
    except FileNotFoundError:
        raise SpecError(f"{address} does not exist; give a folder or a collection whose files exist") from None
    except (RasterioError, OSError, SyntaxError, Image.DecompressionBombError) as error:  # pillow's, for broken PNGs
        said = " ".join(str(error).split())[:200]
        raise SpecError(f"{address} cannot be read as a picture ({said}); replace the file") from None


def _fetch(address: str) -> bytes:
    try:
        with fsspec.open(address, "rb") as file:
            return bytes(file.read())
    except Exception as error:  # noqa: BLE001  (fsspec's schemes each raise their own kinds)
        said = redact(" ".join(str(error).split()))[:200]
        raise CatalogError(f"{unsign(address)} cannot be read ({said}); check the address, or try later") from None


def _image_of_tiff(file: Any, address: str) -> NDArray[np.uint8]:
    if file.count not in {1, 3, 4}:
        raise SpecError(f"{address} has {file.count} bands; give pictures of one band or of red, green, blue")
    _refuse_deep(file.dtypes[0], address)
    pixels: NDArray[np.uint8] = file.read([1, 2, 3] if file.count > 1 else [1, 1, 1])
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _image_of_picture(file: Image.Image, address: str) -> NDArray[np.uint8]:
    deep = any("16" in str(part[3]) for part in getattr(file, "tile", []))  # pillow would drop the lower 8 bits
    _refuse_deep(file.mode if file.mode in {"I", "F"} or file.mode.startswith("I;") or deep else "uint8", address)
    upright = ImageOps.exif_transpose(file) or file
    return np.array(upright.convert("RGB"))


def _refuse_deep(kind: str, address: str) -> None:
    if kind != "uint8":
        raise SpecError(
            f"{address} is no 8-bit picture ({kind}); convert it as the set's authors do, or scale it to 0-255 by one"
            " fixed stretch for the whole set"
        )


def _label_of_tiff(file: Any, address: str) -> Stored:
    if file.count not in {1, 3, 4}:
        raise SpecError(f"label {address} has {file.count} bands; give one band of classes, or their colours")
    if file.count > 1:
        return Stored(np.ascontiguousarray(file.read([1, 2, 3]).transpose(1, 2, 0)))
    try:
        table = file.colormap(1)
    except ValueError:  # rasterio's way to say that there is none
        return Stored(file.read(1))
    return Stored(file.read(1), np.array([table.get(value, (0, 0, 0))[:3] for value in range(256)], np.uint8))


def _label_of_picture(file: Image.Image, address: str) -> Stored:
    del address
    if file.mode == "P":
        colours = np.array(file.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return Stored(np.array(file), np.concatenate([colours, np.zeros((256 - len(colours), 3), np.uint8)]))
    if file.mode in {"RGBA", "LA", "CMYK", "YCbCr"}:
        return Stored(np.array(file.convert("L" if file.mode == "LA" else "RGB")))
    return Stored(np.array(file))


def _shape(file: Image.Image, *, turned: bool) -> tuple[int, int]:
    if turned and file.getexif().get(_ORIENTATION) in _TURNED:
        return file.width, file.height
    return file.height, file.width


def is_picture(path: Path) -> bool:
    """Whether a path is named like a picture."""
    return path.suffix.lower() in SUFFIXES
