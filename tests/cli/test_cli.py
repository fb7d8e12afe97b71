"""The command line as its users see it."""

import io
import json

import pytest
from rich.console import Console

from eopipe import __version__
from eopipe.engine.display import TELL, Rate, Terminal, summary_lines
from eopipe.engine.work.task_shell import TaskReport
from eopipe.text import gib, hms, size, some
from tests.support.command import eopipe
from tests.support.paths import needs_shared
from tests.support.runs import CALIBRATION, pisa

COMMANDS = ("plan", "run", "rescore", "rethreshold", "status", "validate", "models", "eval", "bench", "demo")
ONE_TILE = (10.38, 43.7, 10.385, 43.705)


def test_help_names_every_command_and_the_completion():
    usage = eopipe("--help")
    assert usage.status == 0
    assert not usage.err
    for word in (*COMMANDS, "--version", "--verbose", "--install-completion", "--show-completion"):
        assert word in usage.out
    assert eopipe("-h").out == usage.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_speaks_json(command):
    usage = eopipe(command, "--help")
    assert usage.status == 0
    assert "--json" in usage.out
    assert f"eopipe {command}" in usage.out


def test_version():
    assert eopipe("--version").out == f"eopipe {__version__}\n"


def test_models_as_a_table_and_as_json():
    model = next(row for row in eopipe("models", "--json").document if row["name"] == "dynamic-world")
    assert model["licence"] == "Apache-2.0"
    assert len(model["classes"]) == 9
    table = eopipe("models").out
    assert "dynamic-world" in table
    assert "Apache-2.0" in table


@pytest.fixture(scope="module")
def spec(client, tmp_path_factory):  # its cluster is the current client
    folder = tmp_path_factory.mktemp("cli")
    file = folder / "spec.json"
    file.write_text(json.dumps(pisa(folder / "out", area=list(ONE_TILE), name="cli")))
    return file


@pytest.fixture
def _calibrated(monkeypatch):
    monkeypatch.setattr("eopipe.engine.run.calibrate_in_process", lambda *_, **__: CALIBRATION)


@needs_shared
@pytest.mark.usefixtures("_calibrated")
def test_plan_run_status_validate(spec):
    out = spec.parent / "out"

    planned = eopipe("plan", spec, "--json").document
    assert planned["tiles"] == 1
    assert planned["scenes"] == 1
    assert planned["output"] == str(out)
    assert not (out / "run.json").exists(), "a plan writes nothing"
    words = eopipe("plan", spec)
    assert "1 tile of 512²" in words.out
    assert words.out.endswith(f"next: eopipe run {spec}\n")
    tiles = eopipe("plan", spec, "--tiles", "geojson").document
    assert [feature["geometry"]["type"] for feature in tiles["features"]] == ["Polygon"]

    none = eopipe("status", out)
    assert none.status == 2
    assert "holds no run" in none.line

    ran = eopipe("run", spec, "--json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.document["done"] == 1
    assert ran.document["exit_status"] == 0

    again = eopipe("run", spec)
    assert (again.status, again.out) == (0, ""), "what people read is on standard error"
    assert "resuming with the frozen snapshot of 1 scene\n" in again.err
    assert "1 of 1 tile is done already\n" in again.err
    assert f"quicklook {out}/quicklook.png\n" in again.err

    status = eopipe("status", out, "--json").document
    assert (status["done"], status["failed"], status["not_run"]) == (1, 0, 0)
    assert "not run" in eopipe("status", out).out
    checked = eopipe("validate", out, "--json")
    assert checked.status == 0
    assert checked.document == {"output": str(out), "problems": [], "exit_status": 0}
    assert eopipe("validate", out).out == "everything agrees\n"


def terminal():
    page = io.StringIO()
    return page, Terminal(Console(file=page, width=200, highlight=False))


def test_a_failure_is_told_as_it_was_said_but_not_a_thousand_times():
    page, display = terminal()
    for number in range(TELL + 3):
        display.tile(TaskReport(f"tile {number}", "failed", "read.corrupt", "[/x] is [red]no[/red] raster"))
    display.note("[bold]kept[/]")
    output = page.getvalue()
    assert output.count("failed read.corrupt: [/x] is [red]no[/red] raster") == TELL
    assert "further tiles that fail with read.corrupt are only counted" in output
    assert "[bold]kept[/]" in output


def test_the_summary_is_sorted_and_says_what_to_do():
    summary = {
        "tiles": 3, "done": 2, "failed": 1, "seconds": 61.0, "km2_per_hour": 1234.5, "exit_status": 3,
        "classes": [("water", 1.0, 0.25), ("trees", 3.0, 0.75)],
        "failed_reasons": {"read.timeout": 1}, "mosaic": "out/mosaic.zarr",
    }  # fmt: skip
    assert [line.plain for line in summary_lines(summary)] == [
        "2 done, 1 failed of 3 tiles in 0:01:01, 1,234 km²/h",
        "  trees   75.0%          3.00 km²",
        "  water   25.0%          1.00 km²",
        "failed: 1 tile with read.timeout",
        "mosaic    out/mosaic.zarr",
        "run the same command again to resume (exit status 3)",
    ]


def test_the_rate_counts_this_session_only():
    rate = Rate(total=10, left=4, km2=100.0)
    assert rate.line() == "60.0 km², 0 failed"
    rate.add(failed=True)
    assert rate.line().startswith("70.0 km², ")
    assert rate.line().endswith("left, 1 failed")


def test_words():
    assert [size(n) for n in (999, 13_800_000, 2e13)] == ["999 B", "13.8 MB", "20.0 TB"]
    assert (gib(2**30), hms(3725.4), some(1, "tile"), some(2000, "tile")) == (
        "1.00 GiB", "1:02:05", "1 tile", "2,000 tiles",
    )  # fmt: skip
