"""Where the shared data and weights lie; a test that needs them skips with a reason, and in CI fails."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shared() -> Path:
    """Folder with ``data``, ``weights`` and ``specs``: ``EOPIPE_SHARED``, or beside the checkout."""
    return Path(os.environ.get("EOPIPE_SHARED", ROOT.parent / "shared"))


def _missing() -> bool:
    if (shared() / "data").is_dir():
        return False
    if os.environ.get("CI") == "true":
        raise RuntimeError(f"CI must have the shared data, and {shared()} has none; set EOPIPE_SHARED")
    return True


needs_shared = pytest.mark.skipif(
    _missing(), reason="needs the shared data folder beside the checkout, or EOPIPE_SHARED"
)


def golden(name: str) -> Path:
    """A golden array of the specifications."""
    return shared() / "specs" / "golden" / name
