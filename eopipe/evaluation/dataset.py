"""Labelled images: which image belongs to which label, and how large ones are cut."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.errors import CatalogAddressError, CatalogError, ItemError, SpecError
from eopipe.evaluation.metrics import IGNORE
from eopipe.evaluation.read_images import SUFFIXES, is_picture, picture_shape, read_image, read_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from eopipe.evaluation.cards import Card
    from eopipe.evaluation.labels import LabelRule

_FOLDERS = (("images", "labels"), ("img_dir", "ann_dir"), ("src", "gt"))
"""How people name the two folders: plainly, as mmsegmentation, as the drone sets."""


@dataclass(frozen=True)
class Pair:
    """An image and its labels.

    Args:
        key: Names it within the set: the image's path without suffix, or the item's id.
        image: Path or address.
        label: Path or address.
    """

    key: str
    image: str
    label: str


@dataclass(frozen=True)
class Sample:
    """What is judged as one picture: a pair, or a piece of one.

    Args:
        key: Names it within the set, as a relative path.
        pair: Where it comes from.
        window: Rows and columns ``(y0, y1, x0, x1)`` of the piece, which may reach beyond a small image; None: all.
    """

    key: str
    pair: Pair
    window: tuple[int, int, int, int] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that it is read from."""
        return self.pair.image, self.pair.label


@dataclass(frozen=True)
class Naming:
    """How images and labels are named alike.

    Args:
        images: Patterns with one ``*``, the part that both share; with or without suffix; tried in order.
        labels: Likewise.
        skip: What is neither.
    """

    images: tuple[str, ...] = ("*",)
    labels: tuple[str, ...] = ("*",)
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in (*self.images, *self.labels):
            if pattern.count("*") != 1 or "/" in pattern:
                raise SpecError(
                    f"pattern {pattern!r} needs one * for what image and label share, such as '*_mask.png'"
                )

    def skips(self, name: str) -> bool:
        """Whether a file is none of the set's images, by its name."""
        return any(shared_part(pattern, name) is not None for pattern in self.skip)

    def is_label(self, name: str) -> bool:
        """Whether a name is a label's and cannot be an image's."""
        return any(shared_part(pattern, name) is not None for pattern in self.labels if pattern != "*")

    def candidates(self, name: str) -> Iterator[tuple[str, str | None]]:
        """Stems (and suffixes, where the pattern has one) that an image's label may have, best first."""
        for pattern in self.images:
            shared = shared_part(pattern, name)
            for label in self.labels if shared is not None else ():
                suffix = Path(label).suffix if is_picture(Path(label)) else None
                stem = label.removesuffix(suffix) if suffix else label
                yield stem.replace("*", shared or ""), suffix

    def is_image(self, name: str) -> bool:
        """Whether a name is an image's."""
        return any(shared_part(pattern, name) is not None for pattern in self.images)


def find_folders(root: Path) -> tuple[Path, Path]:
    """The folders of images and labels below a set's folder.

    Raises:
        SpecError: They are not there, or not told apart.
    """
    if not root.is_dir():
        raise SpecError(f"{root} is no folder; give the set's folder, or a STAC collection's .json")
    for images, labels in _FOLDERS:
        if (root / images).is_dir() and (root / labels).is_dir():
            return root / images, root / labels
    known = ", ".join(f"{images}/ with {labels}/" for images, labels in _FOLDERS)
    raise SpecError(f"{root} has none of {known}; give the two folders with --images and --labels")


def find_pairs(images: Path, labels: Path, naming: Naming) -> list[Pair]:
    """Pairs of two folders, subfolder by subfolder; both may be the same folder.

    Raises:
        SpecError: A folder is missing or empty, or an image has no label or two.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise SpecError(f"{folder} is no folder; give an existing one")
    index = _label_index(labels)
    together = labels == images or images in labels.parents
    found, missing = [], []
    for path in sorted(filter(is_picture, images.rglob("*"))):
        inside = labels in path.parents and labels != images
        if inside or naming.skips(path.name) or not naming.is_image(path.name):
            continue
        if together and naming.is_label(path.name):
            continue
        place = path.relative_to(images)
        label = _label_of(path, place.parent, index, naming)
        if label is None:
            missing.append(path)
        else:
            found.append(Pair(place.with_suffix("").as_posix(), str(path), str(label)))
    if missing:
        wanted = " or ".join(dict.fromkeys(stem for stem, _ in naming.candidates(missing[0].name)))
        raise SpecError(
            f"image {missing[0]} has no label {wanted} in {labels}{_and_more(len(missing) - 1)}; name the labels'"
            " pattern with --label-pattern, or take the image away"
        )
    if not found:
        raise SpecError(f"no image in {images} ({', '.join(SUFFIXES)}); give the folder that holds them")
    _refuse_twice(found)
    return found


def find_items(address: str, *, image: str, label: str) -> list[Pair]:
    """Pairs of a static STAC catalog, collection, item or item collection.

    Args:
        address: Of its JSON: a path or an address.
        image: The image's asset; where an item has none of that name, the one with role ``data`` or ``visual``.
        label: The labels' asset; likewise ``labels``.

    Raises:
        CatalogError: It cannot be read.
        ItemError: An item lacks one of them.
    """
    pairs = [
        Pair(
            item.id,
            _asset(item, image, {"data", "visual"}, "--image-asset"),
            _asset(item, label, {"labels", "label"}, "--label-asset"),
        )
        for item in read_items(address)
    ]
    if not pairs:
        raise CatalogError(f"{address} has no item; give a collection of labelled images")
    _refuse_twice(pairs)
    return sorted(pairs, key=lambda pair: pair.key)


def cut(pairs: Sequence[Pair], card: Card, *, limit: int | None = None) -> list[Sample]:
    """What is judged, in order: pairs, or their pieces where the card cuts; sizes are checked on the way.

    Args:
        pairs: In order.
        card: Says how large images are cut.
        limit: At most this many.

    Raises:
        SpecError: An image and its labels differ in size.
    """
    samples: list[Sample] = []
    for pair in pairs:
        if limit is not None and len(samples) >= limit:
            break
        shape, truth = picture_shape(pair.image), picture_shape(pair.label, turned=False)
        if shape != truth:
            raise SpecError(
                f"image {pair.image} is {shape[1]} x {shape[0]} and its label {pair.label} {truth[1]} x {truth[0]};"
                " they must be of one size"
            )
        samples.extend(_pieces(pair, shape, card))
    return samples[:limit]


class Reader:
    """Reads samples; the last file stays in memory, for the pieces of one image follow each other."""

    def __init__(self, rule: LabelRule) -> None:
        self._rule = rule
        self._pair: Pair | None = None
        self._content: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def __call__(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """A sample's picture ``[H, W, 3]``, red first, and its classes ``[H, W]``, 255 where not judged.

        Raises:
            SpecError: A file cannot be used.
        """
        if self._pair != sample.pair or self._content is None:
            stored = read_label(sample.pair.label)
            truth = self._rule(stored.values, sample.pair.label, stored.palette)
            self._pair, self._content = sample.pair, (read_image(sample.pair.image), truth)
        image, truth = self._content
        if sample.window is None:
            return image, truth
        top, bottom, left, right = sample.window
        below, beyond = max(bottom - image.shape[0], 0), max(right - image.shape[1], 0)
        return (
            np.pad(image[top:bottom, left:right], ((0, below), (0, beyond), (0, 0))),
            np.pad(truth[top:bottom, left:right], ((0, below), (0, beyond)), constant_values=IGNORE),
        )


def _pieces(pair: Pair, shape: tuple[int, int], card: Card) -> Iterator[Sample]:
    """Pieces from the corner at the stride, the last ones shifted back; an image that is one piece keeps its key."""
    if card.patch is None:
        yield Sample(pair.key, pair)
        return
    stride = card.patch_stride or card.patch
    whole = [max(side, least) if card.patch_pad else side for side, least in zip(shape, card.patch, strict=True)]
    if all(side <= piece for side, piece in zip(whole, card.patch, strict=True)):
        yield Sample(pair.key, pair, (0, whole[0], 0, whole[1]))
        return
    for top in _starts(whole[0], card.patch[0], stride[0]):
        for left in _starts(whole[1], card.patch[1], stride[1]):
            window = top, min(top + card.patch[0], whole[0]), left, min(left + card.patch[1], whole[1])
            yield Sample("_".join(map(str, (pair.key, *window))), pair, window)


def _starts(side: int, piece: int, stride: int) -> list[int]:
    return list(dict.fromkeys(max(min(start, side - piece), 0) for start in range(0, side, stride)))


def shared_part(pattern: str, name: str) -> str | None:
    """What the star of a pattern stands for in a file's name; a pattern without suffix means any."""
    text = name if is_picture(Path(pattern)) else Path(name).stem
    before, after = pattern.split("*")
    matched = re.fullmatch(f"{re.escape(before)}(.+){re.escape(after)}", text)
    return matched[1] if matched else None


def _label_index(labels: Path) -> dict[tuple[Path, str], list[Path]]:
    index: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(filter(is_picture, labels.rglob("*"))):
        index.setdefault((path.relative_to(labels).parent, path.stem), []).append(path)
    return index


def _label_of(image: Path, folder: Path, index: dict[tuple[Path, str], list[Path]], naming: Naming) -> Path | None:
    for stem, suffix in naming.candidates(image.name):
        paths = [path for path in index.get((folder, stem), []) if path != image]
        paths = [path for path in paths if suffix is None or path.suffix == suffix]
        if len(paths) > 1:
            raise SpecError(
                f"image {image} has two labels, {paths[0].name} and {paths[1].name}; say which with --label-pattern"
                f" '*{paths[0].suffix}'"
            )
        if paths:
            return paths[0]
    return None


def _refuse_twice(pairs: Sequence[Pair]) -> None:
    seen: dict[str, Pair] = {}
    for pair in pairs:
        if pair.key in seen:
            raise SpecError(
                f"{pair.image} and {seen[pair.key].image} have one name; keep one, or use --image-pattern"
            )
        seen[pair.key] = pair


def _and_more(count: int) -> str:
    return f" (and {count:,} more have none)" if count else ""


def read_items(address: str) -> list[Any]:
    """The items of a static STAC catalog, collection, item or item collection, as pystac has them.

    Raises:
        CatalogError: It cannot be read.
    """
    import pystac  # noqa: PLC0415  (not needed for folders)

    try:
        document = pystac.StacIO.default().read_json(address)
        if document.get("type") == "FeatureCollection":
            return list(pystac.ItemCollection.from_file(address))
        found = pystac.read_file(address)
        return [found] if isinstance(found, pystac.Item) else list(found.get_items(recursive=True))  # type: ignore[attr-defined]
    except FileNotFoundError as error:
        missing = str(error.filename or address)
        kind = CatalogAddressError if missing in address else CatalogError
        raise kind(f"catalog document {missing} does not exist; mend the address") from None
    except Exception as error:  # noqa: BLE001  (pystac's readers each raise their own kinds)
        said = " ".join(str(error).split())[:200]
        raise CatalogError(f"catalog {address} cannot be read ({said}); give a static STAC collection") from None


def _asset(item: Any, name: str, roles: set[str], option: str) -> str:
    if name in item.assets:
        return local_path(item.assets[name].get_absolute_href() or item.assets[name].href)
    alike = [asset for asset in item.assets.values() if roles & set(asset.roles or ())]
    if len(alike) != 1:
        raise ItemError(
            f"item {item.id} has no asset {name!r} (it has {', '.join(item.assets) or 'none'}); name it with {option}"
        )
    return local_path(alike[0].get_absolute_href() or alike[0].href)


def local_path(address: str) -> str:
    """A file's address as a path where it is one."""
    return address.removeprefix("file://")
