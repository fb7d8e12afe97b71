"""Bad files in one run: each fails its own tile, with its reason, and nothing else; mended, the run completes."""

import json
import shutil
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from tests.broken import scenes
from tests.support.command import eopipe
from tests.support.http_files import Fault, serve
from tests.support.paths import needs_shared
from tests.support.runs import mosaic, records, same_pixels

pytestmark = [needs_shared, pytest.mark.slow]


@dataclass(frozen=True)
class Case:
    """A file gone bad: on disk by ``damage`` (bytes to bytes, None removes), or at the server by ``fault``."""

    reason: str
    detail: str
    damage: object = None
    fault: Fault | None = None


def _without_place(data):
    with rasterio.MemoryFile(data) as memory, memory.open() as file:
        values = file.read(1)
    with rasterio.MemoryFile() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="GTiff", height=128, width=128, count=1, dtype="uint16") as file:
            file.write(values, 1)
        return bytes(memory.getbuffer())


def _smeared(data):
    """A kilobyte of other bytes in the middle; libtiff does not check the sums of all that it can decode."""
    middle = len(data) // 2
    return data[:middle] + np.random.default_rng(0).bytes(1000) + data[middle + 1000 :]


GOOD = {"good on disk": False, "good at the server": True}
DISK = {
    "corrupt COG": Case("read.corrupt", "B08.tif", _smeared),
    "zero-byte COG": Case("read.corrupt", "B08.tif", lambda _: b""),
    "cut in half": Case("read.truncated", "B08.tif", lambda data: data[: len(data) // 2]),
    "a web page": Case("read.corrupt", "B08.tif", lambda _: b"<html>Sign in</html>" * 100),
    "missing": Case("read.missing", "B08.tif", lambda _: None),
    "without a CRS": Case("read.corrupt", "no CRS or no geotransform", _without_place),
}
SERVER = {
    "truncated body": Case("read.truncated|read.reset", "B08.tif", fault=Fault("truncate")),
    "other bytes": Case("read.corrupt", "B08.tif", fault=Fault("garbage")),
    "reset for ever": Case("read.reset", "B08.tif", fault=Fault("reset")),
    "HTTP 404": Case("read.http_404", "HTTP 404", fault=Fault("status", status=404)),
    "HTTP 401": Case("read.http_401", "HTTP 401", fault=Fault("status", status=401)),
    "HTTP 403": Case("read.http_403", "HTTP 403", fault=Fault("status", status=403)),
    "HTTP 429 for ever": Case("read.http_429", "HTTP 429", fault=Fault("status", status=429)),
    "HTTP 500 for ever": Case("read.http_500", "HTTP 500", fault=Fault("status", status=500)),
}
CASES = DISK | SERVER
NAMES = [*GOOD, *CASES]
TILES = {name: scenes.tile_of(number) for number, name in enumerate(NAMES)}


@dataclass(frozen=True)
class Story:
    """What happened: broken, then mended and resumed, beside a run that never met a fault."""

    broken: object
    mended: object
    clean: object
    folder: object


@pytest.fixture(scope="module")
def story(client, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    sound = folder / "sound"
    for number, name in enumerate(NAMES):
        scenes.write_scene(sound / name.replace(" ", "-"), number)
    shutil.copytree(sound, folder / "files")
    with serve(folder / "files") as server:
        items = []
        for number, name in enumerate(NAMES):
            plain = name.replace(" ", "-")
            remote = GOOD.get(name, name in SERVER)
            items.append(scenes.item(plain, number, f"{server.url if remote else folder / 'files'}/{plain}"))
        catalog = scenes.write_catalog(folder / "catalog", items)
        for name, case in CASES.items():
            path = folder / "files" / name.replace(" ", "-") / "B08.tif"
            if case.fault is not None:
                server.inject(f"{name.replace(' ', '-')}/B08.tif", case.fault, -1)
                continue
            data = case.damage(path.read_bytes())
            path.write_bytes(data) if data is not None else path.unlink()
        broken = _run(catalog, folder / "out")
        shutil.copytree(folder / "out", folder / "broken")
        server.reset()
        shutil.copytree(sound, folder / "files", dirs_exist_ok=True)
        return Story(broken, _run(catalog, folder / "out"), _run(catalog, folder / "clean"), folder)


def _run(catalog, out):
    path = catalog.parent / f"{out.name}.yaml"
    path.write_text(json.dumps(scenes.spec(catalog, range(len(NAMES)), out)))
    return eopipe("run", path, "--json")


def test_the_run_goes_on_and_says_so(story):
    assert story.broken.status == 3, story.broken.err
    summary = story.broken.document
    assert (summary["done"], summary["failed"], summary["not_run"]) == (len(GOOD), len(CASES), 0)
    assert sum(summary["failed_reasons"].values()) == len(CASES)
    assert story.broken.err == ""


@pytest.mark.parametrize("name", CASES)
def test_each_bad_file_fails_its_tile_with_its_reason(story, name):
    case, tile = CASES[name], TILES[name]
    failures = [json.loads(p.read_text()) for p in (story.folder / "broken/ledger/failed").glob(f"{tile}.*.json")]
    assert len(failures) == 1
    assert failures[0]["reason"] in case.reason.split("|"), failures[0]
    assert case.detail in failures[0]["detail"]
    assert "\n" not in failures[0]["detail"]
    assert tile not in records(story.folder / "broken")
    assert not list((story.folder / "broken/cog").glob(f"{tile}*"))
    assert not list((story.folder / "broken/stac/items").rglob(f"{tile}*"))


def test_failed_is_never_no_data(story):
    """Their pixels are 255, the others' are those of the clean run; Collection and Items tell the two apart."""
    broken, clean = mosaic(story.folder / "broken"), mosaic(story.folder / "clean")
    for array in ("label", "confidence", "observations"):
        ours, theirs = broken[array].values, clean[array].values
        for number, name in enumerate(NAMES):
            part = np.s_[:, 2 * number * 512 : (2 * number + 1) * 512]
            if name in GOOD:
                np.testing.assert_array_equal(ours[part], theirs[part])
                assert (ours[part] != 255).any()
            else:
                assert (ours[part] == 255).all(), (name, array)
    collection = json.loads((story.folder / "broken/stac/collection.json").read_text())
    assert collection["eopipe:failed_tiles"] == len(CASES)
    assert sorted(collection["eopipe:failed"]) == sorted(TILES[name] for name in CASES)


def test_status_and_validate_of_the_broken_run(story):
    status = eopipe("status", story.folder / "broken", "--json")
    assert status.status == 0
    assert status.document["failed"] == len(CASES)
    assert all("\n" not in line for line in status.document["failed_tiles"])
    assert eopipe("validate", story.folder / "broken").status == 0


def test_mended_and_run_again_it_is_the_clean_run(story):
    assert (story.mended.status, story.clean.status) == (0, 0), story.mended.err
    assert story.mended.document["done"] == len(NAMES)
    same_pixels(mosaic(story.folder / "out"), mosaic(story.folder / "clean"))
    ours, theirs = records(story.folder / "out"), records(story.folder / "clean")
    assert {k: r["checksums"] for k, r in ours.items()} == {k: r["checksums"] for k, r in theirs.items()}
    assert json.loads((story.folder / "out/stac/collection.json").read_text())["eopipe:failed_tiles"] == 0
    assert eopipe("validate", story.folder / "out").status == 0
