"""Dynamic World v1 in float64 numpy, written from the published topology: what both forms are held against."""

from __future__ import annotations

import numpy as np

MEAN_STD = np.array([
    (1.7417268007636313, 2.023298706048351),
    (1.7261204997060209, 2.038905204308012),
    (1.6798346251414997, 2.179592821212937),
    (1.7734969472909623, 2.2890068333026603),
    (2.289154079164943, 2.6171674549378166),
    (2.382939712192371, 2.773418590375327),
    (2.3828939530384052, 2.7578332604178284),
    (2.1952484264967844, 2.789092484314204),
    (1.554812948247501, 2.4140534947492487),
])  # fmt: skip


def normalise(dn):
    x = np.log(0.005 * dn.astype(np.float64) + 1)
    x = (x - MEAN_STD[:, 0, None, None]) / MEAN_STD[:, 1, None, None]
    return 1 / (1 + np.exp(-(5 * x - 1)))


def mish(x):
    return x * np.tanh(np.logaddexp(0, x))


def convolve(x, weight, bias):
    """[c, h, w] with zeros around; depthwise if the weight has one input."""
    outputs, inputs, size, _ = weight.shape
    _, h, w = x.shape
    padded = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2)))
    total = np.zeros((outputs, h, w)) + bias[:, None, None]
    for i in range(size):
        for j in range(size):
            part = padded[:, i : i + h, j : j + w]
            tap = weight[:, :, i, j].astype(np.float64)
            total += tap[:, 0, None, None] * part if inputs == 1 else np.einsum("oi,ihw->ohw", tap, part)
    return total


def resize_matrix(size, target):
    """Rows of a triangle filter at half-pixel centres, widened when shrinking, each scaled to sum 1."""
    ratio = size / target
    width = max(ratio, 1.0)
    centres = (np.arange(target) + 0.5) * ratio - 0.5
    if ratio < 1:  # beyond the border the border pixel goes on
        matrix = np.zeros((target, size))
        for row, centre in zip(matrix, centres, strict=True):
            low = int(np.floor(centre))
            row[max(low, 0)] += 1 - (centre - low)
            row[min(low + 1, size - 1)] += centre - low
        return matrix
    matrix = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(size)) / width)
    return matrix / matrix.sum(axis=1, keepdims=True)


def resize(x, height, width):
    return np.einsum("yh,chw,xw->cyx", resize_matrix(x.shape[1], height), x, resize_matrix(x.shape[2], width))


def forward(x, arrays):
    """Normalised input [9, h, w] → (probabilities [9, h, w], embeddings [144, h, w])."""

    def layer(x, name):
        return mish(convolve(x, arrays[name + ".weight"], arrays[name + ".bias"]))

    def block(x, name):
        y = x
        for n in "123":
            y = layer(layer(y, f"{name}_pw{n}"), f"{name}_dw{n}")
        return layer(x, f"{name}_skip") + y

    _, h, w = x.shape
    half = resize(layer(x, "stem"), h // 2, w // 2)
    main = block(block(half, "b1"), "b2")
    side = layer(layer(half, "side_pw"), "side_dw")
    y = resize(block(np.concatenate([main, side]), "b3"), h, w)
    y = y / np.sqrt(np.maximum((y * y).sum(axis=0), 1e-6))
    logits = convolve(y, arrays["head.weight"], arrays["head.bias"])
    e = np.exp(logits - logits.max(axis=0))
    return e / e.sum(axis=0), y
