"""open_cube: lazy, one task a chunk, the same pixels as a run's."""

import pickle
from datetime import UTC, datetime

import dask
import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)

from eopipe.area.on_grid import Area
from eopipe.cube.cube import open_cube
from eopipe.cube.reader import TileReader
from eopipe.errors import SpecError
from eopipe.spec import parse_spec
from eopipe.stac.search import search
from tests.support.paths import needs_shared, shared

pytestmark = [
    needs_shared,
    # odc-geo multiplies affines with *, which affine 3 deprecates
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]
AREA = [10.37, 43.68, 10.43, 43.75]


@pytest.fixture(scope="module")
def snapshot():
    spec = parse_spec({
        "name": "pisa", "area": AREA, "grid": {"resolution": 10}, "kernel": {"name": "land-cover"},
        "source": {"catalog": str(shared() / "data/sentinel2-oscd/collection.json"),
                   "epochs": {"before": "2015-01-01/2015-12-31", "after": "2018-01-01/2018-12-31"}},
        "output": {"uri": "out"},
    })  # fmt: skip
    return search(spec.source, Area.parse(AREA), datetime.now(UTC))[0]


def test_the_dataset_is_lazy_placed_and_equal_to_the_reader(snapshot):
    cube = open_cube(snapshot, area=AREA, bands=("red", "rededge1"), chunk=512)
    data = cube.dataset
    assert dict(data.sizes) == {"time": 2, "y": cube.box.shape[0], "x": cube.box.shape[1]}
    assert data.slot.values.tolist() == ["before", "after"]
    assert data.odc.geobox.shape == cube.box.shape
    assert data.odc.geobox.transform[2:6:3] == (cube.box.col0 * 10.0, -cube.box.row0 * 10.0)
    assert data.rio.crs.to_epsg() == 32632
    array = data.red.data
    (graph,) = dask.optimize(array)
    assert len(graph.dask) <= 2 * array.npartitions
    with TileReader(cube.scenes(cube.box, cube.settings.bands), cube.settings) as reader:
        pixels = reader.read(cube.box)
    found = data.compute(scheduler="threads")
    for number, band in enumerate(("red", "rededge1")):
        assert np.array_equal(np.isfinite(found[band].values), pixels.valid)
        assert np.array_equal(np.nan_to_num(found[band].values * 10000).round(), pixels.values[:, number])


def test_a_task_carries_no_graph(snapshot):
    cube = open_cube(snapshot, area=AREA, bands=("red",), chunk=512)
    before = len(pickle.dumps(cube))
    assert cube.dataset.red.ndim == 3
    assert len(pickle.dumps(cube)) == before


def test_solar_days(snapshot):
    cube = open_cube(snapshot, area=AREA, bands=("red",), groupby="solar_day")
    assert cube.dataset.slot.values.tolist() == ["2015-07-04", "2018-02-11"]
    assert cube.dataset.red.chunks[0] == (1, 1)


def test_chunks_lie_on_the_lattice(snapshot):
    cube = open_cube(snapshot, area=AREA, bands=("red",), chunk=512)
    rows, cols = cube.dataset.red.chunks[1:]
    assert (cube.box.row0 + rows[0]) % 512 == 0
    assert (cube.box.col0 + cols[0]) % 512 == 0


@pytest.mark.parametrize(("bad", "said"), [({"chunk": 700}, "no multiple of 512"), ({"groupby": "month"}, "groupby")])
def test_bad_arguments(snapshot, bad, said):
    with pytest.raises(SpecError, match=said):
        open_cube(snapshot, area=AREA, bands=("red",), **bad)
