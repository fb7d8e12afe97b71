"""``demo``: a map of a real scene that comes with a package, in the words of who asks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eopipe.cli.app import Json, app, print_json


@app.command()
def demo(
    *,
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help="What to map, between semicolons, such as 'pine forest; red soil; river'; synonyms as "
            "'water: lake, river'.",
        ),
    ] = None,
    scene: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="sentinel-2; all that this version can map where not given."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where everything goes.")] = Path("out/demo"),
    as_json: Json = False,
) -> None:
    """Map a real scene by naming classes in words, offline, in minutes; it takes eopipe[demo].

    The same command resumes; other words make another map beside it.
    """
    from eopipe.demo.scenes import choose  # noqa: PLC0415  (numpy and rasterio)
    from eopipe.demo.words import read_words  # noqa: PLC0415  (with the kernels)
    from eopipe.models.registry import listing  # noqa: PLC0415  (with the models)

    words = read_words(prompts)
    scenes = choose(scene, frozenset(row["name"] for row in listing() if row["here"]))

    from eopipe.demo.display import closing_lines, opening_lines  # noqa: PLC0415  (with what follows: torch and dask)
    from eopipe.demo.run import prepare, run_demo  # noqa: PLC0415
    from eopipe.engine.display import choose_display  # noqa: PLC0415

    results = []
    for made in [prepare(one, words, out) for one in scenes]:
        display = choose_display(quiet=as_json)
        for line in () if as_json else opening_lines(made):
            typer.echo(line, err=True)
        try:
            results.append(run_demo(made, display))
        finally:
            display.close()
        if results[-1]["exit_status"]:
            break
    status = results[-1]["exit_status"]
    if as_json:
        print_json({"exit_status": status, "scenes": results})
    else:
        for line in closing_lines(results, out, prompts):
            typer.echo(line)
    raise typer.Exit(status)
