"""Progress: a live display in a terminal, plain lines elsewhere, nothing where it is told to be quiet."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from eopipe.engine.memory import gib

if TYPE_CHECKING:
    from eopipe.engine.plan import Plan
    from eopipe.engine.tile import TileReport
    from eopipe.snapshot import Snapshot
    from eopipe.stac.search import SearchReport

PLAIN_SECONDS = 10.0
"""Seconds between lines where there is no terminal."""


class Display(Protocol):
    """Who is told how a run goes."""

    def phase(self, name: str) -> None:
        """A phase begins."""
        ...

    def searching(self, items: int) -> None:
        """So many items have come."""
        ...

    def found(self, snapshot: Snapshot, report: SearchReport | None) -> None:
        """The snapshot is there; without a report it was resumed."""
        ...

    def planned(self, plan: Plan) -> None:
        """The plan is made."""
        ...

    def start(self, *, total: int, left: int, plan: Plan, dashboard: str | None) -> None:
        """Tiles begin."""
        ...

    def tile(self, report: TileReport) -> None:
        """A tile ended."""
        ...

    def note(self, line: str) -> None:
        """Something worth a line."""
        ...

    def done(self, summary: dict[str, Any]) -> None:
        """The run ended."""
        ...


class Quiet:
    """Says nothing: for ``--json`` and for programs."""

    def phase(self, name: str) -> None:
        """Nothing."""

    def searching(self, items: int) -> None:
        """Nothing."""

    def found(self, snapshot: Snapshot, report: SearchReport | None) -> None:
        """Nothing."""

    def planned(self, plan: Plan) -> None:
        """Nothing."""

    def start(self, *, total: int, left: int, plan: Plan, dashboard: str | None) -> None:
        """Nothing."""

    def tile(self, report: TileReport) -> None:
        """Nothing."""

    def note(self, line: str) -> None:
        """Nothing."""

    def done(self, summary: dict[str, Any]) -> None:
        """Nothing."""


class Rate:
    """Tiles, km², km²/h, time left and failures, as they stand."""

    def __init__(self, *, total: int, left: int, km2: float) -> None:
        self.total, self.ended, self.failed = total, total - left, 0
        self._before, self._km2 = total - left, km2 / max(total, 1)
        self._start = time.monotonic()

    def add(self, *, failed: bool) -> None:
        """Count a tile."""
        self.ended += 1
        self.failed += failed

    def line(self) -> str:
        """Such as ``48.2 km², 1,205 km²/h, 0:02:10 left, 1 failed``."""
        here, spent = self.ended - self._before, time.monotonic() - self._start
        text = f"{self.ended * self._km2:,.1f} km²"
        if here and spent > 0:
            left = (self.total - self.ended) * spent / here
            text += f", {here * self._km2 / spent * 3600:,.0f} km²/h, {hms(left)} left"
        return f"{text}, {self.failed} failed"


class Terminal:
    """Rich's live display where standard error is a terminal, else a plain line now and then."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._rate = Rate(total=0, left=0, km2=0)
        self._bar = Progress(
            TextColumn("[bold]tiles"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._task = self._bar.add_task("tiles", total=0, start=False)
        self._last = 0.0

    def phase(self, name: str) -> None:
        """One dim line a phase."""
        if name == "finish":
            self._stop()
        said = {
            "search": "searching",
            "calibrate": "calibrating the kernel on this machine",
            "preflight": "trying every worker",
            "finish": "pyramid, STAC, quicklook",
        }
        self._console.print(f"[dim]{said.get(name, name)} …[/dim]")

    def searching(self, items: int) -> None:
        """A line a thousand items."""
        if items and items % 1000 == 0:
            self._console.print(f"[dim]  {items:,} items[/dim]")

    def found(self, snapshot: Snapshot, report: SearchReport | None) -> None:
        """Items, duplicates and warnings."""
        count = snapshot.index.num_rows
        if report is None:
            self._console.print(f"resuming with the frozen snapshot of {count:,} scenes")
            return
        dropped = f", {len(report.duplicates):,} duplicates left out" if report.duplicates else ""
        self._console.print(f"{count:,} scene{'s' * (count != 1)}{dropped}")

    def planned(self, plan: Plan) -> None:
        """The plan in a few lines."""
        for line in plan_lines(plan):
            self._console.print(line)

    def start(self, *, total: int, left: int, plan: Plan, dashboard: str | None) -> None:
        """The bar, and the dashboard's link."""
        if dashboard:
            self._console.print(f"dashboard: {dashboard}")
        if left < total:
            self._console.print(f"{total - left} of {total} tiles are done already")
        self._rate = Rate(total=total, left=left, km2=plan.km2)
        self._bar.update(self._task, total=total, completed=total - left)
        self._bar.start_task(self._task)
        if self._console.is_terminal:
            self._live = Live(self._view(), console=self._console, refresh_per_second=4)
            self._live.start()

    def tile(self, report: TileReport) -> None:
        """Move the bar; name a failure."""
        failed = report.status == "failed"
        self._rate.add(failed=failed)
        self._bar.update(self._task, completed=self._rate.ended)
        if failed:
            self._console.print(f"[red]failed[/red] {report.reason}: {report.detail}", markup=True)
        for warning in report.warnings:
            self._console.print(f"[yellow]{warning}[/yellow]")
        if self._live is not None:
            self._live.update(self._view())
        elif time.monotonic() - self._last > PLAIN_SECONDS or self._rate.ended == self._rate.total:
            self._last = time.monotonic()
            self._console.print(f"{self._rate.ended} of {self._rate.total} tiles, {self._rate.line()}")

    def note(self, line: str) -> None:
        """A line."""
        self._console.print(f"[yellow]{line}[/yellow]")

    def done(self, summary: dict[str, Any]) -> None:
        """What was made, and where."""
        self._stop()
        for line in summary_lines(summary):
            self._console.print(line)

    def close(self) -> None:
        """Leave the terminal as it was, also after an error."""
        self._stop()

    def _view(self) -> Group:
        return Group(self._bar, Text(self._rate.line(), style="dim"))

    def _stop(self) -> None:
        if self._live is not None:
            self._live.update(self._view())
            self._live.stop()
            self._live = None


def plan_lines(plan: Plan) -> list[str]:
    """The plan for people."""
    said = plan.summary()
    memory = gib(said["worker_memory"]) if said["worker_memory"] else "no limit"
    lines = [
        f"{said['tiles']:,} tiles of {said['tile']}² ({said['tiles_empty']} without a scene), {said['km2']:,.1f} km²",
        f"{said['scenes']:,} scenes in use, {said['tasks']:,} tasks on {said['workers']} workers",
        f"reads {size(said['bytes_read'])} in {said['requests']:,} requests",
        f"writes about {size(said['bytes_written'])}",
        f"a worker peaks at {gib(said['worker_peak_bytes'])} of {memory}",
        f"about {hms(said['seconds'])} on {said['device']}",
    ]
    return [*lines, *(f"[yellow]warning:[/yellow] {line}" for line in said["warnings"])]


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The end of a run for people."""
    counts = ", ".join(
        f"{summary[name]:,} {name.replace('_', ' ')}"
        for name in ("done", "empty", "masked", "failed", "not_run")
        if summary.get(name)
    )
    rate = f", {summary['km2_per_hour']:,.0f} km²/h" if summary["km2_per_hour"] else ""
    lines = [f"[bold]{counts or 'no tiles'}[/bold] of {summary['tiles']:,} tiles in {hms(summary['seconds'])}{rate}"]
    lines += [f"  {share:6.1%} {name} ({km2:,.2f} km²)" for name, km2, share in summary.get("classes", [])]
    lines += [f"[red]failed {count} x {reason}[/red]" for reason, count in summary["failed_reasons"].items()]
    for name in ("mosaic", "cogs", "stac", "quicklook"):
        if summary.get(name):
            lines.append(f"{name:9} {summary[name]}")
    if summary["exit_status"]:
        lines.append(f"run the same command again to resume (exit status {summary['exit_status']})")
    return lines


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def hms(seconds: float) -> str:
    """Such as ``0:02:10``."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def choose_display(*, quiet: bool) -> Terminal | Quiet:
    """The display for this process."""
    return Quiet() if quiet else Terminal(Console(stderr=True, highlight=False, file=sys.stderr))
