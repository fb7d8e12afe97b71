"""Objects that cost nothing: what is bright, cut by windows that divide no tile; and dense masks as runs and back."""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from skimage.measure import label, regionprops

from eopipe.grid import PixelBox
from eopipe.kernelinfo import ArraySpec, ClassInfo, Inputs, KernelInfo, ObjectColumn, ObjectSpec, Window
from eopipe.kernels.objects import FoundObjects
from eopipe.kernels.protocol import ALONE, Result
from eopipe.kernels.registry import register_kernel

STRIDE = 96
CLASSES = (ClassInfo(1, "darker", "#202020"), ClassInfo(2, "brighter", "#d0d0d0"))
COLUMNS = (
    ObjectColumn("score", "float32", long_name="greatest change of reflectance"),
    ObjectColumn("now", "uint8", CLASSES, joined="largest"),
)


def runs(mask, row0=0, col0=0):
    """A dense mask's runs at its absolute place."""
    steps = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (rows, starts), stops = np.nonzero(steps == 1), np.nonzero(steps == -1)[1]
    return np.column_stack([rows + row0, starts + col0, stops + col0]).astype(np.int64)


def objects_of(parts, seams, **columns):
    """Objects of some runs each."""
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    whole = np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)
    return FoundObjects(whole, offsets, np.array(seams, bool), {name: np.array(v) for name, v in columns.items()})


def pixels(shape, grid):
    """A polygon's pixels, by the centres that it holds: another way than the one that drew it."""
    import shapely

    left, bottom, right, top = shape.bounds
    box = grid.box_of(left, bottom, right, top)
    rows, cols = np.mgrid[box.row0 : box.row1, box.col0 : box.col1]
    inside = shapely.contains_xy(shape, (cols + 0.5) * grid.resolution, -(rows + 0.5) * grid.resolution)
    return frozenset(zip(rows[inside].tolist(), cols[inside].tolist(), strict=True))


def discs(generator, count, shape):
    """Dense masks of discs, many twice and a little off."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    masks = []
    while len(masks) < count:
        y, x, r = *generator.uniform(8, np.array(shape) - 8), generator.uniform(3, 8)
        for down, right in generator.integers(-2, 3, (generator.integers(1, 4), 2)):
            masks.append((rows - y - down) ** 2 + (cols - x - right) ** 2 <= r * r)
    return masks[:count]


def regions(mask, values, box):
    """Objects of one window ``box`` of a map: pixels that touch by sides or corners, and their values' greatest."""
    regions = regionprops(label(mask, connectivity=2), values)
    parts = [runs(one.image, box.row0 + one.bbox[0], box.col0 + one.bbox[1]) for one in regions]
    height, width = mask.shape
    seams = [one.bbox[0] == 0 or one.bbox[1] == 0 or one.bbox[2] == height or one.bbox[3] == width for one in regions]
    scores = np.array([one.intensity_max for one in regions], np.float32)
    return objects_of(parts, seams, score=scores, now=(1 + (scores > 2000)).astype(np.uint8))


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    least: float = 400.0
    seams: Literal["touching", "doubles"] = "touching"
    gsd: Literal["grid"] | float = "grid"


class Blobs:
    """What became brighter between two dates, window by window of its own lattice."""

    def __init__(self, options, *, factor=1):
        self.options = options
        self.info = KernelInfo(
            name="blobs",
            version="1",
            inputs=Inputs("optical", ("red", "green"), gsd=10.0, epochs=2),
            window=Window(size=STRIDE, stride=STRIDE, halo=STRIDE - 1),
            arrays=(ArraySpec("label", "uint8", 255, 0, CLASSES, losers=(0, 255)),),
            options=options.model_dump(),
            factor=factor,
            objects=ObjectSpec(COLUMNS, options.seams),
        )

    def check(self, levels, resolution):
        return []

    def load(self, *, device, threads):
        """There is nothing to load."""

    def memory(self, shape):
        return 32 * 2**20

    def __call__(self, pixels, valid, box, context=ALONE):
        outer = box.pad(self.info.window.halo)
        change = np.where(valid.all(axis=0), (pixels[1] - pixels[0]).mean(axis=0), 0)
        inner = change[box.slices(outer)]
        parts = []
        first = box.row0 // STRIDE if context.carry is None else -(-box.row0 // STRIDE)  # those above were told of
        for row in range(first, -(-box.row1 // STRIDE)):
            for col in range(box.col0 // STRIDE, -(-box.col1 // STRIDE)):
                window = PixelBox(row * STRIDE, col * STRIDE, (row + 1) * STRIDE, (col + 1) * STRIDE)
                values = change[window.slices(outer)]
                parts.append(regions(values > self.options.least, values, window))
        bright = (1 + (inner > self.options.least)).astype(np.uint8)
        return Result({"label": bright}, objects=FoundObjects.concatenate(parts), carry=True)


def make_blobs(options, *, resolution):
    return Blobs(options, factor=1 if options.gsd == "grid" else round(resolution / options.gsd))


def register():
    """Let specs name ``blobs``."""
    register_kernel("blobs", Options, make_blobs)
