"""Progress: a live display in a terminal, plain lines elsewhere, nothing for programs."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from eopipe.engine.plan import preview
from eopipe.text import hms, size, some

if TYPE_CHECKING:
    from eopipe.engine.plan.model import Plan
    from eopipe.engine.work.task_shell import TaskReport
    from eopipe.snapshot import Snapshot
    from eopipe.stac.search import SearchReport

PLAIN_SECONDS = 10.0
"""Seconds between lines where there is no terminal."""

TELL = 5
"""Failed tiles of one reason that get a line each."""

PHASES = {
    "load": "loading",
    "search": "searching",
    "open": "opening the other run",
    "calibrate": "calibrating a worker",
    "basis": "fitting the basis of the window features",
    "cluster": "starting the workers",
    "preflight": "trying every worker",
    "statistics": "measuring statistics of the wider area",
    "finish": "pyramid, STAC, quicklook",
}
"""A line for each phase."""


class Display:
    """Shows how a run goes; this one shows nothing, for ``--json`` and for programs."""

    def phase(self, name: str) -> None:
        """A phase begins."""

    def searching(self, items: int) -> None:
        """So many items have come."""

    def searched(self, snapshot: Snapshot, report: SearchReport | None) -> None:
        """The snapshot is complete; without a report it was resumed."""

    def planned(self, plan: Plan) -> None:
        """The plan is made."""

    def block(self, report: TaskReport, ended: int, total: int) -> None:
        """A block of statistics ended, as so many of all did by now."""

    def start(self, *, total: int, left: int, plan: Plan, dashboard: str | None) -> None:
        """Tiles begin."""

    def tile(self, report: TaskReport) -> None:
        """A tile ended."""

    def note(self, line: str) -> None:
        """A line beside, such as a warning."""

    def done(self, summary: dict[str, Any]) -> None:
        """The run ended."""

    def close(self) -> None:
        """Leave the terminal as it was, also after an error."""


Quiet = Display
"""Its name before 0.2."""


class Rate:
    """Tiles, km², km²/h, time left and failures, as they stand."""

    def __init__(self, *, total: int, left: int, km2: float) -> None:
        self.total, self.ended, self.failed = total, total - left, 0
        self._before, self._km2 = total - left, km2 / max(total, 1)
        self._start = self._last = time.monotonic()

    def add(self, *, failed: bool) -> None:
        """Count a tile."""
        self.ended += 1
        self.failed += failed
        self._last = time.monotonic()

    def line(self) -> str:
        """Such as ``48.2 km², 1,205 km²/h, 0:02:10 left, 1 failed``."""
        count, spent = self.ended - self._before, self._last - self._start
        text = f"{self.ended * self._km2:,.1f} km²"
        if count and spent > 0:
            left = (self.total - self.ended) * spent / count - (time.monotonic() - self._last)
            text += f", {count * self._km2 / spent * 3600:,.0f} km²/h, {hms(max(left, 0))} left"
        return f"{text}, {self.failed} failed"


class Terminal(Display):
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
        self._failures: Counter[str] = Counter()

    def phase(self, name: str) -> None:
        """One dim line a phase."""
        if name == "finish":
            self._stop()
        self._say(f"{PHASES.get(name, name)} …", "dim")

    def searching(self, items: int) -> None:
        """A line a thousand items."""
        if items and items % 1000 == 0:
            self._say(f"  {items:,} items", "dim")

    def searched(self, snapshot: Snapshot, report: SearchReport | None) -> None:
        """Items, duplicates and warnings."""
        count = snapshot.index.num_rows
        if report is None:
            self._say(f"resuming with the frozen snapshot of {some(count, 'scene')}")
            return
        dropped = f", {some(len(report.duplicates), 'duplicate')} left out" if report.duplicates else ""
        self._say(f"{some(count, 'scene')} found{dropped}")

    def planned(self, plan: Plan) -> None:
        """The plan in a few lines."""
        for line in plan_lines(plan):
            self._console.print(line, soft_wrap=True)

    def block(self, report: TaskReport, ended: int, total: int) -> None:
        """A line now and then; a failure by name, but not the same reason a thousand times."""
        reason, detail = f"statistics.{report.reason}", f"{report.subject}: {report.detail}"
        self._task_ended(report, reason, detail, "blocks")
        if self._due(last=ended == total):
            self._say(f"{ended:,} of {some(total, 'block')} of statistics", "dim")

    def start(self, *, total: int, left: int, plan: Plan, dashboard: str | None) -> None:
        """The bar, and the dashboard's link."""
        if dashboard:
            self._say(f"dashboard: {dashboard}")
        if left < total:
            self._say(f"{total - left:,} of {some(total, 'tile')} {'are' if total > 1 else 'is'} done already")
        self._rate = Rate(total=total, left=left, km2=plan.km2)
        self._bar.update(self._task, total=total, completed=total - left)
        self._bar.start_task(self._task)
        if self._console.is_terminal and left:
            self._live = Live(get_renderable=self._view, console=self._console, refresh_per_second=4)
            self._live.start()

    def tile(self, report: TaskReport) -> None:
        """Move the bar; name a failure, but not the same reason a thousand times."""
        self._rate.add(failed=report.status == "failed")
        self._bar.update(self._task, completed=self._rate.ended)
        self._task_ended(report, report.reason, report.detail, "tiles")
        if self._live is None and self._due(last=self._rate.ended == self._rate.total):
            self._say(f"{self._rate.ended:,} of {some(self._rate.total, 'tile')}, {self._rate.line()}")

    def _due(self, *, last: bool) -> bool:
        """Whether it is time for a plain line."""
        due = last or time.monotonic() - self._last > PLAIN_SECONDS
        self._last = time.monotonic() if due else self._last
        return due

    def _task_ended(self, report: TaskReport, reason: str, detail: str, nouns: str) -> None:
        """Lines on a task's failure and warnings."""
        if report.status == "failed":
            self._failures[reason] += 1
            if self._failures[reason] <= TELL:
                self._say(f"failed {reason}: {detail}", "red")
            if self._failures[reason] == TELL:
                self._say(f"further {nouns} that fail with {reason} are only counted here", "red")
        for warning in report.warnings:
            self._say(warning, "yellow")

    def note(self, line: str) -> None:
        """A line."""
        self._say(line, "yellow")

    def done(self, summary: dict[str, Any]) -> None:
        """What was made, and where."""
        self._stop()
        for line in summary_lines(summary):
            self._console.print(line, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal as it was, also after an error."""
        self._stop()

    def _say(self, line: str, style: str = "") -> None:
        # Text, not markup: a server's words may hold brackets; unwrapped, so that a path can be copied
        self._console.print(Text(line, style=style), soft_wrap=True)

    def _view(self) -> Group:
        return Group(self._bar, Text(self._rate.line(), style="red" if self._rate.failed else "dim"))

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def plan_lines(plan: Plan) -> list[Text]:
    """The plan for people."""
    warnings = (Text(f"warning: {line}", style="yellow") for line in plan.warnings)
    return [*map(Text, preview.lines(plan)), *warnings]


def summary_lines(summary: dict[str, Any]) -> list[Text]:
    """The end of a run for people."""
    counts = ", ".join(
        f"{summary[name]:,} {name.replace('_', ' ')}"
        for name in ("done", "empty", "masked", "failed", "not_run")
        if summary.get(name)
    )
    rate = f", {summary['km2_per_hour']:,.0f} km²/h" if summary["km2_per_hour"] else ""
    first = f"{counts or 'nothing'} of {some(summary['tiles'], 'tile')} in {hms(summary['seconds'])}{rate}"
    lines = [Text(first, style="bold")]
    if (features := summary.get("features")) is not None:
        sizes = f"{size(features['bytes'])}, {size(features['bytes_per_km2'] or 0)} a km²"
        lines.append(Text(f"kept features of {some(features['windows'], 'window')}: {sizes}"))
    if (rescored := summary.get("rescored")) is not None:
        spent, full = rescored["kernel_seconds"], rescored["kernel_seconds_of_full_run"]
        lines.append(Text(f"scored kept features in {spent:,.1f} s of work; encoding them took {full:,.1f} s"))
    if (objects := summary.get("objects")) is not None:
        lines.append(Text(f"found {some(objects, 'object')}"))
    if (cut := summary.get("rethresholded")) is not None:
        before = ", ".join(f"{name} {km2:,.2f} km²" for name, km2, _ in cut["classes_of_source"])
        lines.append(Text(f"cut at {cut['at']}; {cut['from']} has, on the same tiles, {before or 'nothing'}"))
    classes = sorted(summary.get("classes", []), key=lambda row: -row[1])
    width = max((len(name) for name, _, _ in classes), default=0)
    lines += [Text(f"  {name:{width}} {share:7.1%} {km2:13,.2f} km²") for name, km2, share in classes]
    lines += [
        Text(f"failed: {some(count, 'tile')} with {reason}", style="red")
        for reason, count in summary["failed_reasons"].items()
    ]
    lines += [
        Text(f"{name:9} {summary[name]}")
        for name in ("mosaic", "cogs", "vectors", "stac", "quicklook")
        if summary.get(name)
    ]
    if summary["exit_status"]:
        lines.append(Text(f"run the same command again to resume (exit status {summary['exit_status']})"))
    return lines
