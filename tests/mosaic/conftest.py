"""A small mosaic to write to: 3 x 4 tiles of 512, in negative rows, with classes, quantities and planes."""

import numpy as np
import pytest

from eopipe.grid import Grid, PixelBox, Tile
from eopipe.kernelinfo import ArraySpec, ClassInfo
from eopipe.mosaic.store import Layout, create
from eopipe.storage import Storage
from tests.support.s3 import s3, s3_uri  # noqa: F401  (fixtures)

CLASSES = (
    ClassInfo(1, "water", "#419bdf", ("river", "sea")),
    ClassInfo(2, "flooded vegetation", "#7a87c6"),
    ClassInfo(3, "built", "#c4281b"),
)
LABEL = ArraySpec("label", "uint8", 255, 0, CLASSES, (0, 255), long_name="land cover")
CHANGE = ArraySpec(
    "change",
    "uint8",
    255,
    254,
    (ClassInfo(0, "unchanged", "#ffffff"), ClassInfo(1, "changed", "#ff0000")),
    (254, 255),
)
CONFIDENCE = ArraySpec("confidence", "uint8", 255, 0, losers=(255,), long_name="confidence (%)")
PROBABILITIES = ArraySpec("probabilities", "uint8", 255, 0, losers=(255,), bands=("water", "wetland", "built"))
ARRAYS = (LABEL, CHANGE, CONFIDENCE, PROBABILITIES)


def make_layout(tile=512, bounds=PixelBox(-950, 118, -947, 122), arrays=ARRAYS, crs="EPSG:32632"):  # noqa: B008  (frozen)
    return Layout.plan(Grid(crs, 10.0), tile, bounds, arrays)


def make_tile(layout: Layout, tile: Tile) -> dict[str, np.ndarray]:
    """Patches of classes, missing data and noise; a function of the tile's name."""
    rng = np.random.default_rng([tile.row & 0xFFFF, tile.col & 0xFFFF])
    side = layout.tile
    values = {}
    for spec in layout.arrays:
        codes = [*(entry.code for entry in spec.classes), *spec.losers] if spec.classes else list(range(101))
        planes = (len(spec.bands),) if spec.bands else ()
        coarse = rng.choice(codes, size=(*planes, side // 8, side // 8))
        values[spec.name] = np.kron(coarse, np.ones((8, 8), int)).astype(spec.dtype)
        noise = rng.random(values[spec.name].shape) < 0.1
        values[spec.name][noise] = rng.choice(codes, size=int(noise.sum()))
    return values


@pytest.fixture
def layout() -> Layout:
    return make_layout()


@pytest.fixture(params=["local", "s3", "memory"])
def anywhere(request, tmp_path) -> Storage:
    match request.param:
        case "s3":
            return Storage.open(request.getfixturevalue("s3_uri"))
        case "memory":
            return Storage.open(f"memory://{tmp_path}")
        case _:
            return Storage.open(str(tmp_path))


@pytest.fixture
def local(tmp_path, layout) -> Storage:
    storage = Storage.open(str(tmp_path))
    create(storage, layout, {"title": "test"})
    return storage
