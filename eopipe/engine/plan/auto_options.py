"""Options that depend on what the search found: chosen by the kernel from the sensors, then frozen with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe.cube.sensors import sensor_of
from eopipe.kernels.protocol import Settling

if TYPE_CHECKING:
    from eopipe.kernels.protocol import Kernel
    from eopipe.snapshot import Snapshot

UNKNOWN = "unknown"
"""Stands for scenes that no table of sensors knows."""

KINDS = 500
"""At most so many items are looked at, each of another kind."""

_CODE = 4
"""Letters of an id that tell a mission: ``LC08``, ``LE07``, ``S2A_``."""


def sensors_of(snapshot: Snapshot) -> tuple[str, ...]:
    """Names of the sensors of a snapshot's scenes, sorted.

    One item of each kind is looked at (of each collection, level and mission): a snapshot may hold 100,000.
    """
    index = snapshot.index
    kinds: dict[tuple[Any, ...], int] = {}
    columns = (index.column(name).to_pylist() for name in ("collection", "level", "id"))
    for row, (collection, level, identifier) in enumerate(zip(*columns, strict=True)):
        kinds.setdefault((collection, level, identifier[:_CODE]), row)
    found = [sensor_of(item) for item in snapshot.items(list(kinds.values())[:KINDS])]
    return tuple(sorted({sensor.name if sensor is not None else UNKNOWN for sensor in found}))


def settled(kernel: Kernel, snapshot: Snapshot) -> tuple[dict[str, Any], list[str]]:
    """What a kernel settles for these scenes: option to value, and a line for each; nothing where all is said.

    Raises:
        PlanError: The sensors ask for different values.
    """
    if not isinstance(kernel, Settling):
        return {}, []
    sensors = sensors_of(snapshot)
    changes = dict(kernel.settle(sensors))
    said = [f"{name} {kernel.info.options[name]}: {value} was taken for {', '.join(sensors)}"
            for name, value in changes.items()]  # fmt: skip
    return changes, said
