from datetime import UTC, datetime

import pytest

from eopipe import run_folder
from eopipe.grid import Tile
from eopipe.run_folder import Key


@pytest.mark.parametrize("tile", [Tile(-472, 59), Tile(0, 0), Tile(123456, -7)])
def test_paths_of_records_and_failures_can_be_read_back(tile):
    path = run_folder.record(tile.name, "0a1b")
    assert path == f"ledger/{tile.name.split('c')[0]}/{tile.name}.0a1b.json"
    assert run_folder.record_key(path) == Key(tile.name, "0a1b")
    assert run_folder.failure_key(path) is None
    failed = run_folder.failure(tile.name, "0a1b", 3)
    assert run_folder.failure_key(failed) == (Key(tile.name, "0a1b"), 3)
    assert run_folder.record_key(failed) is None


def test_the_names_that_scripts_rely_on():
    tile = Tile(-472, 59)
    assert tile.name == "r-00472c00059"
    assert run_folder.record(tile.name, "ab") == "ledger/r-00472/r-00472c00059.ab.json"
    assert run_folder.failure(tile.name, "ab", 1) == "ledger/failed/r-00472c00059.ab.1.json"
    assert run_folder.cog(tile, "ab") == "cog/r-00472c00059-ab.tif"
    assert run_folder.objects(tile, "ab") == "objects/r-00472c00059.ab.parquet"
    assert run_folder.statistics("shift", "r00001c00002", "ab") == "statistics/shift/r00001c00002.ab.json"
    assert run_folder.snapshot("abc") == "snapshots/abc"
    assert run_folder.version(1) == "versions/1.json"
    assert run_folder.session(datetime(2025, 9, 30, 12, tzinfo=UTC)) == "sessions/20250930T120000.000000Z.json"


@pytest.mark.parametrize(
    "path",
    [
        "ledger.parquet",
        "ledger/r00001/r00002c00001.ab.json",  # in another row's folder
        "ledger/r00001/r00001c00001.json",
        "ledger/r00001/r00001c00001.AB.json",
        "ledger/r00001/r00001c00001.ab.json.partial",
        "ledger/failed/r00001c00001.ab.1.json",
    ],
)
def test_what_is_no_record(path):
    assert run_folder.record_key(path) is None
