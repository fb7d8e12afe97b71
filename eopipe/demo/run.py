"""The demo from package to picture: collection, spec, run, and the map beside its scene."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eopipe.area.on_grid import Area, GridArea
from eopipe.demo.collection import COLLECTION, build
from eopipe.demo.picture import true_colour
from eopipe.demo.spec import spec_text
from eopipe.demo.words import folder_name
from eopipe.engine.finish.status import last_summary
from eopipe.engine.run import execute
from eopipe.errors import OutputError
from eopipe.mosaic.quicklook import QuicklookInfo, quicklook
from eopipe.mosaic.store import read_layout
from eopipe.spec import load_spec
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from eopipe.demo.scenes import Scene
    from eopipe.engine.display import Display
    from eopipe.spec import RunSpec

SCENE = "scene"
"""Folder of a scene's collection, beside specs and runs."""


@dataclass(frozen=True)
class Prepared:
    """A scene laid out, and the spec that maps it.

    Args:
        scene: Which.
        folder: With everything of this scene.
        name: Of the run: ``NAME.yaml`` makes ``NAME/`` and ``NAME.png``.
    """

    scene: Scene
    folder: Path
    name: str

    @property
    def spec(self) -> Path:
        """The run spec."""
        return self.folder / f"{self.name}.yaml"

    @property
    def picture(self) -> Path:
        """The scene and its map, side by side."""
        return self.folder / f"{self.name}.png"


def prepare(scene: Scene, words: Mapping[str, list[str]], out: Path) -> Prepared:
    """Write a scene's collection and the spec for these words; what is there already stays.

    Args:
        scene: Which.
        words: Class names with their phrases.
        out: The demo's folder.

    Raises:
        SpecError: The package that carries the scene is missing.
        OutputError: The folder cannot be written.
    """
    made = Prepared(scene, _writable(out) / scene.key, folder_name(words))
    storage = Storage.open(str(made.folder))
    build(scene, storage.child(SCENE))
    bbox = json.loads(storage.get(f"{SCENE}/{COLLECTION}"))["extent"]["spatial"]["bbox"][0]
    storage.put(made.spec.name, spec_text(scene, bbox, words, made.name).encode())
    return made


def run_demo(made: Prepared, display: Display) -> dict[str, Any]:
    """Map a scene, or resume; a run that was drained has no picture yet.

    Args:
        made: The scene and its spec.
        display: Told of everything.

    Returns:
        The run's summary with ``scene``, ``spec`` and ``picture``.

    Raises:
        EopipeError: Everything a user can mend.
    """
    spec = load_spec(made.spec)
    summary = last_summary(spec)
    if summary is None:
        summary = execute(spec, display=display)
    else:
        display.note("all tiles are done already")
        display.done(summary)
    drawn = summary.get("quicklook") is not None
    if drawn:
        Storage.open(str(made.folder)).put(made.picture.name, _draw(made, spec))
    return {
        "scene": made.scene.key,
        "place": made.scene.place,
        "spec": str(made.spec),
        "picture": str(made.picture) if drawn else None,
        **summary,
    }


def _draw(made: Prepared, spec: RunSpec) -> bytes:
    scene, storage = made.scene, Storage.open(str(made.folder / made.name))
    layout = read_layout(storage)
    assert not isinstance(spec.area, str), "the demo writes a box"
    info = QuicklookInfo(
        title=scene.title,
        subtitle=f"the model {scene.model} was asked in words · {scene.place}",
        attribution=f"made with eopipe · {scene.credit}",
        extent=GridArea.project(Area.parse(spec.area), layout.grid).box,
    )
    return quicklook(storage, layout, info, beside=lambda view: true_colour(scene, made.folder / SCENE, layout, view))


def _writable(out: Path) -> Path:
    """The demo's folder, absolute.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{out} cannot be the demo's folder ({error.strerror}); give another one with --out",
            reason="write.denied",
        ) from None
    return out.resolve()
