"""What the demo says before and after its runs."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.demo.words import proposal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.demo.run import Prepared


def opening_lines(made: Prepared) -> Iterator[str]:
    """Which scene, where from, and where it lies."""
    scene = made.scene
    yield f"{scene.title} (from the package {scene.package}); {scene.place}"
    yield f"collection and spec: {shown(made.folder)}"


def closing_lines(results: list[dict[str, Any]], out: Path, prompts: str | None) -> Iterator[str]:
    """Where to look, and what to try after these words."""
    finished = [found for found in results if found["picture"]]
    for found in finished:
        yield f"look at  {shown(found['picture'])}"
        yield f"spec     {shown(found['spec'])}"
    if any(found["exit_status"] for found in results):
        yield "next: the same command again resumes"
        return
    where = "" if out == Path("out/demo") else f" --out {out}"
    yield f'next: {_command()} demo{where} --prompts "{proposal(prompts)}"'
    yield f"      {_command()} plan {shown(finished[-1]['spec'])}"


def shown(path: str | os.PathLike[str]) -> str:
    """A path as short as it can be typed from here."""
    short = os.path.relpath(path)
    return os.fspath(path) if short.startswith("..") else short


def _command() -> str:
    """How eopipe is called here: ``make demo`` does not put its environment on the path."""
    called = Path(sys.argv[0])
    return "eopipe" if shutil.which("eopipe") or called.name != "eopipe" else shown(called.absolute())
