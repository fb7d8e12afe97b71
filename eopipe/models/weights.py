"""Where weights come from, and that they are the ones meant.

A file is looked for in the folder that ``EOPIPE_WEIGHTS`` names, then among the files that ship with the
package. Its sha256 must be the entry's: weights decide every byte of a map, and their sha256 is part of the tile
recipe, so a different file is refused, never warned about.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import WeightsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VARIABLE = "EOPIPE_WEIGHTS"


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """A file of weights.

    Attributes:
        name: What the file is, as listed by ``eopipe models``.
        file: Path below a weights folder, with forward slashes: ``dynamicworld/….npz``.
        sha256: Of the file, lower-case hexadecimal.
        size: Bytes.
        licence: SPDX identifier.
        origin: Where it comes from and what was done to it, for people.
    """

    name: str
    file: str
    sha256: str
    size: int
    licence: str
    origin: str


def locate(entry: WeightsEntry) -> Path:
    """Find a file of weights and check its sha256.

    Args:
        entry: Which file.

    Returns:
        The path of the file. A file is hashed once a process, as long as its size and time stay.

    Raises:
        WeightsError: The file is nowhere, or it is not the one meant.
    """
    path = find(entry)
    if path is None:
        where = _folder() or f"a folder and set {VARIABLE} to it"
        raise WeightsError(
            f"weights {entry.name} not found: put {entry.file} into {where}"
            f" (sha256 {entry.sha256}; from {entry.origin})"
        )
    status = path.stat()
    found = _sha256(path, status.st_size, status.st_mtime_ns)
    if found != entry.sha256:
        raise WeightsError(
            f"weights {path} are not {entry.name}: expected sha256 {entry.sha256}, found {found};"
            f" replace the file (from {entry.origin})"
        )
    return path


def find(entry: WeightsEntry) -> Path | None:
    """Return the path where a file of weights is, unchecked, or None; the user's folder comes first.

    Args:
        entry: Which file.

    Raises:
        WeightsError: The user's folder is none.
    """
    folder = _folder()
    if folder is not None and (folder / entry.file).is_file():
        return folder / entry.file
    if folder is not None and not folder.is_dir():
        raise WeightsError(f"{VARIABLE}: {str(folder)!r} is no folder; give one, or unset it to use the shipped ones")
    packaged = Path(str(resources.files("eopipe.models"))) / "data" / entry.file
    return packaged if packaged.is_file() else None


def load_arrays(entry: WeightsEntry) -> dict[str, NDArray[np.float32]]:
    """Read an ``npz`` of weights; pickled objects in it are refused.

    Args:
        entry: Which file.

    Returns:
        The arrays by name.

    Raises:
        WeightsError: As `locate`, or the file is not an archive of plain arrays.
    """
    path = locate(entry)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise WeightsError(f"weights {path} are not an npz of plain arrays ({error}); replace the file") from error


def _folder() -> Path | None:
    value = os.environ.get(VARIABLE)
    return Path(value).expanduser() if value else None


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, time_ns: int) -> str:
    """Hash a file; size and time are there to be part of the cache's key."""
    del size, time_ns
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
