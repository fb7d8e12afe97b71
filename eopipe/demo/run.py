"""The demo from package to picture: collection, spec, run, and the scene in true colour beside its map."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from eopipe.area.on_grid import Area, GridArea
from eopipe.demo.collection import COLLECTION, build
from eopipe.demo.spec import folder_name, spec_text
from eopipe.engine.finish.status import last_summary
from eopipe.engine.run import execute
from eopipe.errors import OutputError
from eopipe.mosaic.quicklook import PAPER, QuicklookInfo, quicklook
from eopipe.mosaic.store import read_layout
from eopipe.spec import load_spec
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from affine import Affine
    from numpy.typing import NDArray

    from eopipe.demo.scenes import DemoScene
    from eopipe.engine.display import Display
    from eopipe.mosaic.layout import Layout
    from eopipe.mosaic.quicklook_frame import View
    from eopipe.spec import RunSpec

SCENE = "scene"
"""Folder of a scene's collection, beside specs and runs."""

WHITE = 99.0
"""Percentile of the brightest band that becomes white; the same white for all bands, so that colours stay true."""


@dataclass(frozen=True)
class Prepared:
    """A scene's collection and the spec that maps it.

    Args:
        scene: The scene.
        folder: Folder of everything of this scene.
        name: Name of the run: ``NAME.yaml`` writes ``NAME/`` and ``NAME.png``.
    """

    scene: DemoScene
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


def prepare(scene: DemoScene, words: Mapping[str, list[str]], out: Path) -> Prepared:
    """Write a scene's collection and the spec for these words, unless they exist.

    Args:
        scene: The scene.
        words: Class names with their phrases.
        out: The demo's folder.

    Raises:
        SpecError: The package that carries the scene is missing.
        OutputError: The folder cannot be written.
    """
    prepared = Prepared(scene, _writable(out) / scene.key, folder_name(words))
    storage = Storage.open(str(prepared.folder))
    build(scene, storage.child(SCENE))
    bbox = json.loads(storage.get(f"{SCENE}/{COLLECTION}"))["extent"]["spatial"]["bbox"][0]
    storage.put(prepared.spec.name, spec_text(scene, bbox, words, prepared.name).encode())
    return prepared


def run_demo(prepared: Prepared, display: Display) -> dict[str, Any]:
    """Map a scene, or resume; a run that was stopped has no picture yet.

    Args:
        prepared: The scene and its spec.
        display: Shows the progress of the run.

    Returns:
        The run's summary with ``scene``, ``spec`` and ``picture``.

    Raises:
        EopipeError: The run cannot be planned, or its output cannot be written.
    """
    spec = load_spec(prepared.spec)
    summary = last_summary(spec)
    if summary is None:
        summary = execute(spec, display=display)
    else:
        display.note("all tiles are done already")
        display.done(summary)
    drawn = summary.get("quicklook") is not None
    if drawn:
        Storage.open(str(prepared.folder)).put(prepared.picture.name, _draw(prepared, spec))
    return {
        "scene": prepared.scene.key,
        "place": prepared.scene.place,
        "spec": str(prepared.spec),
        "picture": str(prepared.picture) if drawn else None,
        **summary,
    }


def _draw(prepared: Prepared, spec: RunSpec) -> bytes:
    scene, storage = prepared.scene, Storage.open(str(prepared.folder / prepared.name))
    layout = read_layout(storage)
    assert not isinstance(spec.area, str), "the demo writes a box"
    info = QuicklookInfo(
        title=scene.title,
        subtitle=f"the model {scene.model} was asked in words · {scene.place}",
        attribution=f"made with eopipe · {scene.credit}",
        extent=GridArea.project(Area.parse(spec.area), layout.grid).box,
    )
    folder = prepared.folder / SCENE
    return quicklook(storage, layout, info, beside=lambda view: true_colour(scene, folder, layout, view))


def true_colour(scene: DemoScene, folder: Path, layout: Layout, view: View) -> NDArray[np.uint8]:
    """The scene's pixels under a view of the map.

    Args:
        scene: The scene.
        folder: Folder of its collection.
        layout: Layout of the mosaic.
        view: The window of the mosaic that is shown.

    Returns:
        ``[y, x, 3]``; the colour of the paper where the scene has no data.
    """
    transform = layout.transform(view.level)
    transform *= transform.translation(view.col, view.row)
    names = {band.common: f"{band.name}.tif" for band in scene.bands}
    bands = [
        _read(folder / names[colour], layout.grid.crs, transform, view.values.shape)
        for colour in ("red", "green", "blue")
    ]
    values = np.stack([np.ma.getdata(band) for band in bands], axis=-1).astype(np.float32)
    valid = ~np.any([np.ma.getmaskarray(band) for band in bands], axis=0)
    white = float(np.percentile(values[valid], WHITE, axis=0).max()) if valid.any() else 1.0
    colours = np.clip(values / max(white, 1.0) * 255, 0, 255).astype(np.uint8)
    return np.where(valid[..., np.newaxis], colours, np.array(PAPER, np.uint8))


def _read(path: Path, crs: str, transform: Affine, shape: tuple[int, ...]) -> Any:
    with (
        rasterio.open(path) as source,
        WarpedVRT(
            source, crs=crs, transform=transform, height=shape[0], width=shape[1], resampling=Resampling.bilinear
        ) as warped,
    ):
        return warped.read(1, masked=True)


def _writable(out: Path) -> Path:
    """The demo's folder, absolute.

    Raises:
        OutputError: It cannot be created.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{out} cannot be the demo's folder ({error.strerror}); give another one with --out",
            reason="write.denied",
        ) from None
    return out.resolve()
