"""``eopipe bench ovss``: what a window costs beside its image tower, and against the plain formulation.

The model is a ViT-B/16 with seeded weights and a seeded ``jbu_one``; the picture one of 448 x 448, which the
published protocol cuts into 9 windows. Speed does not depend on the weights' values; errors are those of random
features, the worst case of a low-rank form.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.nn import functional

from eopipe.engine.bench import median_seconds, seconds
from eopipe.engine.cluster.resources import choose_device, device_label
from eopipe.grid import PixelBox
from eopipe.kernels.ovss.segmentor import WINDOWS_AT_ONCE, Segmentor, lay_windows, segment_image
from eopipe.models.clip.architecture import AttentionSettings
from eopipe.models.clip.packed_linear import Product
from eopipe.models.clip.seeded import VIT_B_16, seeded_vision_state
from eopipe.models.clip.vision import SELF_ATTENTION, DenseEncoder
from eopipe.models.upsample.jbu import JBU, KEYS, RADIUS
from eopipe.models.upsample.load import jbu_upsampler

if TYPE_CHECKING:
    from torch import Tensor

    from eopipe.models.upsample.protocol import Upsampler

SIDE, CROP, STRIDE, CHANNELS, QUERIES = 448, VIT_B_16["image"], 112, VIT_B_16["out"], 13
BIAS = -0.3
MARGIN = 0.01
"""Between the first two queries' cosines, from which on two forms must agree on the label."""

TOKENS = (CROP // VIT_B_16["patch"]) ** 2 + 1

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


class PlainJBU:
    """The published formulation: every channel upsampled tap by tap, the 1x1 convolution at full resolution."""

    def __init__(self, module: JBU) -> None:
        self.name = module.name
        self.module = module

    def score(self, patches: Tensor, guidance: Tensor, text: Tensor) -> Tensor:
        """See :class:`eopipe.models.upsample.protocol.Upsampler`."""
        features = functional.normalize(self.module(patches, guidance), dim=1)
        return torch.einsum("bchw,qc->bhwq", features, text).contiguous()

    def memory(self, windows: int, side: int, channels: int, queries: int) -> int:
        """Two maps of all channels, padded and not, and the filters."""
        return 4 * windows * side * side * (3 * channels + 3 * 121 + queries)


def bench(*, rounds: int = 5) -> dict[str, Any]:
    """Time the kernel on this machine, float32 and bfloat16, against the plain formulation, in one run.

    Args:
        rounds: Timed rounds of the encoder alone and of the shipped form, taking turns, after one that warms up.
            The plain form takes many times longer: it maps the picture once.

    Returns:
        By precision: ``speedup_vs_plain``, ``window_over_encoder``, ``max_logit_error`` (of a cosine, before the
        scale), ``equal_labels`` (share of pixels), ``equal_labels_at_margin`` (of those whose first two queries lie
        at least 0.01 apart in the plain form), seconds a window, and the encoder's share of the product rate.
    """
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    setup = _Setup.make(choose_device(), threads)
    plain = setup.segmentor("float32", PlainJBU(setup.module))
    plain(setup.crops[:1])
    start = time.perf_counter()
    expected = torch.cat([plain(crop[None]) for crop in setup.crops])
    plain_seconds = (time.perf_counter() - start) / len(setup.crops)
    figures: dict[str, Any] = {
        "kernel": "ovss",
        "device": device_label(setup.device),
        "threads": threads,
        "windows": len(setup.crops),
        "queries": QUERIES,
        "gflop_per_window": arithmetic(plain),
        "plain_window_seconds": round(plain_seconds, 4),
    }
    for precision in PRECISIONS:
        figures[precision] = _compare(setup, precision, expected, plain_seconds, rounds)
    return figures


def encoder_gflop(encoder: DenseEncoder, height: int, width: int) -> float:
    """Arithmetic of one window of ``height`` x ``width`` pixels in 10⁹ operations: the matrix products alone.

    A multiplication and an addition count as two. What the changed blocks leave out (residual, MLP, attention
    matrices that are the identity) is not counted.
    """
    patches = (height // encoder.patch) * (width // encoder.patch)
    tokens, inner = patches + 1, encoder.inner
    attention, mlp = 4 * tokens**2 * inner, 4 * tokens * inner * encoder.hidden
    projections = 2 * tokens * inner * 3 * inner
    output = 2 * tokens * inner * inner
    ordinary = projections + attention + output + mlp
    settings = encoder.attention
    matrices = {"vanilla": 1, "MaskCLIP": 0}.get(settings.kind) or len(SELF_ATTENTION.get(settings.kind, ""))
    changed = projections + matrices * attention + output + (0 if settings.ignore_residual else mlp)
    total = (encoder.layers - settings.last) * ordinary + settings.last * changed
    total += (settings.last - 1) * (ordinary - projections)  # each but the last feeds the next
    ends = 2 * patches * 3 * encoder.patch**2 * inner + 2 * tokens * inner * encoder.width
    return (total + ends) / 1e9


@dataclass(frozen=True)
class _Setup:
    """Seeded weights, a picture with its windows, and words."""

    state: dict[str, Tensor]
    module: JBU
    upsampler: Upsampler
    picture: Tensor
    crops: Tensor
    text: Tensor
    device: str

    @classmethod
    def make(cls, device: str, threads: int) -> _Setup:
        state = seeded_vision_state(0, **VIT_B_16)
        torch.manual_seed(0)
        module = JBU("jbu_one", CHANNELS).to(device)
        generator = torch.Generator().manual_seed(1)
        coarse = torch.randn(1, 3, SIDE // 16, SIDE // 16, generator=generator)
        picture = functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic")[0].to(device)
        boxes = lay_windows(PixelBox(0, 0, SIDE, SIDE), size=CROP, stride=STRIDE, lattice=False)
        crops = torch.stack([picture[:, box.row0 : box.row1, box.col0 : box.col1] for box in boxes])
        text = functional.normalize(torch.randn(QUERIES, CHANNELS, generator=generator), dim=1).to(device)
        upsampler = jbu_upsampler(module, device=device, threads=threads)
        return cls(state, module, upsampler, picture, crops, text, device)

    def segmentor(self, precision: Precision, upsampler: Upsampler) -> Segmentor:
        attention = AttentionSettings("SegEarth")
        encoder = DenseEncoder(
            self.state, VIT_B_16["heads"], attention=attention, gelu="quick", precision=precision, device=self.device
        )
        return Segmentor(encoder, upsampler, self.text, bias=BIAS)

    def map(self, model: Segmentor) -> None:
        """The whole picture, as a benchmark does."""
        _finish(segment_image(model, self.picture, crop=CROP, stride=STRIDE, size=(SIDE, SIDE)))

    def encode(self, model: Segmentor) -> None:
        """The tower alone, on the same windows in the same batches."""
        for start in range(0, len(self.crops), WINDOWS_AT_ONCE):
            _finish(model.encoder(self.crops[start : start + WINDOWS_AT_ONCE]).cls)


def _compare(
    setup: _Setup, precision: Precision, expected: Tensor, plain_seconds: float, rounds: int
) -> dict[str, Any]:
    model = setup.segmentor(precision, setup.upsampler)
    logits = torch.cat([model(crop[None]) for crop in setup.crops])
    setup.map(model)
    median = median_seconds({"alone": lambda: setup.encode(model), "whole": lambda: setup.map(model)}, rounds)
    encoder, window = (median[name] / len(setup.crops) for name in ("alone", "whole"))
    first, second = expected.topk(2, dim=-1).values.unbind(-1)
    sure = first - second >= MARGIN
    equal = (logits.argmax(-1) == expected.argmax(-1)).float()
    peak = product_gflops(precision, setup.device)
    rate = encoder_gflop(model.encoder, CROP, CROP) / encoder
    return {
        "speedup_vs_plain": round(plain_seconds / window, 2),
        "window_over_encoder": round(window / encoder, 3),
        "max_logit_error": float((logits - expected).abs().max()),
        "equal_labels": round(float(equal.mean()), 6),
        "equal_labels_at_margin": round(float(equal[sure].mean()), 6) if sure.any() else None,
        "share_at_margin": round(float(sure.float().mean()), 4),
        "windows_per_second": round(1 / window, 2),
        "window_seconds": round(window, 4),
        "encoder_seconds": round(encoder, 4),
        "encoder_gflops": round(rate),
        "product_gflops": round(peak),
        "encoder_share_of_peak": round(rate / peak, 3),
    }


def arithmetic(model: Segmentor) -> dict[str, float]:
    """GFLOP of one window by part, as the formulas stand: the low-rank form beside the plain one."""
    pixels = sum((CROP >> n) ** 2 for n in range(4))  # of the four stages
    taps = (2 * RADIUS["jbu_one"] + 1) ** 2
    parts = {
        "encoder": encoder_gflop(model.encoder, CROP, CROP),
        "upsampler_filters": 2e-9 * pixels * (3 * KEYS + KEYS**2 + taps * KEYS + (2 * taps + 3) * taps),
        "upsampler_channels": 2e-9 * pixels * taps * TOKENS,
        "queries": 2e-9 * CROP**2 * TOKENS * QUERIES,
        "plain_channels": 2e-9 * pixels * taps * CHANNELS,
        "plain_projection": 2e-9 * CROP**2 * CHANNELS**2,
    }
    return {name: round(value, 1) for name, value in parts.items()}


def product_gflops(precision: Precision, device: str) -> float:
    """The best measured rate of the product that a tower is made of: 788 tokens, 768 to 3072 channels."""
    rows, inputs, outputs = 788, 768, 3072
    dtype = getattr(torch, precision)
    product = Product(torch.randn(outputs, inputs), None, dtype=dtype, device=torch.device(device))
    x = torch.randn(rows, inputs, device=device).to(dtype)
    best = min(seconds(lambda: _finish(product(x))) for _ in range(40))
    return 2 * rows * inputs * outputs / best / 1e9


def _finish(result: Tensor) -> None:
    """Wait for a GPU: its work is only queued."""
    if result.is_cuda:
        torch.cuda.synchronize(result.device)
