"""Entries of the ledger: a record of a tile that is done, a failure of an attempt that is not; small JSON files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, field_validator

from eopipe.canonical_json import canonical_json, digest
from eopipe.errors import DamageError, OutputError, one_line
from eopipe.redact import redact
from eopipe.run_folder import Key, OutputFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from eopipe.errors import TileFault

VERSION = 1
"""Version of the record's form; a reader refuses any other."""

REMEDY = "run again, which does the tile anew"

_DETAIL_CHARACTERS = 500

Status = Literal["done", "empty", "masked"]


class _Entry(BaseModel, extra="forbid", frozen=True, ser_json_inf_nan="null"):
    version: Literal[1] = 1
    tile: str
    inputs: str

    @property
    def key(self) -> Key:
        """Tile and inputs."""
        return Key(self.tile, self.inputs)

    def to_bytes(self) -> bytes:
        """JSON with sorted keys, and the digest by which damage is found."""
        body = self.model_dump(mode="json")
        return canonical_json({**body, "digest": _digest(body)}, ascii_only=True, finite=True)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Self:
        """Parse an entry.

        Raises:
            DamageError: It is empty, cut off, or not what was written.
            OutputError: It is of another version.
        """
        try:
            body = json.loads(data)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise DamageError(f"{where} is damaged: its {len(data)} bytes are no JSON object; {REMEDY}")
        stated = body.pop("digest", None)
        if (version := body.get("version")) not in {VERSION, None}:
            raise OutputError(
                f"{where} has version {version!r}, and this eopipe reads {VERSION}; use the eopipe that wrote it"
            )
        if stated != _digest(body):
            raise DamageError(f"{where} is damaged: its digest is not that of its content; {REMEDY}")
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise DamageError(f"{where} is damaged: {key}: {first['msg']}; {REMEDY}") from None


class Record(_Entry, frozen=True):
    """What a tile's task did, once it was done.

    Args:
        tile: Tile name.
        inputs: Hash of the tile's inputs (hex).
        status: ``done``, ``empty`` (no scene covers it) or ``masked`` (no valid pixel).
        attempts: Attempts it took, the successful one included.
        seconds: Stage name to seconds.
        bytes_read: Bytes read from the assets (estimate of the reader).
        scenes: Row numbers of the snapshot.
        checksums: Array name (``label``, ``label/1`` …) to the hex checksum of its decoded values.
        histogram: Code to number of pixels inside the area.
        files: Asset name to file.
        lacks: Epochs of which no scene meets the tile, where a run compares several: why it is ``empty``.
        figures: The kernel's own quality figures, such as how far two dates lie apart, in pixels.
        device: Instruction set or device; no host name.
        started: UTC.
        finished: UTC.
    """

    status: Status
    attempts: int = Field(default=1, ge=1)
    seconds: dict[str, float] = Field(default_factory=dict)
    bytes_read: int = Field(default=0, ge=0)
    scenes: tuple[int, ...] = ()
    checksums: dict[str, str] = Field(default_factory=dict)
    histogram: dict[int, int] = Field(default_factory=dict)
    files: dict[str, OutputFile] = Field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    figures: dict[str, float] = Field(default_factory=dict)
    device: str = ""
    started: datetime
    finished: datetime


class Failure(_Entry, frozen=True):
    """Why one attempt at a tile failed.

    Args:
        tile: Tile name.
        inputs: Hash of the tile's inputs (hex).
        attempt: Number of the attempt; :meth:`Ledger.fail` gives the next free one.
        reason: Code such as ``read.http_429`` or ``worker.killed``.
        stage: Where it stopped: ``read``, ``kernel``, ``write`` …
        detail: One line for people; query strings and user names of URLs are cut out, so no token is kept.
        time: UTC.
    """

    attempt: int = Field(default=1, ge=1)
    reason: str
    stage: str
    detail: str = ""
    time: datetime

    @classmethod
    def of(cls, key: Key, fault: TileFault, stage: str, *, attempt: int = 1) -> Self:
        """Why a task failed just now.

        Args:
            key: Of the task.
            fault: What stopped it.
            stage: Where it stopped.
            attempt: Its number, if it is known.
        """
        return cls(
            tile=key.tile,
            inputs=key.inputs,
            attempt=attempt,
            reason=fault.reason,
            stage=stage,
            detail=fault.detail,
            time=datetime.now(UTC),
        )

    @field_validator("detail")
    @classmethod
    def _safe(cls, text: str) -> str:
        line = redact(one_line(text), queries=False)
        return line if len(line) <= _DETAIL_CHARACTERS else f"{line[: _DETAIL_CHARACTERS - 1]}…"


@dataclass(frozen=True)
class Outcome:
    """Where tiles stand now.

    Args:
        keys: Of all tiles.
        records: Of what is done.
        failures: The last failure of each that is not.
    """

    keys: Collection[Key]
    records: Mapping[Key, Record]
    failures: Mapping[Key, Failure]

    def status(self, key: Key) -> str:
        """``done``, ``empty``, ``masked``, ``failed`` or ``not run``."""
        if key in self.records:
            return self.records[key].status
        return "failed" if key in self.failures else "not run"

    @property
    def counts(self) -> dict[str, int]:
        """Tiles by status, always all five."""
        counts = Counter(self.status(key).replace(" ", "_") for key in self.keys)
        return {name: counts[name] for name in ("done", "empty", "masked", "failed", "not_run")}


def total_histogram(records: Iterable[Record]) -> Counter[int]:
    """Pixels inside the area by code, over all of these tiles."""
    total: Counter[int] = Counter()
    for record in records:
        total.update(record.histogram)
    return total


def _digest(body: dict[str, Any]) -> str:
    return digest(body, ascii_only=True, finite=True)[:16]
