"""Text embeddings, one small file each, in the user's cache folder.

A file is named by a hash over everything that its content depends on, holds its own checksum, and appears whole or
not at all; so it may be deleted at any time, and a damaged one is computed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

VARIABLE = "EOPIPE_CACHE"

logger = logging.getLogger(__name__)

_DIGEST = 32


def folder() -> Path:
    """Where embeddings lie: below ``EOPIPE_CACHE``, or ``$XDG_CACHE_HOME/eopipe``, or ``~/.cache/eopipe``."""
    if root := os.environ.get(VARIABLE):
        return Path(root).expanduser() / "text"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "eopipe" / "text"


def key_of(content: Mapping[str, Any]) -> str:
    """A hash over plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def read(key: str, channels: int) -> NDArray[np.float32] | None:
    """The vector of a key.

    Args:
        key: From `key_of`.
        channels: Length of the vector.

    Returns:
        None where there is none, or the file is damaged, which the log states.
    """
    path = folder() / key
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("text embedding %s cannot be read (%s): computing it again", path, error)
        return None
    digest, values = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(values).digest() != digest or len(values) != 4 * channels:
        logger.warning("text embedding %s is damaged: computing it again", path)
        return None
    return np.frombuffer(values, dtype="<f4").astype(np.float32)


def keep(key: str, vector: NDArray[np.float32]) -> None:
    """Keep a vector under a key; a folder that cannot be written costs time only, and the log states it."""
    values = vector.astype("<f4").tobytes()
    try:
        folder().mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder(), prefix=".", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(values).digest() + values)
        Path(name).replace(folder() / key)
    except OSError as error:
        logger.warning("text embeddings cannot be kept in %s (%s)", folder(), error)
