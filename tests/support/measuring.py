"""A kernel with statistics stages, that costs nothing: brightness against that of the wider area."""

from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict

from eopipe.grid import PixelBox
from eopipe.kernelinfo import ArraySpec, ClassInfo, Inputs, KernelInfo, Window
from eopipe.kernels.protocol import ALONE, Result
from eopipe.kernels.registry import register_kernel
from eopipe.kernels.statistics import StageInfo

HALO = 8


class Options(BaseModel):
    """``per_strip`` takes each strip's own mean and spread: what statistics are there to avoid."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    epochs: int = 1
    per_strip: bool = False


class Level:
    """Mean of red, each epoch; no halo, one band."""

    info = StageInfo("level", ("red",))

    def measure(self, pixels, valid, box, context):
        assert not context.statistics
        return {"count": valid.sum(axis=(1, 2)).astype(float), "total": pixels[:, 0].sum(axis=(1, 2), dtype=float)}

    def numbers(self, sums: Mapping):
        return {"mean": sums["total"] / sums["count"]}

    def memory(self, shape):
        return 8 * shape[0] * shape[1]


class Spread:
    """Mean square around the level, interpolated: another band order, and a halo that is looked at."""

    info = StageInfo("spread", ("nir", "red"), halo=HALO)

    def measure(self, pixels, valid, box, context):
        assert list(context.statistics) == ["level"]
        around = pixels[:, 1] - context.statistics["level"].at("mean", box.pad(HALO))
        square = np.where(valid, around**2, 0)
        smooth = (square[:, HALO:-HALO, HALO:-HALO] + square[:, 2 * HALO :, HALO:-HALO]) / 2
        edges = np.linspace(-4000, 4000, 33)
        histogram = np.stack([np.histogram(one, edges)[0] for one in around]).astype(float)
        count = valid[:, HALO:-HALO, HALO:-HALO].sum(axis=(1, 2)).astype(float)
        return {"count": count, "square": smooth.sum(axis=(1, 2)), "histogram": histogram}

    def numbers(self, sums):
        return {"spread": np.sqrt(sums["square"] / sums["count"]), "mode": float(sums["histogram"][0].argmax())}

    def memory(self, shape):
        return 32 * shape[0] * shape[1]


class Flattened:
    """Labels by red against the area's level and spread, with the neighbour eight rows below."""

    def __init__(self, options):
        self.options = options
        classes = tuple(ClassInfo(code, f"class {code}", f"#{code:02x}8040") for code in range(1, 9))
        self.info = KernelInfo(
            name="flattened",
            version="1",
            inputs=Inputs("optical", ("red", "nir"), gsd=10.0, epochs=options.epochs),
            window=Window(size=64 + 2 * HALO, stride=64, halo=HALO),
            arrays=(
                ArraySpec("label", "uint8", 255, 0, classes, losers=(0, 255)),
                ArraySpec("confidence", "uint8", 255, 0, losers=(0, 255)),
            ),
            options=options.model_dump(),
        )

    def stages(self):
        return (Level(), Spread())

    def check(self, levels, resolution):
        return []

    def load(self, *, device, threads):
        """There is nothing to load."""

    def memory(self, shape):
        return 64 * shape[0] * shape[1]

    def __call__(self, pixels, valid, box, context=ALONE):
        outer = box.pad(HALO)
        red = pixels[:, 0]
        if self.options.per_strip:
            mean = red[valid].mean()
            spread = red[valid].std()
        else:
            mean = context.statistics["level"].at("mean", outer)
            spread = context.statistics["spread"].at("spread", outer)
            assert context.statistics["spread"].at("mode", box).shape == box.shape
        score = (red - mean) / spread
        score = (score[:, HALO:-HALO, HALO:-HALO] + score[:, 2 * HALO :, HALO:-HALO]) / 2
        score = score[-1] - (score[0] if len(score) > 1 else 0)
        observed = valid[-1, HALO:-HALO, HALO:-HALO]  # of two epochs it would map what only the last one saw
        label = (np.clip(np.floor(score * 2) + 4, 1, 8) * observed).astype(np.uint8)
        confidence = (np.clip(np.abs(score) * 37, 0, 100) * observed).astype(np.uint8)
        return Result({"label": label, "confidence": confidence})


def make_flattened(options, *, resolution):
    """What the registry calls."""
    return Flattened(options)


def small_blocks(patch, *, cells=4, sample=5):
    """Blocks of so many cells a side, so that a scene of some kilometres has several; less than eight is not real."""
    from eopipe.engine.statistics import lattice

    patch.setattr(lattice, "BLOCK_CELLS", cells)
    patch.setattr(lattice, "SAMPLE", sample)


def register(patch):
    """Let specs name ``flattened``, and make blocks small."""
    register_kernel("flattened", Options, make_flattened)
    small_blocks(patch)


def cell(row, col):
    """The box of a cell."""
    return PixelBox(row * 512, col * 512, row * 512 + 512, col * 512 + 512)
