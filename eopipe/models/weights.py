"""Where weights come from, and the check of their sha256.

A file is searched in the folder that ``EOPIPE_WEIGHTS`` names, then among the files that ship with the package or
with another that is installed, then in the Hugging Face cache; only then is it fetched from the hub, once. Where an
entry states a sha256, the file must have it: weights decide every byte of a map, and their sha256 is part of the tile
recipe, so a different file is refused, and no warning will do.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import WeightsError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

VARIABLE = "EOPIPE_WEIGHTS"

HUB, FOLDER = "hf-hub:", "local-dir:"
"""What a model's name begins with that is a repository on the hub, or a folder of the user's."""


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """A file of weights.

    Attributes:
        name: What the file is, for people.
        file: Path below a weights folder, with forward slashes: ``dynamicworld/….npz``; of a file on the hub
            ``ORG/REPO/PATH``.
        sha256: Of the file, lower-case hexadecimal; None where no source states it.
        size: Bytes; None where no source states it.
        licence: SPDX identifier, or what the authors say.
        origin: Where it comes from and what was done to it, for people.
        hub: Repository on huggingface.co that has the file, or None.
        others: Files that may take its place, in the same form as ``file``, second choice first.
        package: Another installable package that has the file, as ``IMPORT_NAME/PATH``; it is never imported.
    """

    name: str
    file: str
    sha256: str | None = None
    size: int | None = None
    licence: str
    origin: str
    hub: str | None = None
    others: tuple[str, ...] = ()
    package: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that may be used, best first."""
        return (self.file, *self.others)


def hub_weights(name: str, hub: str, licence: str, file: str, *others: str) -> WeightsEntry:
    """The weights of a repository on the hub.

    Args:
        name: What they are, for people.
        hub: ``OWNER/NAME``.
        licence: As its authors state it.
        file: Name in the repository.
        *others: Names in it of files that may take its place.
    """
    return WeightsEntry(
        name=name,
        file=f"{hub}/{file}",
        others=tuple(f"{hub}/{other}" for other in others),
        licence=licence,
        origin=f"huggingface.co/{hub}",
        hub=hub,
    )


def locate(entry: WeightsEntry) -> Path:
    """Find a file of weights, fetch it if it is not on this machine, and check its sha256 if one is stated.

    Args:
        entry: Which file.

    Returns:
        The path of the file. A file is hashed once a process, as long as its size and time stay.

    Raises:
        WeightsError: The file is not on this machine and cannot be fetched, or has another sha256.
    """
    path = find(entry) or _fetch(entry)
    check(path, entry.sha256, f"{entry.name} (from {entry.origin})")
    return path


def find(entry: WeightsEntry) -> Path | None:
    """Return the path where a file of weights is, unchecked, or None; the user's folder comes first.

    Args:
        entry: Which file.

    Raises:
        WeightsError: The user's folder does not exist.
    """
    return next(_candidates(entry, users_folder()), None)


def users_folder() -> Path | None:
    """The folder of the user's weights, or None where ``EOPIPE_WEIGHTS`` names none.

    Raises:
        WeightsError: It does not exist.
    """
    folder = _folder()
    if folder is not None and not folder.is_dir():
        raise WeightsError(f"{VARIABLE}: {str(folder)!r} is no folder; give one, or unset it to use the shipped ones")
    return folder


def check(path: Path, sha256: str | None, meant: str) -> None:
    """Compare a file with the sha256 that is stated for it, and a hub file with the one the hub stated.

    Args:
        path: The file.
        sha256: What it must have, or None.
        meant: What the file should be, for people.

    Raises:
        WeightsError: It has another.
    """
    actual = sha256_of(path)
    if sha256 is not None and actual != sha256:
        raise WeightsError(
            f"weights {path} are not {meant}: expected sha256 {sha256}, found {actual}; replace the file, "
            f"or correct the sha256 if it is yours"
        )
    stated = path.resolve().name  # the hub's cache names a large file by its sha256
    if path.is_symlink() and re.fullmatch("[0-9a-f]{64}", stated) and stated != actual:
        raise WeightsError(
            f"weights {path} are damaged: the hub said sha256 {stated}, found {actual}; delete the file"
        )


def sha256_of(path: Path) -> str:
    """The sha256 of a file; hashed once a process, as long as its size and time stay."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


def file_sha256(entry: WeightsEntry) -> dict[str, str]:
    """File and sha256 of weights, for a tile recipe.

    Raises:
        WeightsError: As `locate`.
    """
    return {entry.file: sha256_of(locate(entry))}


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


def where() -> str:
    """The folder that a user's weights go to, for an error's remedy."""
    return str(_folder() or f"a folder and set {VARIABLE} to it")


def _folder() -> Path | None:
    value = os.environ.get(VARIABLE)
    return Path(value).expanduser() if value else None


def _candidates(entry: WeightsEntry, folder: Path | None) -> Iterator[Path]:
    packaged = Path(str(resources.files("eopipe.models"))) / "data"
    for root in (folder, packaged):
        if root is not None:
            yield from (root / name for name in entry.files if (root / name).is_file())
    if entry.package is not None:
        yield from _installed(entry.package)
    if entry.hub is not None:
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  (most runs need no hub)

        for name in entry.files:
            cached = try_to_load_from_cache(entry.hub, _within(entry.hub, name))
            if isinstance(cached, str):
                yield Path(cached)


def _installed(file: str) -> Iterator[Path]:
    name, _, within = file.partition("/")
    spec = find_spec(name)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / within
        if path.is_file():
            yield path


def _fetch(entry: WeightsEntry) -> Path:
    """Get a file from the hub, which keeps it in its cache.

    Raises:
        WeightsError: It is not on the hub, or the hub cannot be reached; what to put where.
    """
    stated = f"sha256 {entry.sha256}; " if entry.sha256 else ""
    remedy = f"put {entry.file} into {where()} ({stated}from {entry.origin})"
    if entry.hub is None:
        raise WeightsError(f"weights {entry.name} not found: {remedy}")
    reason = "no such file there"
    try:
        for name in entry.files:
            if (path := fetch_from_hub(entry.hub, _within(entry.hub, name))) is not None:
                return path
    except ConnectionError as error:
        reason = str(error)
    raise WeightsError(
        f"weights {entry.name} are not here and huggingface.co/{entry.hub} gives none ({reason}): {remedy}"
    )


def fetch_from_hub(hub: str, file: str, *, revision: str | None = None) -> Path | None:
    """A file of a repository on the hub, which keeps it in its cache; None: the hub has no such file.

    Raises:
        ConnectionError: The file cannot be fetched; why, in one line.
    """
    from huggingface_hub import hf_hub_download  # noqa: PLC0415  (most runs need no hub)
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        with _quiet_hub():
            return Path(hf_hub_download(hub, file, revision=revision))
    except LocalEntryNotFoundError:
        raise ConnectionError("no connection, or HF_HUB_OFFLINE is set") from None
    except EntryNotFoundError:
        return None
    except Exception as error:  # the hub's HTTP library raises its own kinds
        raise ConnectionError(one_line(f"{type(error).__name__}: {error}", 200)) from error


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """The hub's library logs each attempt; an error tells the outcome in one line."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _within(hub: str, file: str) -> str:
    return file.removeprefix(f"{hub}/")


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, time_ns: int) -> str:
    """Hash a file; size and time are parameters so that they are part of the cache's key."""
    del size, time_ns
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
