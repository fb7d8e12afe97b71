"""Bare and green ground, by the normalised difference of near infrared and red."""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from eopipe.kernelinfo import ArraySpec, ClassInfo, Inputs, KernelInfo, Window
from eopipe.kernels.base import BaseKernel
from eopipe.kernels.protocol import ALONE, Result

CLASSES = (ClassInfo(1, "bare", "#a59b8f"), ClassInfo(2, "green", "#397d49"))


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    threshold: float = Field(default=0.3, ge=-1, le=1, description="The index from which on a pixel is green.")


class Greenness(BaseKernel):
    def __init__(self, options):
        label = ArraySpec(
            "label", "uint8", fill=255, nodata=0, losers=(0, 255), long_name="greenness", classes=CLASSES
        )
        inputs, window = Inputs("optical", ("red", "nir"), gsd=10.0), Window(size=512, stride=512, halo=0)
        super().__init__(KernelInfo("greenness", "1", inputs, window, (label,), options=options.model_dump()))
        self.options = options

    def memory(self, shape):
        return 40 * shape[0] * shape[1]

    def __call__(self, pixels, valid, box, context=ALONE):
        red, nir = pixels[0].astype(np.float64)
        green = nir - red > self.options.threshold * (nir + red)
        return Result({"label": np.where(valid[0], 1 + green, 0).astype(np.uint8)})


def create(options, *, resolution):
    return Greenness(options)


options_model = Options
