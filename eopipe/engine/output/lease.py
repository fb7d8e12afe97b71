"""The lease: one run writes an output at a time.

The file names its owner and states until when it is held. A background thread renews it; every
change is a compare-and-swap, so of several that try, one wins. It is taken over

* when it expired :data:`MARGIN` seconds ago, or
* at once, when its owner ran on this machine (same host, boot and process namespace) and that
  process is gone. A process counts as the same only if its start time is the same too.

An owner that cannot renew in time stops by itself when the lease expires, before anyone may
take it over. **Clocks** of hosts that share an output must agree within :data:`MARGIN` (NTP keeps
them within milliseconds). Where they do not, a live lease may be taken over early: its old
owner finds out at its next renewal and stops. Even then nothing is spoilt, for tiles are
written whole, equal inputs give equal bytes, and a ledger record is never overwritten.

A released lease stays as a file marked ``released``: to delete it would be a race with the next
owner, for no store can delete "only if unchanged".
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from eopipe import run_folder
from eopipe.errors import LeaseError, OutputError

if TYPE_CHECKING:
    from eopipe.storage import Storage

logger = logging.getLogger(__name__)

VERSION = 1
TTL = 120.0
"""Seconds that a lease lasts unless renewed; it is renewed every quarter of this."""

MARGIN = 30.0
"""Seconds past its expiry before another may take a lease over: what clocks may differ by."""


@dataclass(frozen=True)
class Owner:
    """A process, identified so that another on the same machine can check whether it is alive.

    Args:
        id: Random; one a lease.
        host: Host name.
        boot: Boot id of the machine.
        namespace: Process namespace (containers on one machine have their own), empty where unknown.
        pid: Process id in that namespace.
        started: Start time of the process as the kernel states it, opaque.
    """

    id: str
    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def this_process(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(secrets.token_hex(8), socket.gethostname(), _boot(), _namespace(), pid, _start_time(pid) or "")

    def is_dead(self) -> bool:
        """Whether the owner is known to be gone; False where it ran on another machine: that cannot be checked."""
        if (self.host, self.boot, self.namespace) != (socket.gethostname(), _boot(), _namespace()):
            return False
        return _start_time(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (id {self.id})"


@dataclass(frozen=True)
class LeaseFile:
    """What ``lease.json`` holds. Times are seconds since 1970, UTC."""

    owner: Owner
    acquired: float
    expires: float
    released: bool = False

    def to_bytes(self) -> bytes:
        """JSON with times that people can read."""
        body = {
            "version": VERSION,
            "owner": asdict(self.owner),
            "acquired": _iso(self.acquired),
            "expires": _iso(self.expires),
            "released": self.released,
        }
        return json.dumps(body, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> LeaseFile | None:
        """Parse; None where the file is damaged (a lease without an owner is held by no process).

        Raises:
            LeaseError: Another version of eopipe wrote it.
        """
        try:
            body = json.loads(data)
            if (version := body["version"]) != VERSION:
                raise LeaseError(
                    f"{run_folder.LEASE} has version {version!r}, and this eopipe knows {VERSION}; "
                    f"use the newer eopipe"
                )
            return cls(
                Owner(**body["owner"]), _seconds(body["acquired"]), _seconds(body["expires"]), bool(body["released"])
            )
        except (ValueError, KeyError, TypeError):
            return None

    def free(self, now: float, margin: float) -> bool:
        """Whether another may take it over."""
        return self.released or now > self.expires + margin or self.owner.is_dead()


class Lease:
    """The right to write an output, held while the ``with`` block runs and renewed by a thread.

    Args:
        storage: The run's folder.
        ttl: Seconds that the lease lasts unless renewed.
        margin: Seconds that clocks of different hosts may differ by.
    """

    def __init__(self, storage: Storage, *, ttl: float = TTL, margin: float = MARGIN) -> None:
        self._storage = storage
        self._ttl = ttl
        self._margin = margin
        self._held: LeaseFile | None = None
        self._renewed = 0.0  # monotonic
        self._stop = threading.Event()
        self._lost_by = ""  # how it was lost; empty while it is not
        self._thread: threading.Thread | None = None

    @property
    def lost(self) -> bool:
        """Whether the lease was taken over or ran out: stop writing."""
        if not self._lost_by and self._ran_out():
            self._lost_by = "it ran out before it could be renewed; is the output reachable, was the machine asleep?"
        return bool(self._lost_by)

    def check(self) -> None:
        """Raise if the lease is lost.

        Raises:
            LeaseError: With the reason.
        """
        if self.lost:
            raise LeaseError(f"the lease on {self._storage.uri} is lost: {self._lost_by}; run again to resume")

    def acquire(self) -> Self:
        """Take the lease, and start to renew it.

        Raises:
            LeaseError: Another run holds the output; names its host, process and expiry.
            OutputError: The output cannot be read or written.
        """
        lease = self._fresh()
        if not self._storage.create(run_folder.LEASE, lease.to_bytes()):
            self._take_over(lease)
        self._hold(lease)
        self._lost_by = ""
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew_until_stopped, name="lease", daemon=True)
        self._thread.start()
        return self

    def release(self) -> None:
        """Give the lease back, if it is still ours; a second call does nothing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._ttl)  # a request that hangs must not hang the end of the run
            self._thread = None
        held, self._held = self._held, None
        if held is None:
            return
        try:
            current, version = self._read()
            if current is not None and current.owner.id == held.owner.id:
                self._storage.swap(run_folder.LEASE, replace(current, released=True).to_bytes(), version)
        except (FileNotFoundError, OutputError) as error:
            logger.warning("lease of %s not given back: %s; it expires by itself", self._storage.uri, error)

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _fresh(self) -> LeaseFile:
        now = time.time()
        return LeaseFile(Owner.this_process(), acquired=now, expires=now + self._ttl)

    def _hold(self, held: LeaseFile) -> None:
        self._held, self._renewed = held, time.monotonic()

    def _read(self) -> tuple[LeaseFile | None, str]:
        data, version = self._storage.get_versioned(run_folder.LEASE)
        return LeaseFile.from_bytes(data), version

    def _take_over(self, lease: LeaseFile) -> None:
        try:
            current, version = self._read()
        except FileNotFoundError:  # the file was deleted by hand between our two calls
            if self._storage.create(run_folder.LEASE, lease.to_bytes()):
                return
            current, version = self._read()
        if current is not None and current.owner.id == lease.owner.id:
            return  # our own first attempt, of which the answer was lost
        if current is not None and not current.free(time.time(), self._margin):
            raise self._refusal(current)
        if current is None:
            logger.warning("%s is damaged and names no owner; it is taken over", self._storage.url(run_folder.LEASE))
        elif not current.released:
            logger.warning("the lease of %s is taken over: it is dead or expired", current.owner)
        if not self._storage.swap(run_folder.LEASE, lease.to_bytes(), version):
            winner, _ = self._read()
            if winner is None or winner.owner.id != lease.owner.id:  # ours: an answer was lost and the write repeated
                raise self._refusal(winner)

    def _refusal(self, current: LeaseFile | None) -> LeaseError:
        if current is None:
            return LeaseError(f"{self._storage.uri}: another run has just taken the lease; wait for it to end")
        return LeaseError(
            f"{self._storage.uri} is held by {current.owner} until {_iso(current.expires)}, renewed while it runs; "
            f"wait for it to end, or stop it: a dead run's lease is free {self._margin:.0f} s after that time"
        )

    def _ran_out(self) -> bool:
        # Both clocks: the wall clock is what others judge by, and may be set back; the other does not count sleep.
        held = self._held
        return held is not None and (time.time() >= held.expires or time.monotonic() - self._renewed >= self._ttl)

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(self._ttl / 4):
            try:
                self._renew()
            except OutputError as error:
                logger.warning("lease of %s not renewed: %s; trying again", self._storage.uri, error)
            if self.lost:
                return

    def _renew(self) -> None:
        held = self._held
        if held is None or self._ran_out():
            return
        renewed = replace(held, expires=time.time() + self._ttl)
        try:
            current, version = self._read()
        except FileNotFoundError:
            self._lost_by = f"{run_folder.LEASE} was deleted"
            return
        if current is None or current.owner.id != held.owner.id:
            self._lost_by = f"{current.owner if current else 'another run'} took it over"
        elif self._storage.swap(run_folder.LEASE, renewed.to_bytes(), version):
            self._hold(renewed)
        # Else it changed between the two calls: the next round reads who has it; it runs out by itself otherwise.


def lease_state(storage: Storage, *, margin: float = MARGIN) -> str:
    """One line for people: ``free``, or who holds the lease and until when."""
    try:
        current = LeaseFile.from_bytes(storage.get(run_folder.LEASE))
    except FileNotFoundError:
        return "free"
    if current is None:
        return f"free ({run_folder.LEASE} is damaged)"
    if current.released:
        return f"free (last held by {current.owner})"
    if current.free(time.time(), margin):
        return f"free ({current.owner} is dead, or let it expire at {_iso(current.expires)})"
    return f"held by {current.owner} until {_iso(current.expires)}"


def _start_time(pid: int) -> str | None:
    """Start time of a living process; None where there is none, or only a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]  # ticks since boot: no clock change moves them
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return f"{process.create_time():.0f}"
    return None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(text: Any) -> float:
    return datetime.fromisoformat(text).timestamp()
