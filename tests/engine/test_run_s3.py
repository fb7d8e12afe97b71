"""A run whose output is a bucket: the same bytes as on a disk, resumed, checked and read in place."""

import io
import json
import os

import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
import xarray as xr

from eopipe import run_folder
from eopipe.engine.finish.status import read_status
from eopipe.engine.finish.validate import validate_run
from eopipe.storage import Storage
from tests.support.paths import needs_shared
from tests.support.runs import mosaic, pisa, records, run, same_pixels
from tests.support.s3 import s3, s3_uri  # noqa: F401  (fixtures)

pytestmark = [needs_shared, pytest.mark.slow]


def set_environment(values):
    """On a worker: a function of its own, for os.environ itself would be sent along."""
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture
def bucket(client, s3, s3_uri):  # noqa: F811  (a fixture of that name)
    """A folder of a bucket that the workers reach too, by their own environment."""
    client.run(set_environment, s3.env)
    yield s3_uri
    client.run(set_environment, dict.fromkeys(s3.env))


def spec_of(output):
    # The two northern tiles of the scene: what differs between folders is not the number of tiles.
    return pisa(output, area=[10.385, 43.725, 10.43, 43.75], output={"uri": str(output), "cog": True})


def test_a_bucket_holds_what_a_disk_holds(client, bucket, s3, tmp_path):  # noqa: F811
    assert run(spec_of(tmp_path / "out"))["exit_status"] == 0
    summary = run(spec_of(bucket))
    assert summary["exit_status"] == 0
    assert summary["mosaic"] == f"{bucket}/mosaic.zarr"
    storage, local = Storage.open(bucket), records(tmp_path / "out")
    remote = {path.rsplit("/", 1)[1].split(".")[0]: path for path in storage.list("ledger/") if "failed" not in path}
    assert remote.keys() == local.keys()
    for name, path in remote.items():
        record = json.loads(storage.get(path))
        assert record["checksums"] == local[name]["checksums"]
        assert record["inputs"] == local[name]["inputs"]
    assert _names(storage) == _names(Storage.open(str(tmp_path / "out"))) - {".lease.json.lock"}

    # Read in place: by fsspec, and by obstore.
    options = {"endpoint_url": s3.endpoint, "key": "testing-id", "secret": "testing-secret"}
    uri = f"{bucket}/mosaic.zarr"
    by_fsspec = xr.open_zarr(uri, group="0", consolidated=False, storage_options=options).load()
    by_obstore = xr.open_zarr(storage.zarr_store(run_folder.MOSAIC), group="0", consolidated=False)
    whole = mosaic(tmp_path / "out")
    assert same_pixels(whole, by_fsspec) > 50_000
    assert same_pixels(whole, by_obstore) > 50_000

    _stac_is_readable(storage, s3.endpoint)
    assert validate_run(bucket) == []
    status = read_status(bucket)
    assert (status["done"], status["failed"], status["not_run"]) == (len(local), 0, 0)
    assert status["published"]

    # Resumed: what was recorded is not done again, what was lost is.
    lost = next(iter(remote.values()))
    contents = {path: storage.get(path) for path in remote.values() if path != lost}
    storage.delete(lost)
    assert read_status(bucket)["not_run"] == 1
    assert run(spec_of(bucket))["exit_status"] == 0
    assert {path: storage.get(path) for path in contents} == contents
    assert json.loads(storage.get(lost))["checksums"] == local[lost.rsplit("/", 1)[1].split(".")[0]]["checksums"]
    assert validate_run(bucket) == []

    # Damage is found there too.
    shard = next(path for path in storage.list("mosaic.zarr/0/label/c"))
    storage.put(shard, storage.get(shard)[:-50])
    assert any("label" in problem for problem in validate_run(bucket))


def _names(storage):
    return {path.split("/")[0] for path in storage.list()}


def _stac_is_readable(storage, endpoint):
    items = [
        pystac.Item.from_dict(json.loads(storage.get(path)))
        for path in storage.list("stac/items")
        if path.endswith(".json")
    ]
    table = pq.read_table(io.BytesIO(storage.get("stac/items.parquet")))
    assert sorted(table["id"].to_pylist()) == sorted(item.id for item in items)
    item = items[0]
    item.set_self_href(storage.url(f"stac/items/row/{item.id}.json"))
    asset = next(asset for asset in item.assets.values() if asset.href.endswith(".tif"))
    where = asset.get_absolute_href()
    assert where.startswith(storage.url("cog/"))
    access = {
        "AWS_S3_ENDPOINT": endpoint.removeprefix("http://"),
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
    with rasterio.Env(**access), rasterio.open(where.replace("s3://", "/vsis3/")) as cog:
        label = cog.read(1)
    assert (np.unique(label) <= 9).any()
