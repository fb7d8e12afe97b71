"""The demo's words and its run spec: a file like those that people write, beside the collection that it reads."""

from __future__ import annotations

import hashlib
import io
import json
import re
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from eopipe.errors import SpecError
from eopipe.kernels.ovss.prompts import parse_prompts, parse_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.demo.scenes import DemoScene

DEFAULT = "forest; bare ground; cropland; grassland; water; houses"
FURTHER = ("pine forest; red soil; river", "woodland; farm fields; buildings: village, road")
"""Words that the demo proposes to try next, best first."""

WORKERS = 2

_LONGEST_NAME = 40


def read_words(text: str | None) -> dict[str, list[str]]:
    """Classes with their phrases, in order.

    Args:
        text: The words as ``--prompts`` has them; None: `DEFAULT`.

    Raises:
        SpecError: There is no class, an empty one or one twice, or commas stand where semicolons are meant.
    """
    text = DEFAULT if text is None else text
    try:
        classes = parse_text(text)
        parse_prompts(classes)
    except ValueError as error:
        raise SpecError(f"--prompts: {error}") from None
    if len(classes) == 1 and ":" not in text and "," in text:
        name, phrases = next(iter(classes.items()))
        raise SpecError(
            f"--prompts: {name!r} may be {len(phrases)} classes or one; "
            f"write '{'; '.join(phrases)}', or '{phrases[0]}: {', '.join(phrases)}' for synonyms"
        )
    return classes


def proposal(text: str | None) -> str:
    """Words to try after these."""
    return next(words for words in FURTHER if text is None or read_words(words) != read_words(text))


def folder_name(words: Mapping[str, list[str]]) -> str:
    """The name of the run of these words: readable, and different for different words or another order."""
    if words == read_words(None) and list(words) == list(read_words(None)):
        return "default"
    plain = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:_LONGEST_NAME].rstrip("-")
    tag = hashlib.sha256(json.dumps(list(words.items())).encode()).hexdigest()[:6]
    return f"{plain}-{tag}" if plain else tag


def spec_text(scene: DemoScene, bbox: list[float], words: Mapping[str, list[str]], name: str) -> str:
    """The run spec as YAML; its paths are relative to its own folder.

    Args:
        scene: The scene to map.
        bbox: West, south, east, north of the area, degrees.
        words: Class names with their phrases.
        name: The output's folder, beside the spec.
    """
    document = {
        "name": f"{scene.key}-demo",
        "area": _flow([round(degrees, 7) for degrees in bbox]),
        "source": {
            "catalog": "scene/collection.json",
            "collections": _flow([scene.collection]),
            "composite": "first",
        },
        "grid": _flow({"crs": "utm", "resolution": scene.resolution, "tile": 512}),
        "kernel": {
            "name": "ovss",
            "model": scene.model,
            "prompts": {label: _flow(phrases) for label, phrases in words.items()},
        },
        "output": _flow({"uri": name}),
        "cluster": _flow({"kind": "local", "workers": WORKERS}),
    }
    file = io.StringIO()
    yaml = YAML()
    yaml.width = 10_000  # words are not folded over lines
    yaml.dump(document, file)
    return f"# {scene.title}; written by eopipe demo.\n{file.getvalue()}"


def _flow(value: Any) -> Any:
    """A mapping or a list that is written on one line."""
    node = CommentedMap(value) if isinstance(value, dict) else CommentedSeq(value)
    node.fa.set_flow_style()
    return node
