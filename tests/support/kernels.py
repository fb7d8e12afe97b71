"""A kernel that costs nothing, where a test is about everything but the map."""

import numpy as np

from eopipe.kernels.protocol import ALONE, Result


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
        seen = valid[0, inside, inside]
        label = np.where(seen, np.clip(mean // 500, 0, 8) + 1, 0).astype(np.uint8)
        confidence = np.where(seen, np.clip(mean // 100, 0, 100), 0).astype(np.uint8)
        return Result({"label": label, "confidence": confidence})
