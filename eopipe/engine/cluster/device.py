"""What a worker computes on: a device name and the instruction set that bytes are promised for."""

from __future__ import annotations

from functools import cache

import torch


@cache
def device_label(device: str) -> str:
    """Such as ``cpu AVX512`` or ``cuda NVIDIA H200``; host-free, so that it may stand in a record."""
    if device.startswith("cuda"):
        return f"cuda {torch.cuda.get_device_name()}"
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"


def choose_device() -> str:
    """``cuda`` where torch sees a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"
