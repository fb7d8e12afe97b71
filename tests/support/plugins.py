"""Packages that offer kernels: what pip does with them, and what their metadata say where none is installed."""

import subprocess
import sys
import textwrap

from tests.support.paths import ROOT


def pip(*args):
    """Run pip without a network."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, args)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)


def offer(folder, package, group, entries, module="", version="1"):
    """Make a folder look like a place where a package is installed: its metadata, and one module."""
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    if module:
        (folder / f"{package.replace('-', '_')}.py").write_text(textwrap.dedent(module))
    return folder
