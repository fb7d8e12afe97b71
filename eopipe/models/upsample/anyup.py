"""AnyUp: one upsampler for the features of any encoder, without training for it.

Source: Wimmer et al., AnyUp: Universal Feature Upsampling, arXiv 2510.12764; github.com/wimmerth/anyup and its
``multi_backbone`` weights (CC-BY-4.0). Every pixel has a query, made of the image, and the patches around it have
keys, made of the image (averaged over a patch) and of the shape of the features; a softmax over the keys gives the
weights in which the output mixes the patches' features::

    image ─ encoder ─ rotation by place ─┬─ encoder ──────────────── 3x3 ── norm ── query
                                         └─ encoder ─ mean a patch ─┐
    features ─ unit length ─ unification ─ encoder ─────────────────┴ 3x3, blocks ── norm ── key
    encoder = 1x1 (or 3x3), then twice  x + 1x1(SiLU(norm(1x1(SiLU(norm(x))))))      norm = 8 groups over the image

The output being a convex combination of a few patches, nothing 512 channels wide is made at full resolution. With
weights a over patches p, the cosine to a query T is ``sum a_k (p_k·T) / sqrt(aᵀ G a)``: it needs the patches'
products with the text and their Gram matrix G, both of which have a patch, not a pixel, for an index. The query's
last projection is moved into the keys, where it is done 196 times and not 50,176 times. What is left is the image's
path, 19 GMAC for 224 x 224 pixels, done in bands of pixels (`_anyup_bands`).

One step follows the released code and not the paper, since the weights were trained with it: what the softmax of the
unification compares (`_unify`). It also brings features nearer to their truth.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from eopipe.errors import PlanError, WeightsError
from eopipe.models.checkpoints import misfits
from eopipe.models.clip.entries import OPENAI
from eopipe.models.clip.packed_linear import Product
from eopipe.models.upsample._anyup_bands import WIDTH, BandWorkers, ConvBlock, GroupNorm, PixelBands, run, run_pooled
from eopipe.models.upsample._anyup_windows import Neighbours, neighbours
from eopipe.models.upsample.protocol import NORM_FLOOR, patch_side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

HEADS = 4
BASES = 5
"""Side of the filters of the unification."""
ATTENTION = "cross_decode.cross_attn"
PATCHES = 14
"""Patches whose responses are compared at once: 4 MB of them for 512 channels."""
EXPONENT = 80.0
"""The largest exponent of float32, less some room for a sum."""
BAND = 4096
"""Pixels of a band on a CPU, at most where a row of patches is not more: 2 MB a layer."""
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of the images that AnyUp was trained on."""


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights, in the published state dict."""
    shapes: dict[str, tuple[int, ...]] = {
        "image_encoder.0.weight": (WIDTH, 3, 1, 1),
        "key_encoder.0.weight": (WIDTH, WIDTH, 1, 1),
        "query_encoder.0.weight": (WIDTH, WIDTH, 1, 1),
        "key_features_encoder.0.basis": (WIDTH, 1, BASES, BASES),
        "aggregation.0.weight": (WIDTH, 2 * WIDTH, 3, 3),
        "cross_decode.conv2d.weight": (WIDTH, WIDTH, 3, 3),
        "rope.freqs": (2, WIDTH),
    }
    for encoder in ("image_encoder", "key_encoder", "query_encoder", "key_features_encoder", "aggregation"):
        for block in (1, 2):
            for norm in (0, 3):
                shapes[f"{encoder}.{block}.block.{norm}.weight"] = (WIDTH,)
                shapes[f"{encoder}.{block}.block.{norm}.bias"] = (WIDTH,)
                shapes[f"{encoder}.{block}.block.{norm + 2}.weight"] = (WIDTH, WIDTH, 1, 1)
    shapes[f"{ATTENTION}.norm_q.weight"] = shapes[f"{ATTENTION}.norm_k.weight"] = (WIDTH,)
    shapes[f"{ATTENTION}.attention.in_proj_weight"] = (3 * WIDTH, WIDTH)
    shapes[f"{ATTENTION}.attention.in_proj_bias"] = (3 * WIDTH,)
    shapes[f"{ATTENTION}.attention.out_proj.weight"] = (WIDTH, WIDTH)  # like the value's, not used
    shapes[f"{ATTENTION}.attention.out_proj.bias"] = (WIDTH,)
    return shapes


class AnyUp:
    """Scores windows with AnyUp's weights.

    Args:
        state: The published state dict, whole.
        device: Where it runs.
        threads: How many bands are worked on at once, on a CPU; the result does not depend on it.
        mean: Of the images as the encoder sees them: what the guidance was normalised with.
        std: The same.

    Raises:
        WeightsError: A weight is missing, unknown, or of another shape.
    """

    name = "anyup"

    def __init__(
        self,
        state: Mapping[str, Tensor],
        *,
        device: str = "cpu",
        threads: int = 1,
        mean: tuple[float, float, float] = OPENAI[0],
        std: tuple[float, float, float] = OPENAI[1],
    ) -> None:
        if fault := misfits(expected_shapes(), state):
            raise WeightsError(f"the weights are not AnyUp's: {fault}; take anyup_multi_backbone.pth")
        self.device = torch.device(device)
        self.threads = threads if self.device.type == "cpu" else 1
        weights = {key: value.detach().to(self.device, torch.float32) for key, value in state.items()}
        self._weights = weights
        self._image_blocks = self._blocks("image_encoder")
        self._query_blocks, self._query_first = self._blocks("query_encoder"), self._product("query_encoder.0")
        self._key_blocks, self._key_first = self._blocks("key_encoder"), self._product("key_encoder.0")
        self._feature_blocks = self._blocks("key_features_encoder")
        self._aggregation_blocks = self._blocks("aggregation")
        # (x * std + mean - mean') / std', and then the first layer
        ratio = torch.tensor(std) / torch.tensor(IMAGENET[1])
        offset = (torch.tensor(mean) - torch.tensor(IMAGENET[0])) / torch.tensor(IMAGENET[1])
        first = weights["image_encoder.0.weight"][:, :, 0, 0]
        self._image_first = (first * ratio.to(self.device)).T.contiguous()
        self._image_offset = first @ offset.to(self.device)
        projection = weights[f"{ATTENTION}.attention.in_proj_weight"]
        bias = weights[f"{ATTENTION}.attention.in_proj_bias"]
        self._in_query, self._in_key = projection[:WIDTH], projection[WIDTH : 2 * WIDTH]
        self._in_query_bias, self._in_key_bias = bias[:WIDTH], bias[WIDTH : 2 * WIDTH]

    @torch.no_grad()
    def score(self, patches: Tensor, guidance: Tensor, text: Tensor) -> Tensor:
        """As `Upsampler.score`, window by window."""
        batch, _, height, width = guidance.shape
        patch = _ratio(patches, guidance)
        out = text.new_empty(batch, height, width, text.shape[0])
        with BandWorkers(self.threads) as workers:
            for n in range(batch):
                self._score_window(patches[n], guidance[n], text, patch, out[n], workers)
        return out

    def memory(self, windows: int, side: int, channels: int, queries: int) -> int:
        """As `Upsampler.memory`: one window's, however many there are."""
        del windows
        patches = (side // 16) ** 2
        near = 25  # neighbours of a patch, five rows of five
        maps = 5 * WIDTH * side * side  # of pixels: on to the queries, a block's source, inside, result; one to spare
        at_work = 4 * WIDTH * max(BAND, 32 * side) + 2 * PATCHES * WIDTH * channels  # a thread's
        of_patches = (3 * BASES**2 + 4) * channels + near * (HEADS * (WIDTH + 1) + queries + near + 16 * 16)
        return 4 * (maps + self.threads * at_work + patches * of_patches)

    def _score_window(
        self, patches: Tensor, guidance: Tensor, text: Tensor, patch: int, out: Tensor, workers: BandWorkers
    ) -> None:
        grid = (patches.shape[1], patches.shape[2])
        width = grid[1] * patch
        queries, image_keys = self._image(guidance, patch, workers)
        keys = self._keys(patches, image_keys, workers)
        around = _neighbours_on(grid, patch, self.device)
        features = patches.flatten(1).T
        products = (features @ text.T)[around.patches]
        gram = (features @ features.T)[around.patches[:, :, None], around.patches[:, None, :]]
        weights, offsets = (folded[around.patches] for folded in self._folded(keys))
        rows = len(queries.bands[0]) // width

        def score_band(n: int) -> None:
            band = self._query_map(queries, n, width)
            into = out[n * rows : n * rows + len(band) // width]
            at = slice(n * rows // patch * grid[1], (n * rows + len(into)) // patch * grid[1])
            by_patch = band.view(-1, patch, grid[1], patch, WIDTH).transpose(1, 2).reshape(-1, patch * patch, WIDTH)
            attention = self._attention(by_patch, weights[at], offsets[at], around.mask[at])
            scores = attention.transpose(1, 2) @ products[at]
            length = ((gram[at] @ attention) * attention).sum(1).clamp_min(0).sqrt_().clamp_min_(NORM_FLOOR)
            scores.div_(length[:, :, None])
            placed = into.view(-1, patch, grid[1], patch, text.shape[0]).transpose(1, 2)
            placed.copy_(scores.view(placed.shape))

        workers.map(score_band, len(queries.bands))

    def _image(self, guidance: Tensor, patch: int, workers: BandWorkers) -> tuple[PixelBands, Tensor]:
        """The image's path: the queries' map before its 3x3 layer, and the image's part of the keys, [patches, C]."""
        _, height, width = guidance.shape
        rows = self._band_rows(height, width, patch)
        count = -(-height // rows)

        def first(n: int) -> Tensor:
            pixels = guidance[:, n * rows : (n + 1) * rows].flatten(1).T
            return torch.addmm(self._image_offset, pixels, self._image_first)

        encoded = PixelBands(workers, first, count)
        for block in self._image_blocks:
            encoded = run(block, encoded, workers)
        angles = _angles(self._weights["rope.freqs"], height, width)
        turned = workers.map(lambda n: _rotate(encoded.take(n), angles, n * rows, width), count)
        keys = PixelBands(workers, lambda n: self._key_first(turned[n]), count)
        before, last = self._key_blocks
        pooled = run_pooled(last, run(before, keys, workers), workers, width, patch)
        queries = PixelBands(workers, lambda n: self._query_first(turned[n]), count)
        turned.clear()
        for block in self._query_blocks:
            queries = run(block, queries, workers)
        return queries, pooled

    def _keys(self, patches: Tensor, image_keys: Tensor, workers: BandWorkers) -> Tensor:
        """Keys, normalised and projected: [patches, C]."""
        unit = functional.normalize(patches, dim=0)
        features = _unify(unit, self._weights["key_features_encoder.0.basis"], workers)
        shape = PixelBands(workers, lambda _: features, 1)
        for block in self._feature_blocks:
            shape = run(block, shape, workers)
        both = torch.cat([image_keys, shape.bands[0]], dim=1).T.view(1, -1, *patches.shape[1:])
        padded = functional.pad(both, [1, 1, 1, 1], mode="reflect")[0].movedim(0, -1)
        keys = PixelBands(workers, lambda _: _conv3x3(padded, self._weights["aggregation.0.weight"]), 1)
        for block in self._aggregation_blocks:
            keys = run(block, keys, workers)
        normalised = _unit_mean_square(keys.bands[0]) * self._weights[f"{ATTENTION}.norm_k.weight"]
        return functional.linear(normalised, self._in_key, self._in_key_bias)

    def _folded(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The query's scale and projection, moved into the keys.

        A head's logit is ``k · (W (g * y / rms(y)) + b) / sqrt(d)``, which is ``(y · weights) / rms(y) + offset``.

        Returns:
            weights [patches, HEADS, C] and offsets [patches, HEADS].
        """
        size = WIDTH // HEADS
        heads = keys.view(-1, HEADS, size) / size**0.5
        gain = self._weights[f"{ATTENTION}.norm_q.weight"]
        weights = torch.einsum("nhd,hdc->nhc", heads, (self._in_query * gain).view(HEADS, size, WIDTH))
        return weights, (heads * self._in_query_bias.view(HEADS, size)).sum(2)

    def _query_map(self, queries: PixelBands, n: int, width: int) -> Tensor:
        """A band of the queries after their 3x3 layer, which sees a row of the bands above and below."""
        weight = self._weights["cross_decode.conv2d.weight"]
        edge = weight.new_zeros(width, WIDTH)
        above = queries.bands[n - 1][-width:] if n > 0 else edge
        below = queries.bands[n + 1][:width] if n + 1 < len(queries.bands) else edge
        rows = torch.cat([above, queries.bands[n], below]).view(-1, width, WIDTH)
        return _conv3x3(functional.pad(rows, [0, 0, 1, 1]), weight)

    def _attention(self, pixels: Tensor, weights: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
        """Mean over the heads of the softmax over the neighbours.

        Args:
            pixels: [n, P, C], the queries of n patches' pixels.
            weights: [n, K, HEADS, C] of the neighbours.
            offsets: [n, K, HEADS].
            mask: [n, 1, K, P].

        Returns:
            [n, K, P], summing to 1 over K.
        """
        rms = (pixels.square().mean(2) + torch.finfo(torch.float32).eps).rsqrt_()
        by_head = weights.transpose(1, 2)
        logits = (by_head.flatten(1, 2) @ pixels.transpose(1, 2)).view(*by_head.shape[:3], -1)
        logits = torch.addcmul(offsets.transpose(1, 2)[..., None], logits, rms[:, None, None]).add_(mask)
        return logits.softmax(2).mean(1)

    def _band_rows(self, height: int, width: int, patch: int) -> int:
        """Rows of a band, whole patches: what stays in the cache, and on a GPU all."""
        return height if self.device.type != "cpu" else max(1, BAND // (width * patch)) * patch

    def _product(self, name: str) -> Product:
        return Product(self._weights[f"{name}.weight"].flatten(1), device=self.device)

    def _blocks(self, encoder: str) -> list[ConvBlock]:
        norm = [
            GroupNorm(
                self._weights[f"{encoder}.{n}.block.{k}.weight"], self._weights[f"{encoder}.{n}.block.{k}.bias"]
            )
            for n in (1, 2)
            for k in (0, 3)
        ]
        product = [self._product(f"{encoder}.{n}.block.{k}") for n in (1, 2) for k in (2, 5)]
        return [ConvBlock(norm[n], product[n], norm[n + 1], product[n + 1]) for n in (0, 2)]


def _ratio(patches: Tensor, guidance: Tensor) -> int:
    side, (h, w), (height, width) = patch_side(patches, guidance), patches.shape[2:], guidance.shape[2:]
    if min(h, w) < 2:
        raise PlanError(f"upsampler anyup needs 2 patches a side, and a window of {height} x {width} has {h} x {w}")
    return side


def _unify(features: Tensor, basis: Tensor, workers: BandWorkers) -> Tensor:
    """The features' shape, whatever their number: [C, h, w], of unit length, to [h * w, WIDTH].

    Every channel is filtered with every basis (zeros around, the sum divided by the number of taps that fall inside),
    and the responses are compared by a softmax. The paper compares the bases of a channel. The released code, with
    which the weights were trained, takes the array [C, WIDTH] for one [WIDTH, C], compares along its first index and
    averages the second.
    """
    channels, height, width = features.shape
    ones = features.new_ones(1, 1, height, width)
    inside = functional.conv2d(ones, torch.ones_like(basis[:1]), padding=BASES // 2).flatten()
    columns = functional.unfold(features[:, None], BASES, padding=BASES // 2) / inside
    columns = columns.permute(2, 0, 1).contiguous()
    filters = basis.flatten(1)
    # no response is larger than its filter's sum of sizes: a common shift keeps the exponentials in range
    shift = (filters.abs().sum(1).max() - EXPONENT).clamp_min(0)

    def unified(n: int) -> Tensor:
        patches = columns[n * PATCHES : (n + 1) * PATCHES]
        responses = torch.addmm(-shift, patches.flatten(0, 1), filters.T).exp_().view(len(patches), WIDTH, channels)
        responses.div_(responses.sum(1, keepdim=True))
        return responses.mean(2)  # not a product: its sums are less exact, and the next norm magnifies

    return torch.cat(workers.map(unified, -(-len(columns) // PATCHES)))


def _conv3x3(padded: Tensor, weight: Tensor) -> Tensor:
    """A 3x3 convolution of a padded, pixel-major map: [h + 2, w + 2, C] to [h * w, out]."""
    if padded.is_cuda:
        return _nine_products(padded, weight)
    maps = padded.movedim(-1, 0)[None]  # channels last, as oneDNN likes it
    return functional.conv2d(maps, weight)[0].movedim(0, -1).flatten(0, 1)


def _nine_products(padded: Tensor, weight: Tensor) -> Tensor:
    """The same as products in full float32, where a convolution on CUDA would round to TF32."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    out = padded.new_zeros(height * width, len(weight))
    for i in range(3):
        for j in range(3):
            out.addmm_(padded[i : i + height, j : j + width].flatten(0, 1), weight[:, :, i, j].T)
    return out


def _unit_mean_square(x: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).rsqrt()


def _angles(frequencies: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    """Cosine and sine of the rows' and of the columns' part of the angle: [height, C] twice, [width, C] twice."""
    down, across = (torch.linspace(0, 1, n, device=frequencies.device)[:, None] for n in (height, width))
    rows, columns = down * frequencies[0], across * frequencies[1]
    return rows.cos(), rows.sin(), columns.cos(), columns.sin()


def _rotate(band: Tensor, angles: tuple[Tensor, ...], top: int, width: int) -> Tensor:
    """Turn pairs of channels (c, c + C/2), each channel by its own angle of the pixel's position, as published."""
    rows = len(band) // width
    row_cos, row_sin = (table[top : top + rows, None] for table in angles[:2])
    column_cos, column_sin = angles[2:]
    cos, sin = row_cos * column_cos - row_sin * column_sin, row_sin * column_cos + row_cos * column_sin
    maps = band.view(rows, width, WIDTH)
    half = WIDTH // 2
    turned = maps * cos
    turned[..., :half].addcmul_(maps[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(maps[..., :half], sin[..., half:])
    return turned.view(-1, WIDTH)


@lru_cache(maxsize=4)
def _neighbours_on(grid: tuple[int, int], patch: int, device: torch.device) -> Neighbours:
    return Neighbours(*(values.to(device) for values in neighbours(*grid, patch)))
