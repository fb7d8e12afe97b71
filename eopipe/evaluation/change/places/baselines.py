"""Baselines on a mosaic's own pixels, shaped like its ``change``: change-vector analysis, two land-cover maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe import api
from eopipe.errors import SpecError
from eopipe.evaluation.change.baselines import change_vectors
from eopipe.evaluation.change.mosaics import UNSEEN, read_array
from eopipe.kernels.land_cover import BANDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.evaluation.change.places.labelled import Place
    from eopipe.mosaic.layout import Layout
    from eopipe.storage import Storage

LABELS = ("label_before", "label_after")
"""Arrays of a change run that tell the class on each date."""


def baselines(
    place: Place, storage: Storage, layout: Layout, change: NDArray[np.uint8]
) -> dict[str, NDArray[np.uint8]]:
    """Maps by method, ``[y, x]`` like ``change``, of the pixels that it tells and both dates have.

    Args:
        place: Its two dates are read whole.
        storage: The run's folder.
        layout: Of its mosaic.
        change: The run's map.
    """
    pixels = read_dates(place, layout)
    seen = (change <= 1) & np.isfinite(pixels).all(axis=(0, 1))
    if not seen.any():
        raise SpecError(
            f"place {place.name} has no pixel that both {place.before} and {place.after} show; mend its dates"
        )
    before, after = pixels[:, :, seen]
    maps = {}
    for name, levelled in (("change vectors", False), ("change vectors, levelled", True)):
        maps[name] = np.full(change.shape, UNSEEN, np.uint8)
        maps[name][seen] = change_vectors(before, after, levelled=levelled)
    if all(name in {spec.name for spec in layout.arrays} for name in LABELS):
        one, two = (np.asarray(read_array(storage, layout, name)[:, :]) for name in LABELS)
        maps["two land-cover maps"] = np.where(seen, one != two, UNSEEN).astype(np.uint8)
    return maps


def read_dates(place: Place, layout: Layout) -> NDArray[np.float32]:
    """Both dates on the mosaic's pixels, ``[2, 9, y, x]``; NaN where invalid or outside the place's box."""
    rows, cols = layout.shape(0)
    found = np.full((2, len(BANDS), rows, cols), np.nan, np.float32)
    for date, day in enumerate((place.before, place.after)):
        snapshot, _ = api.search(
            catalog=place.catalog, area=list(place.area), collections=place.collections, datetime=day
        )
        cube = api.open_cube(
            snapshot, area=list(place.area), bands=BANDS, composite="first",
            crs=layout.grid.crs, resolution=layout.grid.resolution,
        )  # fmt: skip
        read = cube.dataset.isel(time=0).compute(scheduler="synchronous")
        inside = cube.box & layout.box
        at, of = inside.slices(layout.box), inside.slices(cube.box)
        found[date][:, *at] = np.stack([read[band].values for band in BANDS])[:, *of]
    return found
