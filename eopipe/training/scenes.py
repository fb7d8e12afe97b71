"""Training scenes: nine-band reflectance of the items of a STAC collection, read as a run reads them."""

from __future__ import annotations

import json
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe import api
from eopipe.errors import SpecError
from eopipe.evaluation.read_images import error_text
from eopipe.evaluation.results_folder import writing
from eopipe.models.mini.net import NINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class SceneData:
    """A scene on its UTM lattice.

    Args:
        name: The item's id.
        dn: ``[9, y, x]`` uint16, reflectance * 10000, 0 where invalid; bands as `NINE`.
        valid: ``[y, x]``.
    """

    name: str
    dn: NDArray[np.uint16]
    valid: NDArray[np.bool_]


def load_scenes(
    source: Path, cache: Path, log: Callable[[str], None], *, only: Sequence[str] = ()
) -> list[SceneData]:
    """Every item of a static collection, at 10 m.

    Args:
        source: ``collection.json``.
        cache: Folder of scenes that were read before, which are not read again.
        log: Receives a line for each scene that is read.
        only: Words; where there are any, items whose id contains none of them are left out.

    Returns:
        Scenes in the order of their names.

    Raises:
        SpecError: The source is no collection, holds no item or one that cannot be used; or a cached scene is
            damaged.
        OutputError: The cache folder cannot be written.
    """
    items = [_item(path) for path in _item_paths(source)]
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
    scenes = []
    for item in sorted(items, key=lambda item: str(item["id"])):
        if only and not any(word in item["id"] for word in only):
            continue
        path = cache / f"{item['id']}.npz"
        if not path.exists():
            log(f"reading {item['id']}")
            _read_scene(source, item, path)
        scenes.append(SceneData(item["id"], *_cached_arrays(path)))
    return scenes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write beside a path, which replaces it at the end: the path is written whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    with writing(path):
        yield partial
        partial.replace(path)


def split(scenes: Sequence[SceneData], leave_out: Sequence[str]) -> tuple[list[SceneData], list[SceneData]]:
    """Scenes to learn from, and those whose name contains one of some words.

    Raises:
        SpecError: A word is in no scene's name, or no scene to learn from is left.
    """
    known = ", ".join(scene.name for scene in scenes)
    for word in leave_out:
        if not any(word in scene.name for scene in scenes):
            raise SpecError(f"--leave-out {word!r} is in no scene's name; they are {known}")
    names = {scene.name for scene in scenes if any(word in scene.name for word in leave_out)}
    learnt = [scene for scene in scenes if scene.name not in names]
    if not learnt:
        raise SpecError("--leave-out leaves no scene to learn from; name fewer")
    return learnt, [scene for scene in scenes if scene.name in names]


def _item_paths(source: Path) -> list[Path]:
    links = _document(source).get("links")
    linked = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    paths = [source.parent / str(link["href"]) for link in linked if link.get("rel") == "item" and "href" in link]
    if not paths:
        raise SpecError(f"{source} links to no item; give the collection.json of a static STAC collection")
    return paths


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SpecError(f"{path} cannot be read as a STAC document ({error})") from None
    if not isinstance(document, dict):
        raise SpecError(f"{path} is no STAC document; give the collection.json of a static STAC collection")
    return document


def _item(path: Path) -> dict[str, Any]:
    item = _document(path)
    properties = item.get("properties")
    day = properties.get("datetime") if isinstance(properties, dict) else None
    named = all(isinstance(item.get(key), str) for key in ("id", "collection")) and isinstance(item.get("bbox"), list)
    if not named or not isinstance(day, str):
        raise SpecError(
            f"{path} is no item to learn from: it must have an id, a collection, a bbox and one datetime; leave it "
            f"out of the collection"
        )
    if Path(item["id"]).name != item["id"]:  # a file is named by it
        raise SpecError(f"{path}: the id {item['id']!r} cannot name a file; leave it out of the collection")
    return item


def _cached_arrays(path: Path) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return arrays["dn"], arrays["valid"]
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise SpecError(f"{path} is damaged ({error_text(error)}); delete it, and it is read again") from None


def _read_scene(source: Path, item: dict[str, Any], path: Path) -> None:
    day, area = item["properties"]["datetime"][:10], item["bbox"]
    snapshot, _ = api.search(
        catalog=str(source), area=area, collections=[item["collection"]], datetime=f"{day}/{day}"
    )
    cube = api.open_cube(snapshot, area=area, bands=list(NINE), crs="utm", resolution=10, composite="first")
    dataset = cube.dataset.isel(time=0).compute()
    values = np.stack([dataset[band].values for band in NINE]) * 10000
    valid = np.isfinite(values).all(axis=0)
    dn = np.where(valid, values, 0).round().clip(0, 65535).astype(np.uint16)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, dn=dn, valid=valid)
