"""The joint bilateral upsamplers in float64 numpy, written from the specification's formulas (01 §4.1, 4.2)."""

from __future__ import annotations

import math

import numpy as np


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


def cubic(x, a=-0.75):
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def doubling(size):
    """[2*size, size]: bicubic, half-pixel centres, the border repeated."""
    matrix = np.zeros((2 * size, size))
    for i in range(2 * size):
        at = (i + 0.5) / 2 - 0.5
        for n in range(math.floor(at) - 1, math.floor(at) + 3):
            matrix[i, min(max(n, 0), size - 1)] += cubic(at - n)
    return matrix


def conv(x, weights, name):
    weight, bias = (np.asarray(weights[f"{name}.{part}"], float) for part in ("weight", "bias"))
    return np.einsum("oc,chw->ohw", weight[:, :, 0, 0], x) + bias[:, None, None]


def pooled(image, height, width):
    _, h, w = image.shape
    return image.reshape(3, height, h // height, width, w // width).mean(axis=(2, 4))


def stage(source, image, weights, name):
    """[C, h, w] → [C, 2h, 2w]."""
    _, h, w = source.shape
    side = round(weights[f"{name}.fixup_proj.3.weight"].shape[0] ** 0.5)
    radius = side // 2
    guidance = pooled(image, 2 * h, 2 * w)
    key = conv(gelu(conv(guidance, weights, f"{name}.range_proj.0")), weights, f"{name}.range_proj.3")
    around = ((0, 0), (radius, radius), (radius, radius))
    padded = np.pad(key, around, mode="reflect")
    taps = [(i, j) for i in range(side) for j in range(side)]
    near = np.stack([(padded[:, i : i + 2 * h, j : j + 2 * w] * key).sum(0) for i, j in taps])
    near *= min(max(math.exp(float(weights[f"{name}.range_temp"])), 1e-4), 1e4)
    near = np.exp(near - near.max(axis=0))
    near /= near.sum(axis=0)
    t = np.linspace(-1, 1, side)
    sigma = float(weights[f"{name}.sigma_spatial"])
    near *= np.exp(-(t[:, None] ** 2 + t**2) / (2 * sigma**2)).reshape(-1, 1, 1)
    near /= np.maximum(near.sum(axis=0), 1e-7)
    hidden = gelu(conv(np.concatenate([near, guidance]), weights, f"{name}.fixup_proj.0"))
    near = near + 0.1 * conv(hidden, weights, f"{name}.fixup_proj.3")
    large = np.einsum("yh,chw,xw->cyx", doubling(h), source, doubling(w))
    padded = np.pad(large, around, mode="reflect")
    return sum(near[n] * padded[:, i : i + 2 * h, j : j + 2 * w] for n, (i, j) in enumerate(taps))


def upsample(patches, image, weights, names):
    """[C, h, w] and [3, H, W] → [C, H, W] through the stages named."""
    source = np.asarray(patches, float)
    for name in names:
        source = stage(source, np.asarray(image, float), weights, name)
    return source + 0.1 * conv(source, weights, "fixup_proj.1")
