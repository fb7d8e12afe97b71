"""Canonical JSON and its hash: one text, and so one hash, for equal values.

Keys are sorted and there are no spaces; ``1`` and ``1.0`` differ. Recipes, items, records and statistics are
hashed in this form, so a change of it would orphan every run that was ever written.
"""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object, *, ascii_only: bool = False, finite: bool = False) -> bytes:
    r"""The canonical text of a value, in UTF-8; half a surrogate pair, which JSON can hold, is passed on.

    Args:
        value: Mappings, lists, texts, numbers, booleans and None.
        ascii_only: Write other characters as ``\u…``, as the ledger's records do.
        finite: Refuse NaN and infinities.

    Raises:
        ValueError: A number is not finite, and ``finite`` is set.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only, allow_nan=not finite)
    return text.encode("utf-8", "surrogatepass")


def digest(value: object, *, ascii_only: bool = False, finite: bool = False) -> str:
    """SHA-256 of the canonical JSON, in hex; arguments as of :func:`canonical_json`."""
    return hashlib.sha256(canonical_json(value, ascii_only=ascii_only, finite=finite)).hexdigest()
