"""``demo``: a map of a real scene that comes with a package, in the user's words."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eopipe.cli.app import app, print_json, run_display
from eopipe.cli.options import Json, option

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_FOLDER = Path("out/demo")


@app.command()
def demo(
    *,
    prompts: Annotated[
        str | None,
        option(
            "What to map, between semicolons, such as 'pine forest; red soil; river'; synonyms as "
            "'water: lake, river'.",
            "WORDS",
        ),
    ] = None,
    scene: Annotated[str | None, option("sentinel-2; all that this version can map where not given.", "NAME")] = None,
    out: Annotated[Path, option("Where everything goes.", "DIR")] = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Map a real scene by naming classes in words, offline, in minutes; it takes eopipe[demo].

    The same command resumes; other words make another map beside it.
    """
    from eopipe.demo.scenes import choose_scenes  # noqa: PLC0415  (numpy and rasterio)
    from eopipe.demo.spec import read_words  # noqa: PLC0415  (with the kernels)
    from eopipe.models.registry import listing  # noqa: PLC0415  (with the models)

    words = read_words(prompts)
    scenes = choose_scenes(scene, frozenset(row["name"] for row in listing() if row["here"]))

    from eopipe.demo.run import prepare, run_demo  # noqa: PLC0415  (torch and dask)

    results = []
    for prepared in [prepare(chosen, words, out) for chosen in scenes]:
        with run_display(quiet=as_json) as display:
            if not as_json:
                about = prepared.scene
                typer.echo(f"{about.title} (from the package {about.package}); {about.place}", err=True)
                typer.echo(f"collection and spec: {_short(prepared.folder)}", err=True)
            results.append(run_demo(prepared, display))
        if results[-1]["exit_status"]:
            break
    status = results[-1]["exit_status"]
    if as_json:
        print_json({"exit_status": status, "scenes": results})
    else:
        typer.echo("\n".join(_closing_lines(results, out, prompts)))
    raise typer.Exit(status)


def _closing_lines(results: list[dict[str, Any]], out: Path, prompts: str | None) -> Iterator[str]:
    """Where to look, and what to try after these words."""
    from eopipe.demo.spec import proposal  # noqa: PLC0415  (with the kernels)

    finished = [result for result in results if result["picture"]]
    for result in finished:
        yield f"look at  {_short(result['picture'])}"
        yield f"spec     {_short(result['spec'])}"
    if any(result["exit_status"] for result in results):
        yield "next: the same command again resumes"
        return
    folder = "" if out == DEFAULT_FOLDER else f" --out {out}"
    yield f'next: {_command()} demo{folder} --prompts "{proposal(prompts)}"'
    yield f"      {_command()} plan {_short(finished[-1]['spec'])}"


def _short(path: str | os.PathLike[str]) -> str:
    """A path relative to the working directory where it lies below, else as it is."""
    relative = os.path.relpath(path)
    return os.fspath(path) if relative.startswith("..") else relative


def _command() -> str:
    """The command eopipe as this user can type it: ``make demo`` does not put its environment on the path."""
    called = Path(sys.argv[0])
    return "eopipe" if shutil.which("eopipe") or called.name != "eopipe" else _short(called.absolute())
