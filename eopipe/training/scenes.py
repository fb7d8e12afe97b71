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
from eopipe.errors import OutputError, SpecError
from eopipe.models.mini.net import NINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class SceneData:
    """One scene on its UTM lattice.

    Args:
        name: The item's id.
        dn: ``[9, y, x]`` uint16, reflectance * 10000, 0 where invalid; bands as `NINE`.
        valid: ``[y, x]``.
    """

    name: str
    dn: NDArray[np.uint16]
    valid: NDArray[np.bool_]


def load_scenes(
    source: Path, cache: Path, told: Callable[[str], None], *, only: Sequence[str] = ()
) -> list[SceneData]:
    """Every item of a static collection, at 10 m.

    Args:
        source: ``collection.json``.
        cache: Folder for what was read; a scene that is there is not read again.
        told: Is told of each scene that is read.
        only: Words; where there are any, items whose id holds none are not read.

    Returns:
        Scenes in the order of their names.

    Raises:
        SpecError: The source is no collection, holds no item or one that cannot be used; or what was read before
            is damaged.
        OutputError: The cache folder cannot be written.
    """
    items = [_item(path) for path in _items(source)]
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
    scenes = []
    for item in sorted(items, key=lambda item: str(item["id"])):
        if only and not any(word in item["id"] for word in only):
            continue
        kept = cache / f"{item['id']}.npz"
        if not kept.exists():
            told(f"reading {item['id']}")
            _read(source, item, kept)
        scenes.append(SceneData(item["id"], *_arrays(kept)))
    return scenes


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What is done within writes there.

    Raises:
        OutputError: It cannot.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); make room, or give another --out",
            reason="write.denied",
        ) from None


def split(scenes: Sequence[SceneData], leave_out: Sequence[str]) -> tuple[list[SceneData], list[SceneData]]:
    """Scenes to learn from, and those whose name holds one of some words.

    Raises:
        SpecError: A word that no scene's name holds, or nothing to learn from.
    """
    for word in leave_out:
        if not any(word in scene.name for scene in scenes):
            raise SpecError(
                f"--leave-out {word!r} is in no scene's name; they are {', '.join(scene.name for scene in scenes)}"
            )
    out = [scene for scene in scenes if any(word in scene.name for word in leave_out)]
    kept = [scene for scene in scenes if not any(word in scene.name for word in leave_out)]
    if not kept:
        raise SpecError("--leave-out leaves no scene to learn from; name fewer")
    return kept, out


def _items(source: Path) -> list[Path]:
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


def _arrays(kept: Path) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    try:
        with kept.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return arrays["dn"], arrays["valid"]
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        said = " ".join(str(error).split())[:200]
        raise SpecError(
            f"{kept} is no scene as it was read before ({said}); delete it, and it is read again"
        ) from None


def _read(source: Path, item: dict[str, Any], kept: Path) -> None:
    day = item["properties"]["datetime"][:10]
    snapshot, _ = api.search(
        catalog=str(source), area=item["bbox"], collections=[item["collection"]], datetime=f"{day}/{day}"
    )
    cube = api.open_cube(snapshot, area=item["bbox"], bands=list(NINE), crs="utm", resolution=10, composite="first")
    dataset = cube.dataset.isel(time=0).compute()
    values = np.stack([dataset[band].values for band in NINE]) * 10000
    valid = np.isfinite(values).all(axis=0)
    part = kept.with_suffix(".part.npz")  # a scene appears whole or not at all
    with writing(kept):
        np.savez(part, dn=np.where(valid, values, 0).round().clip(0, 65535).astype(np.uint16), valid=valid)
        part.replace(kept)
