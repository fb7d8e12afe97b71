"""Change runs of two real dates: what a record tells of them, and that tiles cannot be seen."""

from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr

from eopipe.engine.plan.resolved_spec import resolve
from eopipe.kernels.change.spectral import base as change
from eopipe.spec import load_spec
from tests.support import measuring
from tests.support.change import Colours
from tests.support.paths import ROOT, needs_shared, shared
from tests.support.runs import mosaic, pisa, records, run

ARRAYS = ("change", "change_score", "label_before", "label_after", "observations")

AREA = [10.380, 43.686, 10.392, 43.694]
"""A square kilometre over the border of two cells, which are two tiles of 512 and one of 1024."""


@pytest.fixture(scope="module")
def cheap():
    """Statistics of one cell, and classes by colour."""
    with pytest.MonkeyPatch.context() as patch:
        measuring.small_blocks(patch, cells=8, sample=1)
        patch.setattr(change, "load_dynamic_world", lambda *_, **__: Colours())
        yield


@needs_shared
@pytest.mark.parametrize("file", sorted((ROOT / "tests/flows").glob("change-*.yaml")), ids=lambda file: file.stem)
def test_a_flow_names_two_real_dates(file):
    flow = load_spec(file)
    resolve(flow, datetime(2025, 10, 1, tzinfo=UTC))
    city = file.stem.rsplit("-", 1)[1]
    scenes = sorted(path.name for path in (shared() / "data/sentinel2-oscd").glob(f"S2_{city}_*"))
    assert [f"S2_{city}_{day.replace('-', '')}" for day in flow.source.ranges().values()] == scenes


def spec(folder, **changes):
    document = pisa(folder, area=AREA, kernel={"name": "change"}, **changes)
    document["source"] |= {"epochs": {"before": "2015", "after": "2018"}}
    del document["source"]["datetime"]
    return document


@pytest.fixture(scope="module")
def small(cheap, threads, tmp_path_factory):
    """A run with tiles of 512."""
    folder = tmp_path_factory.mktemp("change") / "out"
    summary = run(spec(folder))
    assert summary["exit_status"] == 0, summary
    return folder, summary


@needs_shared
def test_a_tile_s_record_tells_how_its_dates_lie(small):
    """By the sampled cell's statistics; what is left in the cells themselves is small."""
    for record in records(small[0]).values():
        figures = record["figures"]
        assert figures["shift_down"] == pytest.approx(-0.9, abs=0.4)
        assert figures["shift_right"] == pytest.approx(-0.2, abs=0.4)
        assert 0 <= figures["residual"] < 0.5
    rows = pq.read_table(small[0] / "ledger.parquet").to_pylist()
    assert all(dict(row["figures"]).keys() >= {"shift_down", "shift_right"} for row in rows)


@needs_shared
def test_tiles_cannot_be_seen(small, tmp_path):
    out = tmp_path / "out"
    summary = run(spec(out, grid__tile=1024))
    assert summary["exit_status"] == 0
    fine, coarse = xr.align(mosaic(small[0]), mosaic(out), join="inner")
    in_both = (fine.change.values != 255) & (coarse.change.values != 255)
    assert (fine.change.values[in_both] <= 1).sum() > 3000
    assert len(np.unique(fine.change_score.values[in_both])) > 30
    for name in ARRAYS:
        np.testing.assert_array_equal(fine[name].values[in_both], coarse[name].values[in_both], err_msg=name)
