"""features.zarr: one file a window, one writer a file, and a basis that says what it loses."""

import numpy as np
import pytest
import zarr

from eopipe.errors import DamageError, OutputError, TileFault
from eopipe.grid import PixelBox, Tile
from eopipe.kernelinfo import FeatureSpec, Inputs, KernelInfo, Window
from eopipe.mosaic.features import FeatureLayout, FeatureStore, create, read_layout, tile_checksum
from eopipe.mosaic.pca import fit_basis
from eopipe.run_folder import FEATURES
from eopipe.storage import Storage


def layout(reduced=None, tiles=PixelBox(-1, 3, 1, 5), tile=512, stride=112):  # noqa: B008  (frozen)
    return FeatureLayout(
        size=2 * stride, stride=stride, tile=tile, tiles=tiles, tokens=5, channels=8, reduced=reduced
    )


def all_tiles(place):
    box = place.tiles
    return {Tile(row, col) for row in range(box.row0, box.row1) for col in range(box.col0, box.col1)}


def made(index, tokens=5, channels=8):
    rng = np.random.default_rng([abs(index[0]), abs(index[1])])
    return rng.normal(size=(tokens, channels)).astype(np.float32)


@pytest.mark.parametrize("tiles", ["all", "l-shaped"])
def test_every_window_that_touches_a_tile_has_one_writer(tiles):
    """Also where the tile of its origin is no part of the run: at the border, and at an area's inner corner."""
    place = layout()
    there = all_tiles(place) - ({Tile(-1, 3)} if tiles == "l-shaped" else set())
    written = [index for tile in there for index in place.windows_of(tile, there)]
    assert len(written) == len(set(written))
    touched = set()
    for tile in there:
        box = place.touching(tile.box(place.tile))
        touched |= {(row, col) for row in range(box.row0, box.row1) for col in range(box.col0, box.col1)}
    assert set(written) == touched
    inside = [index for index in written if Tile(index[0] * 112 // 512, index[1] * 112 // 512) in there]
    assert all(place.owner(index, there) == Tile(index[0] * 112 // 512, index[1] * 112 // 512) for index in inside)


def test_a_window_is_read_as_it_was_written_to_16_bits(anywhere):
    storage, place = anywhere, layout()
    create(storage, place, None, {"title": "test"})
    assert read_layout(storage) == place
    store = FeatureStore(storage, place)
    windows = {(-4, 14): made((-4, 14)), (-4, 15): made((-4, 15)), (-3, 20): made((-3, 20))}
    sums = store.write(windows)
    for index, values in windows.items():
        np.testing.assert_allclose(store.restored(store.stored(index)), values, rtol=1e-3, atol=1e-6)
        assert storage.exists(place.path(index))
    assert store.stored((-4, 16)) is None
    assert not storage.exists(place.path((-4, 16)))
    assert sum("/c/" in path for path in storage.list(FEATURES)) == 3
    again = FeatureStore(storage, place)
    assert again.write(windows) == sums
    assert tile_checksum(sums) == tile_checksum(dict(reversed(sums.items())))


def test_anyone_can_read_it_with_zarr(tmp_path):
    storage, place = Storage.open(str(tmp_path)), layout()
    create(storage, place, None, {})
    FeatureStore(storage, place).write({(-4, 14): made((-4, 14))})
    array = zarr.open_group(tmp_path / FEATURES, mode="r")["features"]
    assert array.dtype == np.float16
    assert array.metadata.dimension_names == ("window_row", "window_col", "token", "channel")
    row0, col0 = array.attrs["window_origin"]
    np.testing.assert_array_equal(array[-4 - row0, 14 - col0], made((-4, 14)).astype(np.float16))


def test_a_basis_says_what_it_loses(tmp_path):
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(3, 8))
    tokens = (rng.normal(size=(400, 3)) @ plane + 2.0).astype(np.float32)
    whole, less = fit_basis(tokens, 3), fit_basis(tokens, 1)
    assert whole.variance > 0.99999
    assert whole.max_error < 1e-5
    assert 0.2 < less.variance < 0.9
    assert less.max_error > less.mean_error > 1e-3
    assert fit_basis(tokens, 3).identity == whole.identity != less.identity
    storage, place = Storage.open(str(tmp_path)), layout(reduced=3)
    create(storage, place, whole, {})
    store = FeatureStore(storage, place)
    store.write({(-4, 14): tokens[:5]})
    np.testing.assert_allclose(store.restored(store.stored((-4, 14))), tokens[:5], rtol=2e-3, atol=5e-3)
    attrs = zarr.open_group(tmp_path / FEATURES, mode="r")["features"].attrs
    assert attrs["variance_kept"] == pytest.approx(whole.variance, abs=1e-6)
    assert attrs["max_cosine_error"] == pytest.approx(whole.max_error, rel=0.01)
    assert attrs["sampled_tokens"] == 400


def test_another_basis_is_damage(tmp_path):
    storage, place = Storage.open(str(tmp_path)), layout(reduced=2)
    tokens = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    create(storage, place, fit_basis(tokens, 2), {})
    zarr.open_group(tmp_path / FEATURES, mode="r+")["mean"][:] = 0
    with pytest.raises(DamageError, match="the basis is not the one"):
        FeatureStore(storage, place)


def test_what_16_bits_cannot_hold_is_a_fault(tmp_path):
    storage, place = Storage.open(str(tmp_path)), layout()
    create(storage, place, None, {})
    with pytest.raises(TileFault, match=r"features\.range"):
        FeatureStore(storage, place).write({(-4, 14): np.full((5, 8), 1e6, np.float32)})


def test_no_features_are_one_line(tmp_path):
    with pytest.raises(OutputError, match="keeps no window features; run it with"):
        read_layout(Storage.open(str(tmp_path)))


def test_the_layout_follows_the_kernel():
    info = KernelInfo(
        "test", "1", Inputs("optical", ("red",), 10.0), Window(48, 24, 47), (), factor=2, features=FeatureSpec(17, 8)
    )
    place = FeatureLayout.of(info, 512, PixelBox(0, 0, 1, 1))
    assert (place.tile, place.columns) == (1024, 8)
    assert place.windows == PixelBox(-1, -1, 43, 43)
    assert info.features.window_bytes == 17 * 8 * 2


def test_a_row_is_read_at_once_and_what_is_lost_is_told(anywhere):
    """What another run scores: whole windows of tiles that are done, and a fault for the others."""
    from eopipe.engine.sources.kept_features import AHEAD, StoredFeatures

    storage, place = anywhere, layout()
    create(storage, place, None, {})
    store, tiles = FeatureStore(storage, place), frozenset(all_tiles(place))
    windows = {index: made(index) for index in ((-4, 15), (-4, 16), (-4, 17), (-3, 15))}
    store.write(windows)
    kept = StoredFeatures(storage, place, tiles, tiles - {Tile(-1, 4)}, {})
    asked = []
    read = kept.store.stored_row
    kept.store.stored_row = lambda *args: asked.append(args) or read(*args)
    for index, values in windows.items():
        np.testing.assert_allclose(kept.get(*index), values, rtol=1e-3, atol=1e-6)
    assert kept.get(-3, 14) is None
    starts = [(row, max(col // AHEAD * AHEAD, place.windows.col0)) for row, col in windows]
    assert [first for first, _ in asked] == list(dict.fromkeys(starts))
    with pytest.raises(TileFault, match=r"features\.missing: .* tile r-00001c00004 is not done"):
        kept.get(-4, 20)
    storage.put(place.path((-3, 15)), b"no zstd")
    with pytest.raises(TileFault, match=r"features\.corrupt: .* cannot be decoded"):
        StoredFeatures(storage, place, tiles, tiles, {}).get(-3, 15)
