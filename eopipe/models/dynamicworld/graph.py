"""Dynamic World v1 on CPUs: the net as an OpenVINO graph, run on tiles of one shape.

The graph maps `IN_SIDE`² pixels to the `TILE`² whose receptive fields they hold: no layer pads, each loses its
margin. A window is covered with such tiles, so a pixel's bytes depend neither on its window's size nor on where it
lies in it, and memory is that of one tile. Where a tile reaches beyond its window, a second graph takes the zeros of
the plain module's padding from masks; where those are all 1 it gives the same bytes.

Two differences from the plain module are exact algebra, not approximation: the antialiased 1/2 is a depthwise
convolution with the weights 1/8, 3/8, 3/8, 1/8; and, as the head and the bilinear upsampling are both linear, 9
logits are upsampled and not the features that they are made of, of which only the length is needed.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

RECEPTIVE_FIELD = 22
"""How far an output pixel sees, pixels at full resolution."""
TILE = 256
"""Side of a tile's output, pixels: smaller ones repeat more of their margins, larger ones leave the caches."""
IN_SIDE = TILE + 2 * RECEPTIVE_FIELD
CLASSES, BANDS, STEM = 9, 9, 64
NORM_EPSILON = 1e-6
"""The least squared length of an upsampled feature vector."""
LOG_GAIN = 0.005
"""What a digital number is multiplied by before the logarithm of the normalisation."""

_STEM_SIDE = IN_SIDE - 2
_HALF_SIDE = _STEM_SIDE // 2 - 1  # after the antialiased 1/2
_LOST = 9  # half pixels on each side, by nine 3x3 layers after it
_LAST_SIDE = _HALF_SIDE - 2 * _LOST
assert 2 * (_LAST_SIDE - 2) == TILE

_SETTINGS = {
    "INFERENCE_PRECISION_HINT": "f32",  # whatever the processor offers: bfloat16 would change labels
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
    "INFERENCE_NUM_THREADS": 1,  # as many as a worker maps with, so that sums have one order
    "ENABLE_CPU_PINNING": False,
}


class Normalisation(NamedTuple):
    """The net's input of a digital number: ``sigmoid(scale * ln(0.005 * DN + 1) + offset)``, of each band."""

    scale: Floats
    offset: Floats


class TiledGraph:
    """The graph with its weights; any number of threads may run it at once.

    Requests of one compiled graph wait for each other, so a call takes a graph of its own from those that idle, or
    compiles one (0.2 s).

    Args:
        arrays: ``<layer>.weight`` and ``<layer>.bias`` of the 25 layers, float32.
        normalisation: Of digital numbers; None: windows are normalised already.
    """

    def __init__(self, arrays: Mapping[str, Floats], normalisation: Normalisation | None) -> None:
        self._arrays, self._normalisation = dict(arrays), normalisation
        self._idle: dict[bool, list[Any]] = {False: [], True: []}

    def __reduce__(self) -> tuple[type[TiledGraph], tuple[dict[str, Floats], Normalisation | None]]:
        """Compiled graphs stay in their process."""
        return TiledGraph, (self._arrays, self._normalisation)

    def run(self, *planes: NDArray[Any], crop: int) -> Floats:
        """Map a window.

        Args:
            planes: Digital numbers [9, h, w] and their validity [1, h, w]; or, of a graph without normalisation,
                normalised values [9, h, w] alone.
            crop: Pixels to leave out of the result on each side, even.

        Returns:
            Probabilities [9, h - 2*crop, w - 2*crop].
        """
        height, width = planes[0].shape[1:]
        out = np.empty((CLASSES, height - 2 * crop, width - 2 * crop), np.float32)
        for rows, cols in product(_spans(height, crop), _spans(width, crop)):
            masks = None if rows.inside and cols.inside else _masks(rows, cols)
            with self._request(masked=masks is not None) as request:
                for number, plane in enumerate(planes):
                    tensor = request.get_input_tensor(number).data
                    if masks is not None:
                        tensor[...] = 0
                    tensor[0, :, rows.filled, cols.filled] = plane[:, rows.read, cols.read]
                for number, mask in enumerate(masks or (), len(planes)):
                    request.get_input_tensor(number).data[...] = mask
                request.infer()
                result = request.get_output_tensor().data[0]
                out[:, rows.written, cols.written] = result[:, : rows.shown, : cols.shown]
        return out

    @contextmanager
    def _request(self, *, masked: bool) -> Iterator[Any]:
        """A request that no other thread uses meanwhile."""
        try:
            request = self._idle[masked].pop()
        except IndexError:
            model = build(self._arrays, self._normalisation, masked=masked)
            request = _core().compile_model(model, "CPU", _SETTINGS).create_infer_request()
        yield request
        self._idle[masked].append(request)


@dataclass(frozen=True)
class _Span:
    """Where a tile lies along one axis of its window.

    Args:
        start: First pixel of its output, in the window.
        size: Pixels of the window.
        crop: Pixels that the result leaves out on each side.
    """

    start: int
    size: int
    crop: int

    @property
    def origin(self) -> int:
        """First pixel of its input, in the window; negative before it."""
        return self.start - RECEPTIVE_FIELD

    @property
    def inside(self) -> bool:
        """Whether its whole input lies in the window."""
        return self.origin >= 0 and self.origin + IN_SIDE <= self.size

    @property
    def read(self) -> slice:
        """Its input that the window has, in the window."""
        return slice(max(0, self.origin), min(self.size, self.origin + IN_SIDE))

    @property
    def filled(self) -> slice:
        """The same, in the tile."""
        return slice(self.read.start - self.origin, self.read.stop - self.origin)

    @property
    def shown(self) -> int:
        """Pixels of its output that the result has."""
        return min(TILE, self.size - self.crop - self.start)

    @property
    def written(self) -> slice:
        """The same, in the result."""
        return slice(self.start - self.crop, self.start - self.crop + self.shown)


def _spans(size: int, crop: int) -> list[_Span]:
    """Tiles that cover an axis; the last is moved back into the result, where that is long enough."""
    last = max(crop, size - crop - TILE)
    return [_Span(min(start, last), size, crop) for start in range(crop, size - crop, TILE)]


class _Masks(NamedTuple):
    """What the masked graph knows of its tile's place in the window.

    Args:
        stem: [298, 298], 1 inside the window, else 0.
        half: [148, 148], likewise, of the halved grid after the antialiasing.
        gain: [148, 148], what the antialiasing's sum is multiplied by: at the border the weights of the pixels that
            exist are scaled to sum to 1.
        rows: [130] rows of the last layer: those beyond the window repeat its border.
        cols: [130] columns, likewise.
    """

    stem: Any
    half: Any
    gain: Any
    rows: Any
    cols: Any


def _masks(rows: _Span, cols: _Span) -> _Masks:
    """Its values for a tile."""
    axes = [_axis_masks(span) for span in (rows, cols)]
    stem, half, gain = (np.multiply.outer(*pair) for pair in list(zip(*axes, strict=True))[:3])
    return _Masks(stem, half, gain, axes[0][3], axes[1][3])


def _axis_masks(span: _Span) -> tuple[NDArray[Any], ...]:
    """Along one axis: stem, half, gain, and positions in the last layer."""
    end = span.size // 2 - 1
    stem = np.arange(_STEM_SIDE) + span.origin + 1  # positions in the window
    half = np.arange(_HALF_SIDE) + span.origin // 2 + 1  # positions in its halved grid
    last = half[_LOST:-_LOST]
    gain = np.where(np.isin(half, (0, end)), 8 / 7, 1).astype(np.float32)
    return (stem >= 0) & (stem < span.size), (half >= 0) & (half <= end), gain, last.clip(0, end) - last[0]


def build(arrays: Mapping[str, Floats], normalisation: Normalisation | None, *, masked: bool) -> Any:
    """Make the graph of a tile.

    Args:
        arrays: As `TiledGraph`.
        normalisation: Likewise.
        masked: Whether further inputs say where the tile leaves its window.

    Returns:
        An ``openvino.Model``.
    """
    ov = _openvino()
    op = ov.opset13
    inputs, x = _input(op, normalisation)
    masks = _mask_inputs(op) if masked else None
    layers = _Layers(op, arrays, masks.half if masks is not None else None)

    stem = layers.mish(x, "stem")
    taps = (np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64).astype(np.float32)
    antialias = np.broadcast_to(taps, (STEM, 1, 4, 4))
    half = layers.convolution(stem if masks is None else op.multiply(stem, masks.stem), antialias, stride=2)
    if masks is not None:
        half = op.multiply(half, masks.gain)
    trunk = layers.block(layers.block(half, "b1", 0), "b2", 3)
    side = layers.separable(layers.trim(half, 5), "side_pw", "side_dw", 5)
    features = layers.block(op.concat([trunk, side], 1), "b3", 6)
    if masks is not None:
        for axis, positions in ((2, masks.rows), (3, masks.cols)):
            features = op.gather(features, positions, op.constant(axis))

    logits = layers.upsample(layers.convolution(features, arrays["head.weight"]))
    length = op.reduce_l2(layers.upsample(features), op.constant([1]), keep_dims=True)
    logits = op.divide(logits, op.maximum(length, op.constant(np.float32(NORM_EPSILON**0.5))))
    logits = op.add(logits, op.constant(arrays["head.bias"][:, None, None]))
    inputs += masks or ()
    return ov.Model([layers.trim(op.softmax(logits, 1), 2)], inputs, "dynamic-world")


def _input(op: Any, normalisation: Normalisation | None) -> tuple[list[Any], Any]:
    """The inputs that `TiledGraph.run` calls planes, and the normalised values [1, 9, 300, 300]."""
    pixels = op.parameter([1, BANDS, IN_SIDE, IN_SIDE], np.float32)
    if normalisation is None:
        return [pixels], pixels
    valid = op.parameter([1, 1, IN_SIDE, IN_SIDE], np.bool_)
    scale, offset = (op.constant(values[:, None, None]) for values in normalisation)
    x = op.multiply(op.relu(pixels), op.constant(np.float32(LOG_GAIN)))
    x = op.log(op.add(x, op.constant(np.float32(1))))
    x = op.sigmoid(op.add(op.multiply(x, scale), offset))
    return [pixels, valid], op.select(valid, x, op.constant(np.float32(0)))


def _mask_inputs(op: Any) -> _Masks:
    half, gain = (op.parameter([_HALF_SIDE, _HALF_SIDE], np.float32) for _ in range(2))
    rows, cols = (op.parameter([_LAST_SIDE], np.int64) for _ in range(2))
    return _Masks(op.parameter([_STEM_SIDE, _STEM_SIDE], np.float32), half, gain, rows, cols)


class _Layers:
    """Writes layers without padding.

    Args:
        op: OpenVINO's operations.
        arrays: As `TiledGraph`.
        half: What the outputs of pointwise layers are multiplied by before a 3x3 layer; None: nothing.
    """

    def __init__(self, op: Any, arrays: Mapping[str, Floats], half: Any) -> None:
        self._op, self._arrays, self._half = op, arrays, half

    def convolution(self, x: Any, weight: Floats, stride: int = 1) -> Any:
        """Convolution [out, in, kh, kw], or a depthwise one where ``in`` is 1."""
        depthwise = weight.shape[1] == 1
        operation = self._op.group_convolution if depthwise else self._op.convolution
        weights = self._op.constant(np.ascontiguousarray(weight[:, None] if depthwise else weight))
        return operation(x, weights, [stride, stride], [0, 0], [0, 0], [1, 1])

    def mish(self, x: Any, name: str) -> Any:
        """Mish of a convolution and its bias."""
        bias = self._op.constant(self._arrays[f"{name}.bias"][:, None, None])
        return self._op.mish(self._op.add(self.convolution(x, self._arrays[f"{name}.weight"]), bias))

    def trim(self, x: Any, margin: int) -> Any:
        """The map without a margin on each side."""
        bounds = ([margin, margin], [-margin, -margin], [1, 1], [-2, -1])
        return self._op.slice(x, *map(self._op.constant, bounds)) if margin else x

    def separable(self, x: Any, pointwise: str, depthwise: str, lost: int) -> Any:
        """A pointwise layer, then a 3x3 depthwise one; ``lost``: pixels of the halved grid before it, a side."""
        y = self.mish(x, pointwise)
        if self._half is not None:
            y = self._op.multiply(y, self.trim(self._half, lost))
        return self.mish(y, depthwise)

    def block(self, x: Any, name: str, lost: int) -> Any:
        """A skip layer + (pointwise, depthwise) three times; ``lost`` as `separable`."""
        y = x
        for n in range(3):
            y = self.separable(y, f"{name}_pw{n + 1}", f"{name}_dw{n + 1}", lost + n)
        return self._op.add(self.mish(self.trim(x, 3), f"{name}_skip"), y)

    def upsample(self, x: Any) -> Any:
        """Twice the side, bilinear."""
        scales, axes = self._op.constant(np.full(2, 2, np.float32)), self._op.constant([2, 3])
        return self._op.interpolate(
            x, scales, "linear_onnx", "scales", coordinate_transformation_mode="half_pixel", axes=axes
        )


@cache
def _core() -> Any:
    return _openvino().Core()


@cache
def _openvino() -> Any:
    """The library, imported so that it reports nothing.

    ``import openvino`` sends an event to its makers by way of the package ``openvino_telemetry``, which its wheel
    requires; where that package cannot be imported, OpenVINO's own stub takes its place.
    """
    modules: dict[str, Any] = sys.modules
    name = "openvino_telemetry"
    blocked = name not in modules
    if blocked:
        modules[name] = None  # what the import system takes for a package that does not exist
    try:
        import openvino  # noqa: PLC0415  (only where the net runs: 0.13 s and 20 MB)
    finally:
        if blocked:
            del modules[name]
    return openvino
