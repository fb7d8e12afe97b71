"""The demo's run spec: a file like those that people write, beside the collection that it reads."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.demo.scenes import Scene

WORKERS = 2


def spec_text(scene: Scene, bbox: list[float], words: Mapping[str, list[str]], name: str) -> str:
    """The spec as YAML; its paths are relative to its own folder.

    Args:
        scene: What is mapped.
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
            "prompts": {said: _flow(phrases) for said, phrases in words.items()},
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
    """A value on one line."""
    found = CommentedMap(value) if isinstance(value, dict) else CommentedSeq(value)
    found.fa.set_flow_style()
    return found
