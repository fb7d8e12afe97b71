"""What this machine, or the container we run in, lets us have."""

from __future__ import annotations

from pathlib import Path

import psutil

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


def _groups(cgroups: Path, me: Path) -> set[Path]:
    found = {cgroups, cgroups / "memory"}
    try:
        lines = me.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return found
    for line in lines:
        _, controllers, path = line.split(":", maxsplit=2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = cgroups / "memory" if controllers else cgroups
        group = root / path.lstrip("/")
        found |= {group, *(parent for parent in group.parents if parent.is_relative_to(root))}
    return found
