"""What this machine, or the container that we run in, offers: memory, and a device to compute on."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import psutil
import torch

_GIB = 2**30


def memory_limit(cgroups: Path = Path("/sys/fs/cgroup"), me: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes that this process and its children may use: the machine's memory, or less by a cgroup (v1, v2).

    Every ancestor's limit counts: in a systemd slice or a SLURM step the limit stands above the process's own group.
    """
    limits = [psutil.virtual_memory().total]
    for group in _groups(cgroups, me):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (group / name).read_text(encoding="ascii").strip()
            except OSError:  # this kind of cgroup has no such file
                continue
            if text.isdigit():  # v2 says "max" for none
                limits.append(int(text))
    return min(limits)


def memory_a_worker(workers: int, total: int | None = None) -> int:
    """Bytes for each of ``workers``, after a tenth (1 GiB at most) is left to the driver and the scheduler."""
    whole = memory_limit() if total is None else total
    return (whole - min(_GIB, whole // 10)) // workers


def process_memory() -> int:
    """Bytes resident in this process now."""
    return int(psutil.Process().memory_info().rss)


def choose_device() -> str:
    """``cuda`` where torch sees a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@cache
def device_label(device: str) -> str:
    """Such as ``cpu AVX512`` or ``cuda NVIDIA H200``; free of host names, so that it may stand in a record."""
    if device.startswith("cuda"):
        return f"cuda {torch.cuda.get_device_name()}"
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"


def _groups(cgroups: Path, me: Path) -> set[Path]:
    folders = {cgroups, cgroups / "memory"}
    try:
        lines = me.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return folders
    for line in lines:
        _, controllers, path = line.split(":", maxsplit=2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = cgroups / "memory" if controllers else cgroups
        group = root / path.lstrip("/")
        folders |= {group, *(parent for parent in group.parents if parent.is_relative_to(root))}
    return folders
