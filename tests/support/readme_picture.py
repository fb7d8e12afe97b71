"""The picture of the README: ``python -m tests.support.readme_picture out/demo/sentinel-2/default.png``."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from eopipe.mosaic.quicklook import INK, PAPER, SOFT
from tests.support.paths import ROOT

TARGET = ROOT / "docs/img/demo.png"
WIDTH, MOST_BYTES, PHOTO = 1200, 200_000, 180
FREQUENT = 400
"""Pixels of one colour that a box of the legend or a class has, and hardly a photograph."""


def shrink(source: Path, target: Path = TARGET) -> int:
    """Write a palette picture that keeps the classes' colours exactly; returns its bytes."""
    picture = Image.open(source).convert("RGB")
    colours, counts = np.unique(np.asarray(picture).reshape(-1, 3), axis=0, return_counts=True)
    boxes = np.array([colour for colour, count in zip(colours, counts, strict=True) if count >= FREQUENT], np.uint8)
    exact = np.unique(np.vstack([boxes, [PAPER, INK, SOFT]]), axis=0)[: 256 - PHOTO].astype(np.uint8)
    small = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    photo = np.array(small.quantize(PHOTO).getpalette()[: 3 * PHOTO], np.uint8).reshape(-1, 3)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.vstack([exact, photo]).tobytes())
    small.quantize(palette=palette, dither=Image.Dither.NONE).save(target, optimize=True)
    size = target.stat().st_size
    assert size <= MOST_BYTES, f"{size:,} bytes; take a smaller WIDTH"
    return size


if __name__ == "__main__":
    print(f"{TARGET}: {shrink(Path(sys.argv[1])):,} bytes")
