"""A wrong request: one line that names the key, the value and the remedy, the right exit status, nothing written."""

import copy
import json

import pytest

from tests.spec.test_spec import BAD
from tests.support.command import eopipe
from tests.support.paths import ROOT, needs_shared, shared
from tests.support.runs import pisa

pytestmark = needs_shared
BOWTIE = {"type": "Polygon", "coordinates": [[["a", "b"], [1, 2], [3, 4], ["a", "b"]]]}

SPECS = {
    "a colour": ("colour", "red", 2, "colour: unknown key; "),
    "no kernel": ("kernel", ..., 2, "kernel: is missing; add it to the spec"),
    "bbox upside down": ("area", [10.36, 43.75, 10.45, 43.68], 2, "south 43.75 is not below north 43.68"),
    "bbox of a point": ("area", [10, 43, 10, 43], 2, "area: south 43 is not below north 43"),
    "latitude 95": ("area", [10.36, 43.68, 10.45, 95], 2, "latitude 95 is outside -90..90"),
    "longitude 500": ("area", [10.36, 43.68, 500, 43.75], 2, "longitude 500 is outside"),
    "not a number": ("area", [float("nan"), 1, 2, 3], 2, "a coordinate is not a finite number"),
    "a point": ("area", {"type": "Point", "coordinates": [10, 43]}, 2, "covers no ground"),
    "a ring of words": ("area", BOWTIE, 2, "no ring of [longitude, latitude]"),
    "no feature": ("area", {"type": "FeatureCollection", "features": []}, 2, "holds no polygon"),
    "several UTM zones": (
        "area",
        [0, 40, 20, 50],
        2,
        "4 UTM zones; choose one of EPSG:32631, EPSG:32632, EPSG:32633, EPSG:32634",
    ),
    "beyond UTM": ("area", [10, 85, 11, 86], 2, "utm ends at 84 N"),
    "no such EPSG code": ("grid.crs", "EPSG:99999999", 2, "is no CRS; give a code such as EPSG:32632"),
    "a CRS of words": ("grid.crs", "mercator please", 2, "'mercator please' is no CRS"),
    "a geocentric CRS": ("grid.crs", "EPSG:4978", 2, "Geocentric CRS; give a projected or geographic"),
    "a CRS from far away": ("grid.crs", "EPSG:32733", 2, "far from here; choose a CRS made for this place"),
    "metres in degrees": ("grid.crs", "EPSG:4326", 2, "grid.resolution: 10 is in degrees"),
    "pixels of a country": ("grid.resolution", 1e9, 2, "holds the centre of no pixel"),
    "no such kernel": ("kernel.name", "landcover", 2, "did you mean 'land-cover'?"),
    "no such option": ("kernel.colour", 1, 2, "kernel.colour: unknown key; land-cover has precision, "),
    "a precision of 8": ("kernel.precision", "float8", 2, "kernel.precision: 'float8' is not valid"),
    "a gsd of 7": ("kernel.gsd", 7, 2, "kernel.gsd: 7 cannot be placed on a grid of resolution 10"),
    "a gsd of 0": ("kernel.gsd", 0, 2, "kernel.gsd: 0 is not valid: input should be 'grid', or"),
    "a gsd that is none": ("kernel.gsd", float("nan"), 2, "kernel.gsd: 'NaN' is not valid"),
    "tiles too large": ("cluster", {"kind": "local", "memory": "1100 MiB"}, 2, "which has 1.07 GiB; grid.tile: 512"),
    "workers too small": ("cluster", {"kind": "local", "memory": "100MB"}, 2, "give a worker more memory"),
    "parrots of memory": ("cluster", {"kind": "local", "memory": "4 parrots"}, 2, "cluster.memory: '4 parrots'"),
    "a cluster in a word": ("cluster", "local", 2, "cluster: 'local' is not valid: write a mapping"),
    "yesterday": ("source.datetime", "yesterday", 2, "is no time range (Invalid isoformat"),
    "backwards": ("source.datetime", "2018/2015", 2, "ends before it starts; swap the two"),
    "a query operator": ("source.query", {"eo:cloud_cover": {"less": 3}}, 2, "unknown operator 'less'"),
    "a query without one": ("source.query", {"eo:cloud_cover": {}}, 2, "has no condition; write it like"),
    "half a filter": ("source.filter", "eo:cloud_cover <", 2, "source.filter: not CQL2"),
    "a strange function": ("source.filter", "soundex(x) = 'a'", 2, "unknown function 'soundex'"),
    "an empty filter": ("source.filter", {}, 2, "source.filter: not CQL2"),
    "no such collection": ("source.collections", ["s2"], 2, "no collection 's2'; it has sentinel-2-l1c-oscd"),
    "collections of a word": ("source.collections", "s2", 2, "source.collections: 's2' is not valid: write a list"),
    "too many items": ("source.max_items", 1, 2, "above max_items 1; narrow datetime, area or query"),
    "a mask that is not there": ("source.mask", "scl", 2, "no asset for band 'scl'; its assets are B02"),
    "nothing matches": ("source.datetime", "1999", 2, "matches the area, the dates 1999 and the query"),
    "a catalog over pigeons": ("source.catalog", "pigeon://x/y", 2, "no installed library reads pigeon://"),
    "a folder without one": ("source.catalog", str(shared()), 2, "is a folder without collection.json"),
    "a catalog that is no JSON": ("source.catalog", str(ROOT / "README.md"), 4, "is not JSON"),
    "nobody at home": ("source.catalog", "http://127.0.0.1:1/v1", 4, "cannot be reached"),
    "memory": ("output.uri", "memory://x", 2, "memory://x cannot be shared by worker processes"),
    "no bucket": ("output.uri", "s3://", 2, "names no bucket; write s3://bucket/folder"),
    "a password": ("output.uri", "s3://me:secret@bucket/x", 2, "carries credentials or a query; put them into"),
    "an unknown scheme": ("output.uri", "pigeon://bucket/x", 2, "cannot be opened: Protocol not known: pigeon"),
    "an unknown placeholder": ("output.uri", "out/{nmae}", 2, "{nmae} cannot be filled in; only {name} and {date}"),
    "below a file": ("output.uri", f"{ROOT}/README.md/out", 4, "denied: Not a directory"),
    "too long a name": ("output.uri", "x" * 300, 4, "denied: File name too long"),
}


PLANNED = {"tiles too large", "workers too small"}


def changed(key, value, out):
    spec = copy.deepcopy(pisa(out, cluster={"kind": "local", "workers": 1}))
    if key == "source.max_items":
        del spec["source"]["datetime"]
    if value == {"kind": "local", "memory": "1100 MiB"}:
        spec["grid"]["tile"] = 2048
    *path, last = key.split(".")
    place = spec
    for part in path:
        place = place[part]
    place[last] = value
    if value is ...:
        del place[last]
    return spec


@pytest.mark.parametrize("case", SPECS)
def test_a_wrong_spec_is_refused(tmp_path, case):
    key, value, status, message = SPECS[case]
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(changed(key, value, tmp_path / "out")))
    for arguments in (("plan", path), ("plan", path, "--json"), ("run", path, "--json")):
        if case in PLANNED and arguments[0] == "run":
            continue  # a run asks the workers themselves
        ended = eopipe(*arguments)
        assert (ended.status, ended.out) == (status, ""), ended.err
        assert ended.line.startswith("eopipe: ")
        assert message in ended.line
        assert "secret" not in ended.line
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
    assert left == ["spec.yaml"]


@pytest.mark.parametrize("case", BAD)
def test_what_the_parser_refuses_is_refused_by_the_command_line(tmp_path, case):
    key, value, message = BAD[case]
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(changed(key, ... if value is None else value, tmp_path / "out")))
    ended = eopipe("run", path)
    assert (ended.status, ended.out) == (2, "")
    assert ended.line.startswith("eopipe: ")
    assert message in ended.line
    assert not (tmp_path / "out").exists()


FILES = {
    "no file": (None, "does not exist; give the path of a YAML run spec"),
    "not YAML": (b"name: [a\n", "is not YAML"),
    "a key twice": (b"name: a\nname: b\n", "found duplicate key"),
    "a list": (b"- 1\n", "a run spec is a mapping with the keys"),
    "nothing": (b"", "a run spec is a mapping with the keys"),
    "not text": (b"\xff\xfe\x00", "cannot be read"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_spec_that_is_no_spec(tmp_path, case):
    data, message = FILES[case]
    path = tmp_path / "spec.yaml"
    if data is not None:
        path.write_bytes(data)
    for command in ("plan", "run"):
        ended = eopipe(command, path, "--json")
        assert (ended.status, ended.out) == (2, "")
        assert message in ended.line


LINES = {
    "no spec": (["run"], "Missing argument 'SPEC' (see eopipe run --help)"),
    "an unknown option": (["plan", "x.yaml", "--fast"], "No such option: --fast (see eopipe plan --help)"),
    "an unknown command": (["stats"], "No such command 'stats'. Did you mean 'status'? (see eopipe --help)"),
    "an unknown shape": (["plan", "x.yaml", "--tiles", "svg"], "'svg' is not one of 'no', 'geojson'"),
    "a bad now": (["plan", "{spec}", "--now", "today"], "--now: 'today' is no ISO 8601 time"),
    "status of nothing": (["status", "{folder}"], "(run.json is missing); give the output of eopipe run"),
    "validate of nothing": (["validate", "{folder}"], "holds no run (run.json is missing)"),
    "status of a file's child": (["status", "{spec}/out"], "denied: Not a directory"),
    "status of a bad address": (["status", "s3://"], "names no bucket"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_wrong_command_line(tmp_path, case):
    arguments, message = LINES[case]
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps(pisa(tmp_path / "out")))
    places = {"{spec}": str(spec), "{folder}": str(tmp_path)}
    for key, value in places.items():
        arguments = [argument.replace(key, value) for argument in arguments]
    ended = eopipe(*arguments)
    assert (ended.status, ended.out) == (4 if "denied" in message else 2, "")
    assert message in ended.line


def test_an_empty_search_may_be_allowed(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(changed("source.datetime", "1999", tmp_path / "out")))
    ended = eopipe("plan", path, "--json", "--allow-empty")
    assert (ended.status, ended.err) == (0, "")
    assert ended.document["tiles_empty"] == ended.document["tiles"]


def test_these_tests_can_fail(tmp_path, monkeypatch):
    """A second line, a traceback or something written is seen."""
    monkeypatch.setattr("eopipe.cli.runs.resolve_now", lambda _: 1 / 0)
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(pisa(tmp_path / "out")))
    ended = eopipe("plan", path)
    assert ended.status == 1
    assert "Traceback" in ended.err
    with pytest.raises(AssertionError, match="not one line"):
        _ = ended.line
