"""What a run promises to later runs of the same spec: recipe hash, tile keys, ``run.json`` and the map.

A dozen specs over one square kilometre: each kernel, each instantiation with weights inside, radar, two epochs,
statistics, kept features, and runs made of other runs. Only public names are used here, so that no change of the
package's inside has a reason to touch this file. ``python -m tests.golden.test_pins`` writes the pins anew: after a
change that is meant to alter them, such as a kernel's new version.

Recipes and keys are compared exactly. Maps are compared as processors differ: labels on 99.9 % of the pixels, numbers
within one step there. With ``EOPIPE_GOLDEN_EXACT=FILE`` the checksums of all arrays are written to the file where it
does not exist, and compared where it does: for two checkouts on one machine.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

import eopipe
from tests.support.paths import needs_shared, shared

HERE = Path(__file__).parent
PINS, MAPS = HERE / "pins.json", HERE / "maps.npz"

PISA = [10.380, 43.686, 10.392, 43.694]
"""A square kilometre over the border of two cells of UTM zone 32."""

CITIES = "data/sentinel2-oscd/collection.json"
WORDS = {"water": ["water", "river"], "forest": ["forest"], "houses": ["houses", "buildings"]}

ONE = {"datetime": "2015-07", "composite": "first"}
TWO = {"epochs": {"before": "2015", "after": "2018"}, "composite": "first"}

SPECS = {
    "land-cover": ({"name": "land-cover"}, ONE, {"resolution": 10}),
    "land-cover-fine": (
        {"name": "land-cover", "gsd": 10, "probabilities": True},
        {"datetime": "2015/2018", "composite": "median"},
        {"resolution": 20, "crs": "EPSG:3035"},
    ),
    "mini": ({"name": "ovss", "model": "mini", "prompts": WORDS}, ONE, {"resolution": 10}),
    "mini-threshold": (
        {"name": "ovss", "model": "mini", "prompts": WORDS, "background": "forest", "threshold": 0.5},
        ONE,
        {"resolution": 10},
    ),
    "clip": (
        {"name": "ovss", "upsampler": "bilinear", "prompts": WORDS, "stretch": [0, 0.3], "features": "keep"},
        ONE,
        {"resolution": 10},
    ),
    "change": ({"name": "change", "prompts": {"construction": ["construction"]}}, TWO, {"resolution": 10}),
    "felzenszwalb": (
        {"name": "change", "instantiation": "felzenszwalb-spectral", "prompts": ["construction"]},
        TWO,
        {"resolution": 10},
    ),
    "pixels-mini": (
        {"name": "change", "instantiation": "pixels-mini", "prompts": ["houses", "grass"]},
        TWO,
        {"resolution": 10},
    ),
    "regions-mini": (
        {"name": "change", "instantiation": "regions-mini", "prompts": ["grass"], "beta": 176, "window": 256},
        TWO,
        {"resolution": 10},
    ),
}
"""Kernel, how scenes are read, grid."""

RADAR = [-0.7815, 38.105, -0.7700, 38.114]
DERIVED = ("clip-rescored", "change-recut")
NAMES = (*SPECS, "radar", *DERIVED)


def spec_of(name, folder):
    """A spec as a user writes it."""
    kernel, source, grid = SPECS[name]
    kernel = dict(kernel)
    if name == "clip":
        kernel["model"] = f"local-dir:{tower(folder)}"
    return {
        "name": name,
        "area": PISA,
        "source": {"catalog": str(shared() / CITIES), "collections": ["sentinel-2-l1c-oscd"], **source},
        "grid": {"crs": "utm", "tile": 512, **grid},
        "kernel": kernel,
        "output": {"uri": str(folder / name), "cog": name == "land-cover"},
        "cluster": {"kind": "current"},
    }


def radar_spec(folder):
    """An open-vocabulary map of a Sentinel-1 chip in dB."""
    import rasterio

    chip = shared() / "data/sar/sen1floods11_west/Spain_7370579_west_S1Hand.tif"
    with rasterio.open(chip) as file:
        west, south, east, north = file.bounds
        shape, transform = list(file.shape), list(file.transform)[:6]
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    bands = [{"name": band, "unit": "dB", "nodata": "nan"} for band in ("VV", "VH")]
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "flood",
        "collection": "flood",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "bbox": [west, south, east, north],
        "links": [],
        "properties": {
            "datetime": "2019-09-17T06:00:00Z",
            "platform": "sentinel-1a",
            "sar:product_type": "GRD",
            "proj:code": "EPSG:4326",
            "proj:shape": shape,
            "proj:transform": transform,
        },
        # relative, so that the item's hash does not hold this machine's folders
        "assets": {"backscatter": {"href": "./chip.tif", "roles": ["data"], "bands": bands}},
    }
    collection = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "flood",
        "description": "made for a test",
        "license": "other",
        "extent": {"spatial": {"bbox": [item["bbox"]]}, "temporal": {"interval": [[None, None]]}},
        "links": [{"rel": "item", "href": "./flood.json"}],
    }
    catalog = folder / "catalog"
    catalog.mkdir()
    shutil.copy(chip, catalog / "chip.tif")
    (catalog / "flood.json").write_text(json.dumps(item))
    (catalog / "collection.json").write_text(json.dumps(collection))
    checkpoint = folder / "radar.safetensors"
    write_clip(checkpoint, **VIT_B_16)
    return {
        "name": "radar",
        "area": RADAR,
        "source": {"catalog": str(catalog / "collection.json"), "datetime": "2019", "composite": "median"},
        "grid": {"crs": "EPSG:32630", "resolution": 10, "tile": 512},
        "kernel": {
            "name": "ovss",
            "model": "AlignEarth-SAR-ViT-B-16",
            "checkpoint": str(checkpoint),
            "templates": ["a photo of {}."],
            "upsampler": "bilinear",
            "prompts": WORDS,
        },
        "output": {"uri": str(folder / "radar"), "cog": False},
        "cluster": {"kind": "current"},
    }


SMALL = {"width": 64, "layers": 2, "out": 32, "text": 32, "text_layers": 2}
VIT_B_16 = {"width": 768, "layers": 12, "out": 512, "text": 512, "text_layers": 12}


def tower(folder):
    """A CLIP of two layers, as a folder that a spec names."""
    place = folder / "clip"
    if not place.exists():
        place.mkdir()
        write_clip(place / "open_clip_model.safetensors", **SMALL)
        config = {
            "embed_dim": SMALL["out"],
            "quick_gelu": True,
            "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
        }
        (place / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    return place


def write_clip(file, *, width, layers, out, text, text_layers):
    """Write weights that are exact on every machine: multiples of 1/2048 from a generator of integers."""
    from safetensors.numpy import save_file

    shapes = {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (197, width),
        "visual.proj": (width, out),
        "visual.conv1.weight": (width, 3, 16, 16),
        "visual.ln_pre.weight": (width,),
        "visual.ln_pre.bias": (width,),
        "visual.ln_post.weight": (width,),
        "visual.ln_post.bias": (width,),
        "positional_embedding": (77, text),
        "text_projection": (text, out),
        "token_embedding.weight": (49408, text),
        "ln_final.weight": (text,),
        "ln_final.bias": (text,),
        "logit_scale": (),
    }
    for stem, wide, count in (("visual.transformer", width, layers), ("transformer", text, text_layers)):
        for layer in range(count):
            at = f"{stem}.resblocks.{layer}"
            shapes |= {
                f"{at}.ln_1.weight": (wide,),
                f"{at}.ln_1.bias": (wide,),
                f"{at}.ln_2.weight": (wide,),
                f"{at}.ln_2.bias": (wide,),
                f"{at}.attn.in_proj_weight": (3 * wide, wide),
                f"{at}.attn.in_proj_bias": (3 * wide,),
                f"{at}.attn.out_proj.weight": (wide, wide),
                f"{at}.attn.out_proj.bias": (wide,),
                f"{at}.mlp.c_fc.weight": (4 * wide, wide),
                f"{at}.mlp.c_fc.bias": (4 * wide,),
                f"{at}.mlp.c_proj.weight": (wide, 4 * wide),
                f"{at}.mlp.c_proj.bias": (wide,),
            }
    drawn, spread = np.random.default_rng(5), 512 * 8 // int(width**0.5)
    tensors = {}
    for name, shape in shapes.items():
        values = np.asarray(drawn.integers(-spread, spread + 1, shape, np.int16), np.float16) / np.float16(2048)
        one = ".ln_" in f".{name}" and name.endswith("weight")
        tensors[name] = np.asarray(values + np.float16(one), np.float16)
    save_file(tensors, file)


def run_all(folder):
    """Run every spec; returns the outputs by name."""
    for name in SPECS:
        assert eopipe.run(spec_of(name, folder))["exit_status"] == 0, name
    assert eopipe.run(radar_spec(folder))["exit_status"] == 0
    words = {"water": ["lake"], "town": ["town", "street"]}
    rescored, recut = DERIVED
    assert eopipe.rescore(str(folder / "clip"), to=str(folder / rescored), prompts=words)["exit_status"] == 0
    assert eopipe.rethreshold(str(folder / "change"), to=str(folder / recut), at=60)["exit_status"] == 0
    return {name: folder / name for name in NAMES}


def pins_of(out, folder):
    """What is pinned of a run."""
    text = (out / "run.json").read_text()
    for place, word in ((folder, "TMP"), (shared(), "SHARED"), (shared().resolve(), "SHARED")):
        text = text.replace(str(place), word)
    document = json.loads(text)
    for name in ("eopipe", "versions", "now"):
        document.pop(name)
    records = sorted(path.name.removesuffix(".json") for path in out.glob("ledger/r*/*.json"))
    sums = sorted(str(path.relative_to(out)) for path in out.glob("statistics/*/*.json"))
    return {"recipe_hash": document["recipe_hash"], "tiles": records, "statistics": sums, "run": document}


def arrays_of(out):
    """The map's arrays over the area's box."""
    whole = xr.open_zarr(out / "mosaic.zarr", group="0", consolidated=False)
    label = whole["label"] if "label" in whole else whole["change"]
    seen = (label != 255) & (label != 0 if "label" in whole else label != 254)
    rows, cols = np.flatnonzero(seen.any("x").values), np.flatnonzero(seen.any("y").values)
    part = whole.isel(y=slice(rows[0], rows[-1] + 1), x=slice(cols[0], cols[-1] + 1))
    return {name: part[name].values for name in sorted(part.data_vars) if {"y", "x"} <= set(part[name].dims)}


def checksums_of(out):
    """Of all arrays as a record has them, and of the objects' table."""
    found = {}
    for path in sorted(out.glob("ledger/r*/*.json")):
        for name, value in json.loads(path.read_text())["checksums"].items():
            found[f"{path.name}/{name}"] = value
    for path in sorted(out.glob("objects/*.parquet")):
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    with pytest.MonkeyPatch.context() as patch, cluster():
        patch.setenv("EOPIPE_CACHE", str(folder / "cache"))
        yield run_all(folder), folder


def cluster():
    """Two worker processes; their Client is the process's own."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": "127.0.0.1:0"}
    return Client(LocalCluster(**options))


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_recipe_keys_and_run_json_are_as_pinned(outputs, name):
    found, folder = outputs
    assert pins_of(found[name], folder) == json.loads(PINS.read_text())[name]


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_map_is_as_pinned(outputs, name):
    with np.load(MAPS) as pinned:
        for array, values in arrays_of(outputs[0][name]).items():
            was = pinned[f"{name}/{array}"]
            assert values.shape == was.shape, array
            step = 0 if array in {"change", "observations"} or array.startswith("label") else 1
            near = np.abs(values.astype(np.int16) - was.astype(np.int16)) <= step
            assert near.mean() >= 0.999, f"{array}: {1 - near.mean():.2%} of the pixels differ"


@needs_shared
@pytest.mark.slow
@pytest.mark.skipif("EOPIPE_GOLDEN_EXACT" not in os.environ, reason="compares two checkouts on one machine")
def test_bytes_are_those_of_another_checkout(outputs):
    found = {name: checksums_of(out) for name, out in outputs[0].items()}
    file = Path(os.environ["EOPIPE_GOLDEN_EXACT"])
    if not file.exists():
        file.write_text(json.dumps(found, indent=1))
    assert found == json.loads(file.read_text())


def main():
    """Write the pins anew."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["EOPIPE_CACHE"] = str(folder / "cache")
        with cluster():
            outputs = run_all(folder)
        pins = {name: pins_of(out, folder) for name, out in outputs.items()}
        PINS.write_text(json.dumps(pins, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        arrays = {f"{name}/{key}": value for name, out in outputs.items() for key, value in arrays_of(out).items()}
        np.savez_compressed(MAPS, **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main())
