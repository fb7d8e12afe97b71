"""AnyUp in float64 numpy, layer by layer from the paper and its released code: what the fast form is held against."""

from __future__ import annotations

import numpy as np

IMAGENET = np.array([(0.485, 0.456, 0.406), (0.229, 0.224, 0.225)])[:, :, None, None]
CLIP = np.array([(0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)])[:, :, None, None]


def convolve(x, weight, mode):
    """[c, h, w] with an odd square filter; ``mode`` pads."""
    size = weight.shape[-1]
    reach = size // 2
    h, w = x.shape[1:]
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)), mode=mode)
    return sum(
        np.einsum("oc,chw->ohw", weight[:, :, i, j], padded[:, i : i + h, j : j + w])
        for i in range(size)
        for j in range(size)
    )


def norm_silu(x, weight, bias):
    groups = x.reshape(8, -1)
    groups = (groups - groups.mean(1, keepdims=True)) / np.sqrt(groups.var(1, keepdims=True) + 1e-5)
    y = groups.reshape(x.shape) * weight[:, None, None] + bias[:, None, None]
    return y / (1 + np.exp(-y))


def blocks(x, weights, name):
    for n in (1, 2):
        own = {key: weights[f"{name}.{n}.block.{key}"] for key in ("0.weight", "0.bias", "3.weight", "3.bias")}
        y = convolve(norm_silu(x, own["0.weight"], own["0.bias"]), weights[f"{name}.{n}.block.2.weight"], "edge")
        y = convolve(norm_silu(y, own["3.weight"], own["3.bias"]), weights[f"{name}.{n}.block.5.weight"], "edge")
        x = x + y
    return x


def unify(features, basis):
    """The softmax's index is the first of [bases, channels] laid over [channels, bases]."""
    channels, h, w = features.shape
    bases, _, size, _ = basis.shape
    ones = convolve(np.ones((1, h, w)), np.ones((1, 1, size, size)), "constant")
    responses = np.concatenate([convolve(channel[None], basis, "constant") / ones for channel in features])
    laid = responses.reshape(bases, channels, h, w)
    laid = np.exp(laid - laid.max(0))
    return (laid / laid.sum(0)).mean(1)


def rotate(x, frequencies):
    channels, h, w = x.shape
    angle = frequencies[0][:, None, None] * np.linspace(0, 1, h)[:, None] + frequencies[1][
        :, None, None
    ] * np.linspace(0, 1, w)
    turned = np.concatenate([-x[channels // 2 :], x[: channels // 2]])
    return x * np.cos(angle) + turned * np.sin(angle)


def rms(rows, weight):
    return rows / np.sqrt((rows**2).mean(1, keepdims=True) + np.finfo(np.float32).eps) * weight


def seen(pixels, patches):
    """[pixels, patches]: which a pixel sees along an axis."""
    centre = (np.arange(pixels, dtype=np.float32) + np.float32(0.5)) / np.float32(pixels)
    first = np.floor(np.clip(centre - np.float32(0.1), 0, 1) * patches)[:, None]
    behind = np.ceil(np.clip(centre + np.float32(0.1), 0, 1) * patches)[:, None]
    numbers = np.arange(patches)
    return (numbers >= first) & (numbers < behind)


def attention(state, image, features):
    """Weights [H * W, h * w] of the patches for each pixel; ``image`` [3, H, W] as ImageNet's encoders see it."""
    weights = {key: np.asarray(value, dtype=np.float64) for key, value in state.items()}
    (_, height, width), (_, h, w) = image.shape, features.shape
    encoded = blocks(convolve(image, weights["image_encoder.0.weight"], "edge"), weights, "image_encoder")
    encoded = rotate(encoded, weights["rope.freqs"])
    queries = blocks(convolve(encoded, weights["query_encoder.0.weight"], "edge"), weights, "query_encoder")
    keys = blocks(convolve(encoded, weights["key_encoder.0.weight"], "edge"), weights, "key_encoder")
    keys = keys.reshape(128, h, height // h, w, width // w).mean((2, 4))
    unit = features / np.maximum(np.sqrt((features**2).sum(0)), 1e-12)
    shape = blocks(unify(unit, weights["key_features_encoder.0.basis"]), weights, "key_features_encoder")
    keys = convolve(np.concatenate([keys, shape]), weights["aggregation.0.weight"], "reflect")
    keys = blocks(keys, weights, "aggregation").reshape(128, -1).T
    queries = convolve(queries, weights["cross_decode.conv2d.weight"], "constant").reshape(128, -1).T
    name = "cross_decode.cross_attn"
    projection, bias = weights[f"{name}.attention.in_proj_weight"], weights[f"{name}.attention.in_proj_bias"]
    queries = rms(queries, weights[f"{name}.norm_q.weight"]) @ projection[:128].T + bias[:128]
    keys = rms(keys, weights[f"{name}.norm_k.weight"]) @ projection[128:256].T + bias[128:256]
    mask = seen(height, h)[:, None, :, None] & seen(width, w)[None, :, None, :]
    mask = mask.reshape(height * width, h * w)
    total = np.zeros(mask.shape)
    for head in range(4):
        own = slice(32 * head, 32 * head + 32)
        logits = np.where(mask, queries[:, own] @ keys[:, own].T / np.sqrt(32), -np.inf)
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        total += exponentials / exponentials.sum(1, keepdims=True) / 4
    return total


def scores(state, features, guidance, text):
    """Cosines [H, W, Q]; ``guidance`` [3, H, W] as CLIP's encoders see it."""
    image = (guidance.astype(np.float64) * CLIP[1] + CLIP[0] - IMAGENET[0]) / IMAGENET[1]
    features = features.astype(np.float64)
    weights = attention(state, image, features)
    upsampled = weights @ features.reshape(len(features), -1).T
    upsampled /= np.linalg.norm(upsampled, axis=1, keepdims=True)
    return (upsampled @ text.astype(np.float64).T).reshape(*guidance.shape[1:], -1)
