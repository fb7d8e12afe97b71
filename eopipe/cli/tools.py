"""``kernels``, ``models``, ``bench``: what there is, and how fast it is."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from eopipe.cli.app import Json, app, print_json, print_pairs


@app.command()
def kernels(*, as_json: Json = False) -> None:
    """List the kernels that a spec can name: what they map, their bands and options, and the package of each."""
    from eopipe.kernels.listing import listing  # noqa: PLC0415

    rows = listing()
    if as_json:
        print_json(rows)
        return
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for row in rows:
        console.print(f"{row['name']}  ({row['package']})")
        if "error" in row:
            console.print(f"  cannot be used: {row['error']}")
        for form in row.get("forms", ()):
            _print_form(console, form)
        console.print()


def _print_form(console: Console, form: dict[str, Any]) -> None:
    if form["when"]:
        console.print(f"  {form['when']}")
    console.print(f"  maps {form['maps']}")
    console.print(f"  bands {', '.join(form['bands']) or 'by its options'}{'; ' if form['gsd'] else ''}{form['gsd']}")
    for option in form["options"]:
        default = "required" if option["required"] else json.dumps(option["default"])
        sentence = option["help"].replace("``", "`").split(". ")[0].rstrip(".")
        console.print(f"    {option['name']}: {default}  {sentence}".rstrip())


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
        here = "[green]yes[/]" if row["here"] else "hub" if row["hub"] else "no"
        table.add_row(row["name"], row["title"], row["licence"], here)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print()
    for row in rows:
        if not row["here"] and not row["hub"]:
            console.print(f"{row['name']}: {row['get']}", markup=False)
    for row in broken:
        console.print(f"{row['name']} cannot be used: {row['error']}", markup=False)
    for line in OTHERS:
        console.print(line, markup=False)


@app.command()
def bench(
    kernel: Annotated[str, typer.Argument(metavar="KERNEL", help="Such as land-cover.")] = "land-cover",
    *,
    as_json: Json = False,
) -> None:
    """Time a kernel on this machine, against the plain form of its model."""
    from eopipe.engine.bench import bench as measure  # noqa: PLC0415

    found = measure(kernel)
    if as_json:
        print_json(found)
    else:
        print_pairs(found)
