"""``kernels``, ``models``, ``bench``, ``train``: what a spec can name, its speed, how shipped models are trained."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path  # noqa: TC003  (typer reads annotations)
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from eopipe.cli.app import app, print_json, print_lines, print_pairs
from eopipe.cli.options import Json, argument, option

if TYPE_CHECKING:
    from collections.abc import Iterator

train = typer.Typer(no_args_is_help=True, help="Train a model that ships with the package.")
app.add_typer(train, name="train")

BandChoice = StrEnum("BandChoice", {"infrared": "infrared", "true_colour": "true-colour"})
"""Values of ``--bands``."""


class Precision(StrEnum):
    """Values of ``--precision``."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@app.command()
def kernels(*, as_json: Json = False) -> None:
    """List the kernels that a spec can name: what they map, their bands and options, and the package of each."""
    from eopipe.kernels.listing import listing  # noqa: PLC0415

    rows = listing()
    if as_json:
        print_json(rows)
        return
    print_lines(line for row in rows for line in _kernel_lines(row))


def _kernel_lines(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['name']}  ({row['package']})"
    if "error" in row:
        yield f"  cannot be used: {row['error']}"
    for form in row.get("forms", ()):
        if form["when"]:
            yield f"  {form['when']}"
        yield f"  maps {form['maps']}"
        yield f"  bands {', '.join(form['bands']) or 'by its options'}{'; ' if form['gsd'] else ''}{form['gsd']}"
        for setting in form["options"]:
            default = "required" if setting["required"] else json.dumps(setting["default"])
            sentence = setting["help"].replace("``", "`").split(". ")[0].rstrip(".")
            yield f"    {setting['name']}: {default}  {sentence}".rstrip()
    yield ""


@app.command()
def models(*, as_json: Json = False) -> None:
    """List what a spec can name: models and upsamplers, their licences, what is here and how to get the rest."""
    from eopipe.models.registry import OTHERS, listing  # noqa: PLC0415

    rows = listing()
    if as_json:
        print_json(rows)
        return
    broken = [row for row in rows if "error" in row]
    rows = [row for row in rows if "error" not in row]
    table = Table("name", "what", "licence", "here", box=None, pad_edge=False)
    for row in rows:
        status = "[green]yes[/]" if row["here"] else "hub" if row["hub"] else "no"
        table.add_row(row["name"], row["title"], row["licence"], status)
    missing = (f"{row['name']}: {row['get']}" for row in rows if not row["here"] and not row["hub"])
    unusable = (f"{row['name']} cannot be used: {row['error']}" for row in broken)
    print_lines([table, "", *missing, *unusable, *OTHERS])


@app.command()
def bench(
    kernel: Annotated[str, argument("KERNEL", "Such as land-cover, the default.")] = "land-cover",
    *,
    as_json: Json = False,
) -> None:
    """Time a kernel on this machine, against the plain form of its model."""
    from eopipe.engine.bench import bench as measure  # noqa: PLC0415

    (print_json if as_json else print_pairs)(measure(kernel))


@train.command("mini")
def train_mini(  # noqa: PLR0913  (a command line's options are its function's arguments)
    source: Annotated[Path, option("collection.json of Sentinel-2 scenes with the nine bands.", "FILE")],
    out: Annotated[Path, option("Scenes, checkpoint, weights, figures.", "DIR")],
    *,
    bands: Annotated[BandChoice, option("Blue, green, red with near infrared, or without.")] = BandChoice.infrared,
    leave_out: Annotated[list[str] | None, option("Judge on scenes so named, not learn; repeatable.", "WORD")] = None,
    alone: Annotated[int, option("Steps of the bands alone.", "N", min=1)] = 1500,
    joint: Annotated[int, option("Steps of bands and answers together.", "N", min=1)] = 700,
    seed: Annotated[int, option("Seed of all random numbers.", min=0)] = 0,
    precision: Annotated[Precision, option("bfloat16 where this processor has it.")] = Precision.float32,
    threads: Annotated[int | None, option("Threads of torch; all cores where not given.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Teach mini what Dynamic World answers, from fewer bands. The same command again resumes."""
    import torch  # noqa: PLC0415  (seconds that --help need not wait for)

    from eopipe.evaluation.run import ProgressDisplay  # noqa: PLC0415
    from eopipe.training import report  # noqa: PLC0415
    from eopipe.training.mini import Training  # noqa: PLC0415
    from eopipe.training.mini import train as run  # noqa: PLC0415
    from eopipe.training.trainer import FOUR_BANDS, TRUE_COLOUR, Recipe  # noqa: PLC0415

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = FOUR_BANDS if bands is BandChoice.infrared else TRUE_COLOUR
    recipe = Recipe(bands=chosen, seed=seed, alone=alone, joint=joint, precision=precision.value)
    with ProgressDisplay("steps") as display:
        left_out = tuple(leave_out or ())
        training = Training(source=source, out=out, recipe=recipe, leave_out=left_out, display=display)
        outcome = run(training)
    figures = report.report(training) if leave_out else None
    lines = [f"weights: {training.weights}", *report.lines(figures or {})]
    print_json({**outcome, "figures": figures}) if as_json else print_lines(lines)


@train.command("mini-words")
def train_mini_words(
    out: Annotated[Path, argument("FILE", "Where the table goes, such as words.safetensors.")],
    *,
    as_json: Json = False,
) -> None:
    """Embed the taught and the common phrases, and fit the concepts' directions: the table that ships."""
    from eopipe.training.mini_words import write_table  # noqa: PLC0415  (torch)

    table = write_table(out)
    text = f"{out}: {table.phrases} phrases, {table.size} bytes, sha256 {table.sha256}"
    print_json({"file": str(out), **asdict(table)}) if as_json else typer.echo(text)
