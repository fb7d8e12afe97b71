"""Kernels that cost nothing, where a test is about everything but the map."""

import hashlib
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from eopipe.errors import PlanError
from eopipe.grid import PixelBox
from eopipe.kernelinfo import ArraySpec, ClassInfo, FeatureSpec, Inputs, KernelInfo, Window
from eopipe.kernels.protocol import ALONE, Result
from eopipe.kernels.registry import register_kernel


class Brightness:
    """Reads what another kernel reads, with its halo and windows, and labels by brightness.

    Args:
        kernel: Whose description it takes.
    """

    def __init__(self, kernel):
        self._kernel = kernel

    @property
    def info(self):
        return self._kernel.info

    def check(self, levels, resolution):
        return self._kernel.check(levels, resolution)

    def load(self, *, device, threads):
        """There is nothing to load."""

    def memory(self, shape):
        return self._kernel.memory(shape)

    def __call__(self, pixels, valid, box, context=ALONE):
        halo = self.info.window.halo
        inside = slice(halo, -halo)
        mean = pixels[0].mean(axis=0)[inside, inside]
        observed = valid[0, inside, inside]
        label = np.where(observed, np.clip(mean // 500, 0, 8) + 1, 0).astype(np.uint8)
        confidence = np.where(observed, np.clip(mean // 100, 0, 100), 0).astype(np.uint8)
        return Result({"label": label, "confidence": confidence})


SIZE, STRIDE, PATCH, CHANNELS = 96, 48, 24, 8
TOKENS = 1 + (SIZE // PATCH) ** 2


class Options(BaseModel):
    """The options of :class:`Overlapping`: like those of an open-vocabulary kernel, less its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prompts: dict[str, list[str]] = {"water": ["water"], "land": ["land", "field"], "town": ["town"]}
    scale: float = 4.0
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    stretch: Literal["auto", "optical", "landsat"] = "auto"
    features: Literal["none", "keep"] | dict[str, int] = "none"
    gsd: Literal["grid"] | float = "grid"


class Overlapping:
    """Windows of 96 pixels at a stride of 48, each encoded to 17 tokens; the map is their overlap's mean.

    Bytes are the same with and without ``carry``: a pixel's windows are added in the order of the lattice. What
    it encoded it counts in ``encoded``.

    Args:
        options: A mapping of :class:`Options`.
        factor: Kernel pixels along a grid pixel.
    """

    def __init__(self, options, *, factor=1):
        self.options, self.encoded = options, 0
        pca = options.features.get("pca") if isinstance(options.features, dict) else None
        features = FeatureSpec(TOKENS, CHANNELS, reduced=pca, free=("prompts", "scale"))
        classes = tuple(
            ClassInfo(code, name, f"#{code:02x}8040", tuple(words))
            for code, (name, words) in enumerate(options.prompts.items(), 1)
        )
        self.info = KernelInfo(
            name="overlapping",
            version="1",
            inputs=Inputs("optical", ("red", "green", "blue"), gsd=10.0),
            window=Window(size=SIZE, stride=STRIDE, halo=SIZE - 1),
            arrays=(
                ArraySpec("label", "uint8", 255, 0, classes, losers=(0, 255)),
                ArraySpec("confidence", "uint8", 255, 0, losers=(0, 255)),
            ),
            options=options.model_dump(),
            factor=factor,
            features=None if options.features == "none" else features,
        )

    def check(self, levels, resolution):
        return []

    def settle(self, sensors):
        if self.options.stretch != "auto" or not sensors:
            return {}
        known = {"Sentinel-2": "optical", "Landsat 8 Collection 1 level 1": "landsat"}
        stretches = sorted({known[name] for name in sensors})
        if len(stretches) > 1:
            raise PlanError(
                f"kernel.stretch: auto, and {', '.join(sensors)} differ; say one of {', '.join(stretches)}"
            )
        return {"stretch": stretches[0]}

    def load(self, *, device, threads):
        """There is nothing to load."""

    def memory(self, shape):
        return 12 * 2**20

    def __call__(self, pixels, valid, box, context=ALONE):
        outer, factor = box.pad(self.info.window.halo), self.info.factor
        total = np.zeros((len(self.options.prompts), *box.shape), np.float32)
        count = np.zeros(box.shape, np.float32)
        known, encoded, below = context.carry or {}, {}, {}
        for row in range((box.row0 - SIZE) // STRIDE + 1, -(-box.row1 // STRIDE)):
            for col in range((box.col0 - SIZE) // STRIDE + 1, -(-box.col1 // STRIDE)):
                window = PixelBox(row * STRIDE, col * STRIDE, row * STRIDE + SIZE, col * STRIDE + SIZE)
                at = window.slices(outer)
                if not valid[0][at].any():
                    continue
                logits = known.get((row, col))
                if logits is None:
                    tokens = self._tokens(pixels[0][:, *at], (row, col), context.features)
                    if self.info.features is not None and context.features is None:
                        encoded[row, col] = tokens
                    logits = self._score(tokens, pixels[0][:, *at])
                if window.row1 > box.row1:
                    below[row, col] = logits
                part = window & box
                total[:, *part.slices(box)] += logits[:, *part.slices(window)]
                count[part.slices(box)] += 1
        observed = valid[0][box.slices(outer)]
        mean = total / np.maximum(count, 1)
        rows, cols = (side // factor for side in box.shape)
        mean = mean.reshape(len(mean), rows, factor, cols, factor).mean(axis=(2, 4), dtype=np.float32)
        observed = observed.reshape(rows, factor, cols, factor).any(axis=(1, 3))
        chance = np.exp(mean - mean.max(axis=0))
        chance /= chance.sum(axis=0)
        label = ((chance.argmax(axis=0) + 1) * observed).astype(np.uint8)
        confidence = (np.rint(chance.max(axis=0) * 100) * observed).astype(np.uint8)
        return Result({"label": label, "confidence": confidence}, carry=below, windows=encoded)

    def _tokens(self, crop, index, features):
        if features is not None:
            tokens = features.get(*index)
            assert tokens is not None, f"window {index} has valid pixels and no features"
            return tokens
        self.encoded += 1
        cut = crop.reshape(3, SIZE // PATCH, PATCH, SIZE // PATCH, PATCH) / np.float32(3000)
        means, spread = cut.mean(axis=(2, 4)).reshape(3, -1).T, cut.std(axis=(2, 4)).reshape(3, -1).T
        patches = np.concatenate([means, spread], axis=1)
        tokens = np.concatenate([patches.mean(axis=0, keepdims=True), patches])
        mix = np.random.default_rng(3).normal(size=(6, CHANNELS)).astype(np.float32)
        return np.tanh(tokens @ mix).astype(np.float32)

    def _score(self, tokens, crop):
        side = SIZE // PATCH
        text = np.stack([_unit(words) for words in self.options.prompts.values()])
        cosines = (tokens[1:] - 0.3 * tokens[:1]) @ text.T
        logits = cosines.T.reshape(-1, side, side).repeat(PATCH, axis=1).repeat(PATCH, axis=2)
        guidance = crop.mean(axis=0) / np.float32(10000)
        return (self.options.scale * (logits + guidance * text.sum(axis=1)[:, None, None])).astype(np.float32)


def _unit(words):
    seed = int.from_bytes(hashlib.sha256(" ".join(words).encode()).digest()[:4])
    vector = np.random.default_rng(seed).normal(size=CHANNELS).astype(np.float32)
    return vector / np.linalg.norm(vector)


def make_overlapping(options, *, resolution):
    """What the registry calls."""
    return Overlapping(options, factor=1 if options.gsd == "grid" else round(resolution / options.gsd))


def register():
    """Let specs name ``overlapping``."""
    register_kernel("overlapping", Options, make_overlapping)
