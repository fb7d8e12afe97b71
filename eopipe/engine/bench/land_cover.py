"""``eopipe bench land-cover``: the shipped form of Dynamic World against the plain module of its net."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eopipe.engine.bench import median_seconds
from eopipe.engine.cluster.resources import choose_device, device_label
from eopipe.grid import CELL
from eopipe.models.dynamicworld.net import GFLOP_PER_PIXEL, HALO, TorchDynamicWorld, load_dynamic_world
from eopipe.models.registry import DYNAMIC_WORLD
from eopipe.models.weights import load_arrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def bench(*, rounds: int) -> dict[str, Any]:
    """Time a window; medians of interleaved rounds on one thread.

    Args:
        rounds: Timed rounds of each form, after one that warms up.

    Returns:
        Seconds a window of 512², km²/h at the model's own resolution, the ratio to the plain float32 module on
        the same device, the largest difference of a probability, and the share of equal labels.
    """
    torch.set_num_threads(1)
    device = choose_device()
    pixels, valid = _window()
    forms: dict[str, Callable[[], NDArray[np.float32]]] = {
        "shipped": lambda: shipped(pixels, valid, crop=HALO),
        "plain": lambda: plain(pixels, valid, crop=HALO),
    }
    shipped = load_dynamic_world("float32", device=device)
    plain = TorchDynamicWorld(load_arrays(DYNAMIC_WORLD.weights), device=device)
    maps = {name: form() for name, form in forms.items()}
    median = median_seconds(forms, rounds)
    km2 = (CELL * DYNAMIC_WORLD.gsd / 1000) ** 2
    return {
        "kernel": "land-cover",
        "device": device_label(device),
        "processor": platform.processor() or platform.machine(),
        "threads": 1,
        "window_seconds": round(median["shipped"], 4),
        "plain_seconds": round(median["plain"], 4),
        "speedup_vs_plain": round(median["plain"] / median["shipped"], 2),
        "gflop_per_window": round(GFLOP_PER_PIXEL * (CELL + 2 * HALO) ** 2, 1),
        "km2_per_hour_a_worker": round(km2 / median["shipped"] * 3600),
        "max_probability_error": float(np.abs(maps["shipped"] - maps["plain"]).max()),
        "equal_labels": float((maps["shipped"].argmax(0) == maps["plain"].argmax(0)).mean()),
    }


def _window() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Seeded pixels of reflectance x 10000, smooth as a scene is."""
    rng = np.random.default_rng(0)
    side = CELL + 2 * HALO
    coarse = rng.uniform(200, 4000, (9, side // 16 + 1, side // 16 + 1))
    smooth = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :side, :side]
    pixels = (smooth + rng.normal(0, 80, smooth.shape)).clip(1, 10000)
    return pixels.astype(np.float32), np.ones((side, side), dtype=bool)
