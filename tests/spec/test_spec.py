"""A bad spec ends in one line that names the key, the value and the remedy."""

import copy
from pathlib import Path

import pytest

from eopipe.errors import SpecError
from eopipe.kernels.registry import create
from eopipe.spec import load_spec, parse_spec, resolve_now

GOOD = {
    "name": "pisa",
    "area": [10.36, 43.68, 10.45, 43.75],
    "source": {"catalog": "https://stac.example.com/v1", "collections": ["sentinel-2-l2a"], "datetime": "2025-05"},
    "grid": {"crs": "utm", "resolution": 10},
    "kernel": {"name": "land-cover"},
    "output": {"uri": "out/{name}-{date}"},
}

BAD = {
    "unknown key": ("colour", "red", "colour: unknown key"),
    "misspelt key": ("source.colections", ["x"], "did you mean 'collections'"),
    "misspelt nested key": ("grid.resolutoin", 10, "did you mean 'resolution'"),
    "missing name": ("name", None, "name: "),
    "name with a slash": ("name", "a/b", "use letters"),
    "empty name": ("name", "", "use letters"),
    "area of three": ("area", [1, 2, 3], "is no area"),
    "area of words": ("area", ["a", "b", "c", "d"], "is no area"),
    "area is a number": ("area", 5, "is no area"),
    "area file missing": ("area", "nowhere.geojson", "does not exist"),
    "resolution negative": ("grid.resolution", -10, "greater than 0"),
    "resolution infinite": ("grid.resolution", float("inf"), "finite"),
    "resolution a word": ("grid.resolution", "ten", "grid.resolution"),
    "tile odd": ("grid.tile", 700, "grid.tile"),
    "composite unknown": ("source.composite", "mode", "source.composite"),
    "mask unknown": ("source.mask", "clouds", "source.mask"),
    "mask dilated too far": ("source.mask", {"band": "scl", "dilate": 1000}, "dilate"),
    "collections a word": ("source.collections", "sentinel-2-l2a", "source.collections"),
    "datetime and epochs": ("source.epochs", {"before": "2015", "after": "2018"}, "not both"),
    "query not a mapping": ("source.query", "cloud < 3", "source.query"),
    "catalog missing": ("source.catalog", "nowhere/collection.json", "does not exist"),
    "cluster kind unknown": ("cluster", {"kind": "cloud"}, "cluster.kind"),
    "address without one": ("cluster", {"kind": "address"}, "cluster.address"),
    "no workers": ("cluster", {"kind": "local", "workers": 0}, "cluster.workers"),
    "cog a word": ("output.cog", "perhaps", "output.cog"),
    "kernel without a name": ("kernel", {"precision": "float32"}, "kernel.name"),
    "source a list": ("source", [1], "source"),
    "sign unknown": ("source.sign", "me", "source.sign"),
}


def broken(key: str, value: object) -> dict:
    spec = copy.deepcopy(GOOD)
    *path, last = key.split(".")
    place = spec
    for part in path:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return spec


@pytest.mark.parametrize("case", BAD)
def test_a_bad_spec_is_one_line_that_names_the_key(case):
    key, value, said = BAD[case]
    with pytest.raises(SpecError) as error:
        parse_spec(broken(key, value))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_status == 2


def test_a_good_spec_is_read_and_its_paths_are_anchored(tmp_path):
    spec = parse_spec(GOOD, base=tmp_path)
    assert spec.output_uri(resolve_now("2025-09-30")) == str(tmp_path / "out/pisa-2025-09-30")
    assert spec.source.ranges() == {"all": "2025-05"}
    assert spec.source.mask is None


def test_a_mask_may_be_given_by_name():
    assert parse_spec(broken("source.mask", "scl")).source.mask.band == "scl"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nname: b\n", "found duplicate key"),
        ("name: [a\n", "is not YAML"),
        ("- 1\n", "is a mapping"),
        ("", "is a mapping"),
        ("name: \tx\n a: b: c\n", "line"),
    ],
)
def test_bad_yaml_is_one_line(tmp_path, text, said):
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as error:
        load_spec(file)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_unreadable_file_is_one_line(tmp_path):
    with pytest.raises(SpecError, match="does not exist"):
        load_spec(tmp_path / "nowhere.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path)
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(binary)


def test_yaml_is_1_2(tmp_path):
    """In YAML 1.1 `no` would be false and 010 would be 8."""
    file = tmp_path / "spec.yaml"
    file.write_text(
        "name: no\narea: [10, 43, 11, 44]\nsource: {catalog: 'https://x.example', datetime: 2025-05-01}\n"
        "grid: {crs: utm, resolution: 010}\nkernel: {name: land-cover}\noutput: {uri: o}\n"
    )
    spec = load_spec(file)
    assert spec.name == "no"
    assert spec.grid.resolution == 10
    assert spec.source.datetime == "2025-05-01"


def test_area_files_are_read_and_checked(tmp_path):
    (tmp_path / "a.geojson").write_text('{"type": "Point", "coordinates": [1, 2]}')
    (tmp_path / "b.geojson").write_text("{}")
    (tmp_path / "c.geojson").write_text("not json")
    assert parse_spec(broken("area", "a.geojson"), base=tmp_path).area["type"] == "Point"
    for name in ("b.geojson", "c.geojson"):
        with pytest.raises(SpecError, match=r"area: .*\.geojson"):
            parse_spec(broken("area", name), base=tmp_path)


def test_now_is_utc_or_refused():
    assert resolve_now("2025-09-30T12:00:00+02:00").isoformat() == "2025-09-30T10:00:00+00:00"
    with pytest.raises(SpecError, match="--now"):
        resolve_now("yesterday")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("landcover", {}, "did you mean 'land-cover'"),
        ("magic", {}, "the kernels are"),
        ("land-cover", {"precision": "float16"}, "kernel.precision"),
        ("land-cover", {"prompts": {}}, "kernel.prompts: unknown key"),
    ],
)
def test_a_bad_kernel_is_one_line(name, options, said):
    with pytest.raises(SpecError) as error:
        create(name, options, resolution=10.0)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_specs_for_users_are_valid():
    root = Path(__file__).parents[2]
    specs = sorted((root / "flows").glob("*.yaml"))
    assert specs
    for file in specs:
        load_spec(file)


def test_as_written_leaves_the_cluster_out_and_defaults_too():
    spec = parse_spec({**GOOD, "cluster": {"kind": "local"}})
    assert "cluster" not in spec.as_written()
    assert "mask" not in spec.as_written()["source"]


def test_weights_of_ones_own_are_relative_to_the_file(tmp_path):
    kernel = {
        "name": "ovss",
        "model": "local-dir:clip",
        "proposer": "local-dir:../sam",
        "upsampler_checkpoint": "../up.ckpt",
        "checkpoint": "/w/a.pt",
    }
    spec = parse_spec({**GOOD, "kernel": kernel}, base=tmp_path / "flows")
    assert spec.kernel.options() == {
        "model": f"local-dir:{tmp_path}/flows/clip",
        "proposer": f"local-dir:{tmp_path}/sam",
        "upsampler_checkpoint": f"{tmp_path}/up.ckpt",
        "checkpoint": "/w/a.pt",
    }
