"""The words of the demo: the user's, or its own."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from eopipe.errors import SpecError
from eopipe.kernels.ovss.prompts import parse_prompts, parse_text

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = "forest; bare ground; cropland; grassland; water; houses"
OTHERS = ("pine forest; red soil; river", "woodland; farm fields; buildings: village, road")
"""What the demo proposes to try next, best first."""

_LONGEST = 40


def read_words(text: str | None) -> dict[str, list[str]]:
    """Classes with their phrases, in order.

    Args:
        text: As a person types it; the demo's own words where None.

    Raises:
        SpecError: No class, an empty one, one that stands twice, or commas where semicolons are meant.
    """
    said = DEFAULT if text is None else text
    try:
        found = parse_text(said)
        parse_prompts(found)
    except ValueError as error:
        raise SpecError(f"--prompts: {error}") from None
    if len(found) == 1 and ":" not in said and "," in said:
        name, phrases = next(iter(found.items()))
        raise SpecError(
            f"--prompts: {name!r} may be {len(phrases)} classes or one; "
            f"write '{'; '.join(phrases)}', or '{phrases[0]}: {', '.join(phrases)}' for synonyms"
        )
    return found


def proposal(text: str | None) -> str:
    """Words to try after these."""
    return next(others for others in OTHERS if text is None or read_words(others) != read_words(text))


def folder_name(words: Mapping[str, list[str]]) -> str:
    """A name for what these words make: readable, and another one for any other words or order."""
    if words == read_words(None) and list(words) == list(read_words(None)):
        return "default"
    plain = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:_LONGEST].rstrip("-")
    tag = hashlib.sha256(json.dumps(list(words.items())).encode()).hexdigest()[:6]
    return f"{plain}-{tag}" if plain else tag
