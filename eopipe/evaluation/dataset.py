"""Labelled images: which label belongs to which image, the pieces that large images are cut in, and their reader."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.errors import CatalogAddressError, CatalogError, ItemError, SpecError
from eopipe.evaluation.metrics import IGNORE
from eopipe.evaluation.read_images import SUFFIXES, error_text, is_picture, picture_shape, read_image, read_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from eopipe.evaluation.cards import DatasetCard
    from eopipe.evaluation.labels import LabelRule

PixelWindow = tuple[int, int, int, int]
"""Rows and columns ``(y0, y1, x0, x1)``."""

_FOLDERS = (("images", "labels"), ("img_dir", "ann_dir"), ("src", "gt"))
"""Usual names of the two folders: plain, of mmsegmentation, of the drone sets."""


@dataclass(frozen=True)
class Sample:
    """A labelled image, or a pair of two dates, or a piece of one: what is judged as one picture.

    Args:
        key: Name within the set, as a relative path: the image's without suffix, or the item's id.
        images: Path or address of the image, or of the earlier and the later one.
        labels: Path or address of its labels; two where each date has its own.
        window: The piece, which may reach beyond a small image; None: all.
    """

    key: str
    images: tuple[str, ...]
    labels: tuple[str, ...]
    window: PixelWindow | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All files that it is read from."""
        return self.images + self.labels

    def piece(self, window: PixelWindow) -> Sample:
        """The sample of a window, which is part of its key."""
        return replace(self, key="_".join(map(str, (self.key, *window))), window=window)


class SampleReader:
    """Reads samples; the last files stay in memory, since the pieces of one image follow each other."""

    _files: tuple[str, ...] = ()
    _content: tuple[NDArray[np.uint8], NDArray[np.uint8]]

    def read(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Pictures ``[..., H, W, 3]`` and classes ``[H, W]`` of a sample's whole files."""
        raise NotImplementedError

    def __call__(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Pictures ``[..., H, W, 3]``, red first, and classes ``[H, W]``, 255 where not judged.

        Beyond an image's edge pictures are black and the truth is 255.
        """
        if self._files != sample.files:
            self._content, self._files = self.read(sample), sample.files
        pictures, truth = self._content
        if sample.window is None:
            return pictures, truth
        top, bottom, left, right = sample.window
        pictures, truth = pictures[..., top:bottom, left:right, :], truth[top:bottom, left:right]
        beyond = ((0, bottom - top - truth.shape[0]), (0, right - left - truth.shape[1]))
        if beyond != ((0, 0), (0, 0)):
            pictures = np.pad(pictures, ((0, 0),) * (pictures.ndim - 3) + (*beyond, (0, 0)))
            truth = np.pad(truth, beyond, constant_values=IGNORE)
        return pictures, truth


class ImageReader(SampleReader):
    """Reads labelled images ``[H, W, 3]``.

    Args:
        rule: How label files encode classes.
    """

    def __init__(self, rule: LabelRule) -> None:
        self._rule = rule

    def read(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The image and its classes.

        Raises:
            SpecError: A file cannot be used.
        """
        label = read_label(sample.labels[0])
        return read_image(sample.images[0]), self._rule(label.values, sample.labels[0], label.palette)


@dataclass(frozen=True)
class Naming:
    """Patterns that tie a label's file name to its image's.

    Args:
        images: Patterns with one ``*``, which stands for what both names share; with or without suffix; tried in
            order.
        labels: The same of labels.
        skip: Names of files that are neither.
    """

    images: tuple[str, ...] = ("*",)
    labels: tuple[str, ...] = ("*",)
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in (*self.images, *self.labels):
            if pattern.count("*") != 1 or "/" in pattern:
                raise SpecError(f"pattern {pattern!r} needs one * for what image and label share, as in '*_mask.png'")

    def is_image(self, name: str) -> bool:
        """Whether a file is one of the set's images, by its name."""
        return _matches(self.images, name) and not _matches(self.skip, name)

    def is_label(self, name: str) -> bool:
        """Whether a name is a label's and cannot be an image's."""
        return _matches((pattern for pattern in self.labels if pattern != "*"), name)

    def candidates(self, name: str) -> Iterator[tuple[str, str | None]]:
        """Stems (and suffixes, where the pattern has one) that an image's label may have, best first."""
        for pattern in self.images:
            shared = shared_stem(pattern, name)
            for label in self.labels if shared is not None else ():
                suffix = Path(label).suffix if is_picture(Path(label)) else None
                stem = label.removesuffix(suffix) if suffix else label
                yield stem.replace("*", shared or ""), suffix


def shared_stem(pattern: str, name: str) -> str | None:
    """The text that a pattern's star stands for in a file name; a pattern without suffix matches any suffix."""
    text = name if is_picture(Path(pattern)) else Path(name).stem
    before, after = pattern.split("*")
    match = re.fullmatch(f"{re.escape(before)}(.+){re.escape(after)}", text)
    return match[1] if match else None


def find_folders(root: Path) -> tuple[Path, Path]:
    """The folders of images and labels below a set's folder.

    Raises:
        SpecError: They do not exist under a usual name.
    """
    if not root.is_dir():
        raise SpecError(f"{root} is no folder; give the set's folder, or a STAC collection's .json")
    for images, labels in _FOLDERS:
        if (root / images).is_dir() and (root / labels).is_dir():
            return root / images, root / labels
    usual = ", ".join(f"{images}/ with {labels}/" for images, labels in _FOLDERS)
    raise SpecError(f"{root} has none of {usual}; give the two folders with --images and --labels")


def find_pairs(images: Path, labels: Path, naming: Naming) -> list[Sample]:
    """Images of one folder with their labels of another, subfolder by subfolder; both may be the same folder.

    Raises:
        SpecError: A folder is missing or empty, or an image has no label or two.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise SpecError(f"{folder} is no folder; give an existing one")
    index: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(filter(is_picture, labels.rglob("*"))):
        index.setdefault((path.relative_to(labels).parent, path.stem), []).append(path)
    together = labels == images or images in labels.parents
    pairs, missing = [], []
    for path in sorted(filter(is_picture, images.rglob("*"))):
        if (labels in path.parents and labels != images) or not naming.is_image(path.name):
            continue
        if together and naming.is_label(path.name):
            continue
        name = path.relative_to(images)
        label = _label_of(path, name.parent, index, naming)
        if label is None:
            missing.append(path)
        else:
            pairs.append(Sample(name.with_suffix("").as_posix(), (str(path),), (str(label),)))
    if missing:
        stems = " or ".join(dict.fromkeys(stem for stem, _ in naming.candidates(missing[0].name)))
        raise SpecError(
            f"image {missing[0]} has no label {stems} in {labels}{and_more(len(missing) - 1)}; name the labels'"
            " pattern with --label-pattern, or take the image away"
        )
    if not pairs:
        raise SpecError(f"no image in {images} ({', '.join(SUFFIXES)}); give the folder that holds them")
    return _unique(pairs)


def find_items(address: str, *, image: str, label: str) -> list[Sample]:
    """Labelled images of a static STAC catalog, collection, item or item collection.

    Args:
        address: Path or address of its JSON.
        image: The image's asset; where an item has none of that name, the one with role ``data`` or ``visual``.
        label: The labels' asset; or the one with role ``labels``.

    Raises:
        CatalogError: It cannot be read.
        ItemError: An item lacks one of them.
    """
    pairs = [
        Sample(
            item.id,
            (_asset(item, image, {"data", "visual"}, "--image-asset"),),
            (_asset(item, label, {"labels", "label"}, "--label-asset"),),
        )
        for item in read_items(address)
    ]
    if not pairs:
        raise CatalogError(f"{address} has no item; give a collection of labelled images")
    return sorted(_unique(pairs), key=lambda pair: pair.key)


def cut(pairs: Sequence[Sample], card: DatasetCard, *, limit: int | None = None) -> list[Sample]:
    """What is judged, in order: images, or their pieces where the card cuts; sizes are checked on the way.

    Args:
        pairs: Whole images, in order.
        card: Says how large images are cut.
        limit: Highest number of samples.

    Raises:
        SpecError: An image and its labels differ in size.
    """
    samples: list[Sample] = []
    for pair in pairs:
        if limit is not None and len(samples) >= limit:
            break
        (image,), (label,) = pair.images, pair.labels
        shape, truth = picture_shape(image), picture_shape(label, turned=False)
        if shape != truth:
            raise SpecError(
                f"image {image} is {shape[1]} x {shape[0]} and its label {label} {truth[1]} x {truth[0]};"
                " they must be of one size"
            )
        samples.extend(_pieces(pair, shape, card))
    return samples[:limit]


def _pieces(pair: Sample, shape: tuple[int, int], card: DatasetCard) -> Iterator[Sample]:
    """Pieces from the corner at the stride, the last ones shifted back; an image that is one piece keeps its key."""
    if card.patch is None:
        yield pair
        return
    stride = card.patch_stride or card.patch
    whole = [max(side, least) if card.patch_pad else side for side, least in zip(shape, card.patch, strict=True)]
    if all(side <= piece for side, piece in zip(whole, card.patch, strict=True)):
        yield replace(pair, window=(0, whole[0], 0, whole[1]))
        return
    for top in _starts(whole[0], card.patch[0], stride[0]):
        for left in _starts(whole[1], card.patch[1], stride[1]):
            yield pair.piece((top, min(top + card.patch[0], whole[0]), left, min(left + card.patch[1], whole[1])))


def _starts(side: int, piece: int, stride: int) -> list[int]:
    return list(dict.fromkeys(max(min(start, side - piece), 0) for start in range(0, side, stride)))


def _matches(patterns: Iterable[str], name: str) -> bool:
    return any(shared_stem(pattern, name) is not None for pattern in patterns)


def _label_of(image: Path, folder: Path, index: dict[tuple[Path, str], list[Path]], naming: Naming) -> Path | None:
    for stem, suffix in naming.candidates(image.name):
        paths = [
            path
            for path in index.get((folder, stem), [])
            if path != image and (suffix is None or path.suffix == suffix)
        ]
        if len(paths) > 1:
            raise SpecError(
                f"image {image} has two labels, {paths[0].name} and {paths[1].name}; choose with --label-pattern"
                f" '*{paths[0].suffix}'"
            )
        if paths:
            return paths[0]
    return None


def _unique(pairs: list[Sample]) -> list[Sample]:
    visited: dict[str, Sample] = {}
    for pair in pairs:
        if (first := visited.setdefault(pair.key, pair)) is not pair:
            raise SpecError(f"{pair.images[0]} and {first.images[0]} have one name; keep one, or use --image-pattern")
    return pairs


def and_more(count: int) -> str:
    """How many further files have no partner, for messages."""
    return f" (and {count:,} more have none)" if count else ""


def read_items(address: str) -> list[Any]:
    """The items of a static STAC catalog, collection, item or item collection, as pystac objects.

    Raises:
        CatalogError: It cannot be read.
    """
    import pystac  # noqa: PLC0415  (not needed for folders)

    try:
        document = pystac.StacIO.default().read_json(address)
        if document.get("type") == "FeatureCollection":
            return list(pystac.ItemCollection.from_file(address))
        root = pystac.read_file(address)
        return [root] if isinstance(root, pystac.Item) else list(root.get_items(recursive=True))  # type: ignore[attr-defined]
    except FileNotFoundError as error:
        missing = str(error.filename or address)
        kind = CatalogAddressError if missing in address else CatalogError
        raise kind(f"catalog document {missing} does not exist; correct the address or the link to it") from None
    except Exception as error:  # noqa: BLE001  (pystac's readers each raise their own kinds)
        raise CatalogError(f"catalog {address} cannot be read ({error_text(error)}); give a static catalog") from None


def asset_path(asset: Any) -> str:
    """The path of a pystac asset's file where it is local, else its address."""
    return str(asset.get_absolute_href() or asset.href).removeprefix("file://")


def _asset(item: Any, name: str, roles: set[str], option: str) -> str:
    if name in item.assets:
        return asset_path(item.assets[name])
    candidates = [asset for asset in item.assets.values() if roles & set(asset.roles or ())]
    if len(candidates) != 1:
        raise ItemError(
            f"item {item.id} has no asset {name!r} (it has {', '.join(item.assets) or 'none'}); name it with {option}"
        )
    return asset_path(candidates[0])
