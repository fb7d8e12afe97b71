"""Baselines on a mosaic's pixels, of the shape of its ``change``: change-vector analysis, two land-cover maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe import api
from eopipe.errors import SpecError
from eopipe.evaluation.change.methods import BASELINES, change_vectors
from eopipe.evaluation.change.mosaics import UNSEEN, read_array
from eopipe.kernels.land_cover import BANDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.evaluation.change.places.labelled import LabelledPlace
    from eopipe.mosaic.layout import Layout
    from eopipe.storage import Storage

LABELS = ("label_before", "label_after")
"""Arrays of a change run with the class on each date."""


def baselines(
    place: LabelledPlace, storage: Storage, layout: Layout, change: NDArray[np.uint8]
) -> dict[str, NDArray[np.uint8]]:
    """Maps by method, ``[y, x]`` like ``change``, of the pixels that are valid in the run's map and on both dates.

    Args:
        place: Its two dates are read whole.
        storage: The run's folder.
        layout: Layout of its mosaic.
        change: The run's map.

    Raises:
        SpecError: No pixel is valid on both dates.
    """
    pixels = read_dates(place, layout)
    valid = (change <= 1) & np.isfinite(pixels).all(axis=(0, 1))
    if not valid.any():
        raise SpecError(
            f"place {place.name} has no pixel that is valid on both {place.before} and {place.after}; leave it out, "
            f"naming the others with --place"
        )
    before, after = pixels[:, :, valid]
    maps = {}
    for name, levelled in BASELINES.items():
        maps[name] = np.full(change.shape, UNSEEN, np.uint8)
        maps[name][valid] = change_vectors(before, after, levelled=levelled)
    if all(name in {spec.name for spec in layout.arrays} for name in LABELS):
        first, second = (np.asarray(read_array(storage, layout, name)[:, :]) for name in LABELS)
        maps["two land-cover maps"] = np.where(valid, first != second, UNSEEN).astype(np.uint8)
    return maps


def read_dates(place: LabelledPlace, layout: Layout) -> NDArray[np.float32]:
    """Reflectance of both dates on the mosaic's pixels, ``[2, 9, y, x]``; NaN where invalid or outside the area."""
    area, (rows, cols) = list(place.area), layout.shape(0)
    pixels = np.full((2, len(BANDS), rows, cols), np.nan, np.float32)
    for date, day in enumerate((place.before, place.after)):
        snapshot, _ = api.search(catalog=place.catalog, area=area, collections=place.collections, datetime=day)
        cube = api.open_cube(
            snapshot, area=area, bands=BANDS, composite="first",
            crs=layout.grid.crs, resolution=layout.grid.resolution,
        )  # fmt: skip
        dataset = cube.dataset.isel(time=0).compute(scheduler="synchronous")
        inside = cube.box & layout.box
        values = np.stack([dataset[band].values for band in BANDS])
        pixels[date][:, *inside.slices(layout.box)] = values[:, *inside.slices(cube.box)]
    return pixels
