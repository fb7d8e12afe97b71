"""The joint bilateral upsamplers on the CPU: float32, fused, and from patches to cosines without a feature map.

Sources: FeatUp (arXiv 2403.10516), SimFeatUp (arXiv 2410.01768). Three exact rearrangements
make it some sixty times faster than the plain modules of `eopipe.models.upsample.jbu`:

* the channels are those of the window's own span (`eopipe.models.upsample.jbu_torch`), and because a product with the
  text commutes with the filters as well, every query is one more channel: no pixel is ever multiplied by the text;
* the bicubic resize, the reflected border and the mixing factors are folded into the filters, see `_jbu_rows`;
* filters, filtered features, their length and the cosines are made where they are used, in the caches.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch

from eopipe.errors import PlanError
from eopipe.models.upsample import _jbu_basis as basis
from eopipe.models.upsample import _jbu_keys as keys
from eopipe.models.upsample import _jbu_layout as layout
from eopipe.models.upsample import _jbu_rows as rows
from eopipe.models.upsample._jbu_layout import SourceGrid, StageWeights
from eopipe.models.upsample.jbu import MIXING
from eopipe.models.upsample.protocol import for_other_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float32]

BANDS = 4  # pieces of a stage to a thread: what one thread is late, the others make good
ROWS = 4  # of cells, below which handing a piece to a thread costs more than it brings
KEY_ROWS = 56  # of pixels, likewise for the keys
TEMPERATURES = (1e-4, 1e4)


class WindowSource(NamedTuple):
    """A window's source: features in a basis of their own, then the queries, then zeros.

    Attributes:
        source: [h*w, channels].
        rank: Channels that make a feature's length.
        constant: [channels], to add to every pixel.
        rest: What every feature has beside, along one more axis.
    """

    source: Floats
    rank: int
    constant: Floats
    rest: float


if TYPE_CHECKING:
    Last = Callable[[int, "_Bands", SourceGrid, StageWeights, WindowSource], None]


class JBUCpu:
    """Scores windows on the CPU (`Upsampler`), the same bytes for any number of threads and any batch.

    Args:
        weights: By the published state-dict names, without ``upsampler.``.
        threads: How many bands of pixel rows are worked on at once.

    Attributes:
        name: ``jbu_one`` or ``jbu_stack``, by the names of the weights.
        channels: C, which the weights fix.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32] | Tensor], *, threads: int) -> None:
        arrays = {name: np.asarray(value, np.float32) for name, value in weights.items()}
        self.name = "jbu_one" if "up.range_temp" in arrays else "jbu_stack"
        self.threads = threads
        prefixes = ["up"] if self.name == "jbu_one" else [f"up{n}" for n in (1, 2, 3, 4)]
        self._stages = [_pack(arrays, prefix) for prefix in prefixes]
        last = arrays["fixup_proj.1.weight"]
        self.channels = len(last)
        whole = np.eye(self.channels) + MIXING * last.reshape(self.channels, -1).astype(np.float64)
        self._mixing = basis.pack_rows(whole.astype(np.float32))
        self._bias = np.float32(MIXING) * arrays["fixup_proj.1.bias"]
        self._spare: list[_Workspace] = []

    @torch.no_grad()
    def score(self, patches: Tensor, guidance: Tensor, text: Tensor) -> Tensor:
        """As `Upsampler.score`."""
        batch, _, height, width = guidance.shape
        out = np.empty((batch, height, width, text.shape[0]), np.float32)

        def last(n: int, bands: _Bands, grid: SourceGrid, stage: StageWeights, window: WindowSource) -> None:
            bands.run(rows.score, grid.height, grid, stage, window.rank, window.constant, window.rest, out[n])

        self._each(patches, guidance, text, last)
        return torch.from_numpy(out)

    @torch.no_grad()
    def upsample(self, patches: Tensor, guidance: Tensor) -> Tensor:
        """Make the features themselves by the same kernels, every channel a query: for tests, none else needs them.

        Args:
            patches: [B, C, h, w].
            guidance: [B, 3, H, W].

        Returns:
            [B, C, H, W].
        """
        batch, _, height, width = guidance.shape
        out = np.empty((batch, self.channels, height, width), np.float32)

        def last(n: int, bands: _Bands, grid: SourceGrid, stage: StageWeights, window: WindowSource) -> None:
            pixels = np.empty((height, width, grid.channels), np.float32)
            bands.run(rows.double, grid.height, grid, stage, 0, pixels.reshape(-1))
            features = slice(window.rank, window.rank + self.channels)
            out[n] = (pixels[:, :, features] + window.constant[features]).transpose(2, 0, 1)

        self._each(patches, guidance, torch.eye(self.channels), last)
        return torch.from_numpy(out)

    def memory(self, windows: int, side: int, channels: int, queries: int) -> int:
        """As `Upsampler.memory`: one window's, however many there are; it is kept for the next call."""
        del windows
        values = 0
        doublings = 4
        vectors = layout.whole_channels(min(channels, (side >> doublings) ** 2 + 1) + queries)
        for n in range(doublings):
            cells = (side >> (doublings - n)) + 16
            values += cells * cells * (vectors + 4 * (layout.KEYS + layout.COLOURS))
        scratch = self.threads * BANDS * layout.STEP * (6 * 12 * 12 + vectors)
        return 4 * (values + scratch + 4 * channels * vectors)

    def _plan(self, patches: Tensor, guidance: Tensor) -> list[StageWeights]:
        """The stages from patches to pixels, the shapes checked."""
        (_, channels, h, w), (height, width) = patches.shape, guidance.shape[2:]
        if channels != self.channels:
            raise for_other_channels(self.name, self.channels, channels)
        ratio = height // h
        stages = self._stages * (ratio.bit_length() - 1) if self.name == "jbu_one" else self._stages
        if (height, width) != (ratio * h, ratio * w) or ratio < 2 or ratio != 1 << len(stages):
            raise PlanError(
                f"upsampler {self.name} cannot make {height} x {width} pixels of {h} x {w} patches; take an encoder"
                " with patches of 16, or upsampler anyup or bilinear"
            )
        radius = stages[0].radius
        if 2 * min(h, w) <= radius:
            raise PlanError(
                f"a window of {height} x {width} is too small for upsampler {self.name}, whose filters reflect"
                f" {radius} pixels; take sides of at least {(radius // 2 + 1) * ratio}"
            )
        return stages

    def _each(self, patches: Tensor, guidance: Tensor, text: Tensor, last: Last) -> None:
        """Take every window to the last stage's source, and call ``last`` with it."""
        stages = self._plan(patches, guidance)
        queries, packed = text.shape[0], basis.pack_rows(text.float().numpy())
        with _Bands(self.threads) as bands:
            work = self._workspace(stages, (patches.shape[2], patches.shape[3]))
            for n in range(len(patches)):
                columns = patches[n].float().flatten(1).contiguous().numpy()
                window = work.begin(bands, guidance[n], partial(self._window, columns, packed, queries))
                last(n, bands, work.advance(bands, window), stages[-1], window)
            self._spare.append(work)

    def _workspace(self, stages: list[StageWeights], patches: tuple[int, int]) -> _Workspace:
        """A caller's own arrays: those of an earlier call, since fresh memory costs a tenth of a window's time."""
        try:
            work = self._spare.pop()
        except IndexError:
            return _Workspace(stages, patches)
        return work if work.sizes[0] == patches and len(work.sizes) == len(stages) else _Workspace(stages, patches)

    def _window(self, columns: Floats, text: Floats, queries: int) -> WindowSource:
        """The window in its own basis, from its patches [C, h*w] and the packed text."""
        rank = min(columns.shape)
        channels = layout.whole_channels(rank + queries)
        source, constant = np.empty((columns.shape[1], channels), np.float32), np.empty(channels, np.float32)
        rest = basis.factor(columns, self._mixing, self._bias, text, queries, channels, source, constant)
        return WindowSource(source, rank, constant, rest)


def warm_up() -> None:
    """Compile all kernels, for any weights and sizes, where the cache on disk does not have them (ten seconds)."""
    channels, keys_, radius = 4, layout.KEYS, 3
    area = (2 * radius + 1) ** 2
    layers = {"range_proj.0": (keys_, 3), "range_proj.3": (keys_, keys_)}
    layers |= {"fixup_proj.0": (area, area + 3), "fixup_proj.3": (area, area)}
    shapes: dict[str, tuple[int, ...]] = {
        "fixup_proj.1.weight": (channels, channels),
        "fixup_proj.1.bias": (channels,),
    }
    for n in (1, 2, 3, 4):
        shapes |= {f"up{n}.range_temp": (), f"up{n}.sigma_spatial": ()}
        for name, shape in layers.items():
            shapes |= {f"up{n}.{name}.weight": shape, f"up{n}.{name}.bias": shape[:1]}
    upsampler = JBUCpu({name: np.ones(shape, np.float32) for name, shape in shapes.items()}, threads=1)
    upsampler.score(torch.zeros(1, channels, 2, 2), torch.zeros(1, 3, 32, 32), torch.zeros(1, channels))


class _Bands:
    """Runs kernels over bands of rows, on the calling thread or on a pool's."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool: Any = ThreadPoolExecutor(threads) if threads > 1 else nullcontext()

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        self._pool.__exit__(*reason)

    def start(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function, now or on the pool."""
        if self.threads > 1:
            future: Future[Any] = self._pool.submit(function, *arguments)
            return future
        done: Future[Any] = Future()
        done.set_result(function(*arguments))
        return done

    def split(self, kernel: Callable[..., None], size: int, least: int, *arguments: Any) -> list[Future[Any]]:
        """Start a kernel on all rows from 0 to ``size``, in bands of ``least`` rows or more."""
        pieces = max(1, min(size // least, BANDS * self.threads)) if self.threads > 1 else 1
        cuts = [size * n // pieces for n in range(pieces + 1)]
        return [self.start(kernel, low, high, *arguments) for low, high in pairwise(cuts)]

    def run(self, kernel: Callable[..., None], size: int, *arguments: Any) -> None:
        """Run a kernel on all rows from 0 to ``size``."""
        for future in self.split(kernel, size, ROWS, *arguments):
            future.result()


class _Workspace:
    """The arrays of a window's stages, used again for the next window."""

    def __init__(self, stages: list[StageWeights], patches: tuple[int, int]) -> None:
        self.stages = stages
        self.half = [layout.half_window(stage.radius) for stage in stages]
        self.sizes = [(patches[0] << n, patches[1] << n) for n in range(len(stages))]
        self.pitch = [layout.pitch(w, stage.radius) for (_, w), stage in zip(self.sizes, stages, strict=True)]
        shapes = list(zip(self.sizes, self.pitch, strict=True))
        self.colours = [_empty(2 * h, 2, layout.COLOURS, pitch) for (h, _), pitch in shapes]
        self.keys = [_empty(2 * h, 2, layout.KEYS, pitch) for (h, _), pitch in shapes]
        for (_, w), colours in zip(self.sizes, self.colours, strict=True):
            colours[:, :, :3, w:] = 0
            colours[:, :, 3] = 1
        self.sources: list[Floats] = []

    def begin(self, bands: _Bands, guidance: Tensor, factor: Callable[[], WindowSource]) -> WindowSource:
        """Make the keys of all stages, and meanwhile the window's basis."""
        window = bands.start(factor)
        waiting = []
        image = guidance.float().contiguous().numpy()
        for n in reversed(range(len(self.sizes))):
            arguments = self._grid(n, _NOTHING), self.stages[n], image
            waiting += bands.split(keys.keys, 2 * self.sizes[n][0], KEY_ROWS, *arguments)
            image = _halved(image)
        for future in waiting:
            future.result()
        result: WindowSource = window.result()
        return result

    def advance(self, bands: _Bands, window: WindowSource) -> SourceGrid:
        """Double the source up to the last stage; what that one works on is returned."""
        channels = window.source.shape[1]
        if not self.sources or self.sources[0].shape[2] != channels:
            self.sources = [
                _empty(h + 2 * half, w + 2 * half, channels)
                for (h, w), half in zip(self.sizes, self.half, strict=True)
            ]
        half = self.half[0]
        inside = self.sources[0][half:-half, half:-half]
        inside[:] = window.source.reshape(inside.shape)
        for n, source in enumerate(self.sources):
            _repeat_border(source, self.half[n])
            if n + 1 < len(self.sources):
                target = self.sources[n + 1].reshape(-1)
                grid = self._grid(n, source)
                bands.run(rows.double, grid.height, grid, self.stages[n], self.half[n + 1], target)
        return self._grid(len(self.sources) - 1, self.sources[-1])

    def _grid(self, n: int, source: Floats) -> SourceGrid:
        height, width = self.sizes[n]
        flat = source.reshape(-1)
        colours, keys = self.colours[n].reshape(-1), self.keys[n].reshape(-1)
        return SourceGrid(height, width, self.pitch[n], colours, keys, source.shape[-1], flat)


_NOTHING = np.zeros((1, 1, 1), np.float32)


def _empty(*shape: int) -> Floats:
    """Uninitialised memory that begins a cache line."""
    size = int(np.prod(shape))
    memory = np.empty(size + 16, np.float32)
    skip = -(memory.ctypes.data // 4) % 16
    return memory[skip : skip + size].reshape(shape)


def _halved(image: Floats) -> Floats:
    """Means of 2 x 2 pixels of [3, height, width]; of those again they are the adaptive average pool's."""
    quarters = image[:, ::2, ::2] + image[:, ::2, 1::2] + image[:, 1::2, ::2] + image[:, 1::2, 1::2]
    return np.float32(0.25) * quarters


def _repeat_border(image: Floats, margin: int) -> None:
    """Repeat the outermost pixels into the margin of [height, width, channels]."""
    image[margin:-margin, :margin] = image[margin:-margin, margin : margin + 1]
    image[margin:-margin, -margin:] = image[margin:-margin, -margin - 1 : -margin]
    image[:margin] = image[margin]
    image[-margin:] = image[-margin - 1]


def _pack(arrays: Mapping[str, Floats], prefix: str) -> StageWeights:
    """Arrange one stage's published weights for the kernels.

    Args:
        arrays: By state-dict name.
        prefix: The stage's, such as ``up1``.

    Returns:
        The stage, with the range's temperature and the mixing factor in its weights.
    """

    def layer(name: str, rows: int, factor: float = 1.0) -> Floats:
        weight, bias = (arrays[f"{prefix}.{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        return _tiles(factor * weight, factor * bias, rows)

    side = round(arrays[f"{prefix}.fixup_proj.3.weight"].shape[0] ** 0.5)
    temperature = float(np.clip(np.exp(float(arrays[f"{prefix}.range_temp"])), *TEMPERATURES))
    sigma = float(arrays[f"{prefix}.sigma_spatial"])
    line = np.linspace(-1, 1, side)
    spatial = np.exp(-(line[:, None] ** 2 + line**2) / (2 * sigma**2))
    return StageWeights(
        (side - 1) // 2,
        layer("range_proj.0", layout.KEY_ROWS),
        layer("range_proj.3", layout.KEY_ROWS, temperature**0.5),
        spatial.astype(np.float32).reshape(-1),
        layer("fixup_proj.0", side),
        layer("fixup_proj.3", side, MIXING),
    )


def _tiles(weight: NDArray[np.float64], bias: NDArray[np.float64], rows: int) -> Floats:
    """A 1x1 convolution [out, in, 1, 1] with its bias → flat [out/rows, in + 1, rows]."""
    matrix = np.concatenate([weight.reshape(len(bias), -1), bias[:, None]], axis=1)
    packed = matrix.reshape(-1, rows, matrix.shape[1]).transpose(0, 2, 1)
    return np.ascontiguousarray(packed, np.float32).reshape(-1)
