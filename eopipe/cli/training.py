"""``eopipe train``: the recipes of the models that ship with the package."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path  # noqa: TC003  (typer reads annotations)
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from eopipe.cli.app import Json, app, print_json

if TYPE_CHECKING:
    from eopipe.training.hyperparameters import Recipe
    from eopipe.training.mini import Training

train = typer.Typer(no_args_is_help=True, help="Train a model that ships with the package.")
app.add_typer(train, name="train")

LOG_EVERY = 50
"""Steps between lines where there is no terminal."""


class Bands(StrEnum):
    """What the student sees."""

    infrared = "infrared"
    true_colour = "true-colour"


class Precision(StrEnum):
    """Of the training's products."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@train.command("mini")
def train_mini(  # noqa: PLR0913  (a command line's options are its function's arguments)
    source: Annotated[
        Path,
        typer.Option("--source", metavar="FILE", help="collection.json of Sentinel-2 scenes with the nine bands."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Scenes, checkpoint, weights, figures.")],
    *,
    bands: Annotated[Bands, typer.Option(help="Blue, green, red with near infrared, or without.")] = Bands.infrared,
    leave_out: Annotated[
        list[str] | None,
        typer.Option("--leave-out", metavar="WORD", help="Judge on scenes so named, not learn; repeatable."),
    ] = None,
    alone: Annotated[int, typer.Option(min=1, metavar="N", help="Steps of the bands alone.")] = 1500,
    joint: Annotated[int, typer.Option(min=1, metavar="N", help="Steps of bands and answers together.")] = 700,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
    precision: Annotated[Precision, typer.Option(help="bfloat16 where this processor has it.")] = Precision.float32,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch; all cores where not given.")] = None,
    as_json: Json = False,
) -> None:
    """Teach mini what Dynamic World answers, from fewer bands. The same command again resumes."""
    import torch  # noqa: PLC0415  (seconds that --help need not wait for)

    from eopipe.training.hyperparameters import FOUR_BANDS, TRUE_COLOUR, Recipe  # noqa: PLC0415
    from eopipe.training.mini import Training  # noqa: PLC0415
    from eopipe.training.mini import train as run  # noqa: PLC0415
    from eopipe.training.report import report  # noqa: PLC0415

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = FOUR_BANDS if bands is Bands.infrared else TRUE_COLOUR
    recipe = Recipe(bands=chosen, seed=seed, alone=alone, joint=joint, precision=precision.value)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with _progress(console, recipe) as told:
        asked = Training(
            source=source, out=out, recipe=recipe, leave_out=tuple(leave_out or ()), told=console.print, stepped=told
        )
        done = run(asked)
    _end(asked, done, report(asked) if leave_out else None, as_json=as_json)


@train.command("mini-words")
def train_mini_words(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where the table goes, such as words.safetensors.")],
    *,
    as_json: Json = False,
) -> None:
    """Embed the taught and the common phrases, and fit the concepts' directions: the table that ships."""
    from eopipe.training.mini_words import write_table  # noqa: PLC0415  (torch)

    written = write_table(out)
    if as_json:
        print_json({"file": str(out), **asdict(written)})
        return
    typer.echo(f"{out}: {written.phrases} phrases, {written.size} bytes, sha256 {written.sha256}")


class _progress:  # noqa: N801  (used as a function: it is a context and nothing else)
    """Tells of steps: a bar in a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, recipe: Recipe) -> None:
        self._console, self._recipe = console, recipe
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task("training", total=self._recipe.steps)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, step: int, losses: dict[str, float]) -> None:
        """A step is done."""
        said = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._bar.update(self._task, completed=step, description=said)
        if not self._console.is_terminal and (step % LOG_EVERY == 0 or step == self._recipe.steps):
            self._console.print(f"step {step} of {self._recipe.steps}: {said}")


def _end(asked: Training, done: dict[str, Any], figures: dict[str, Any] | None, *, as_json: bool) -> None:
    if as_json:
        print_json({**done, "figures": figures})
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"weights: {asked.weights}", markup=False)
    if figures is not None:
        from eopipe.training.report import lines  # noqa: PLC0415

        for line in lines(figures):
            console.print(line, markup=False)
