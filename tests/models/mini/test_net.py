import numpy as np
import pytest
import torch

from eopipe.errors import WeightsError
from eopipe.models.mini.net import ALIGN, EDGE, HALO, NINE, RECEPTIVE_FIELD, Mini, fold, merge_order
from eopipe.models.mini.runner import MiniRunner, continued, load_mini, trunk_arrays
from eopipe.models.registry import MINI, mini_entry
from eopipe.training.trainer import TRUE_COLOUR

BANDS = MINI.bands


def _net(*, norm=False, bands=BANDS):
    """Seeded, every layer alive."""
    torch.manual_seed(3)
    net = Mini(bands, norm=norm)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(layer.weight, 1, 0.2)
            torch.nn.init.normal_(layer.bias, 0, 0.2)
    torch.nn.init.normal_(net.imputer.last.weight, 0, 0.05)
    return net.eval()


def _pixels(bands, side, seed=0):
    return np.random.default_rng(seed).uniform(0, 4000, (bands, side, side)).astype(np.float32)


@pytest.mark.parametrize("bands", [MINI.bands, mini_entry(TRUE_COLOUR).bands])
def test_bands_that_are_there_are_kept_and_the_others_imputed_in_the_trunk_s_order(bands):
    net = _net(bands=bands)
    x, valid = torch.rand(1, len(bands), 32, 32), torch.ones(1, 1, 32, 32)
    valid[..., 5] = 0
    nine = net.nine(x, valid)
    assert nine.shape == (1, 9, 32, 32)
    for number, band in enumerate(NINE):
        if band in bands:
            assert torch.equal(nine[:, number], x[:, bands.index(band)] * valid[:, 0])
        else:
            missing = [b for b in NINE if b not in bands].index(band)
            assert torch.allclose(nine[:, number], net.imputer(x)[:, missing] * valid[:, 0])
    assert (nine[..., 5] == 0).all()
    assert sorted(merge_order(bands)) == list(range(9))


def test_the_folded_net_is_the_trained_one():
    trained, shipped = _net(norm=True), Mini(BANDS).eval()
    shipped.load_state_dict(fold(trained.state_dict()))
    x, valid = torch.rand(2, 4, 64, 64), torch.ones(2, 1, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(trained(x, valid), shipped(x, valid), atol=1e-6)


@pytest.mark.parametrize("offset", [0, 5])
def test_a_pixel_sees_no_further_than_the_receptive_field_says_and_the_figure_is_no_larger_than_it_must_be(offset):
    net = _net()
    side, at = 2 * RECEPTIVE_FIELD + 4 * ALIGN, RECEPTIVE_FIELD + 2 * ALIGN + offset
    x = torch.rand(1, 4, side, side, requires_grad=True)
    net(x, torch.ones(1, 1, side, side))[0, :, at, at].square().sum().backward()
    rows = torch.nonzero(x.grad.abs().sum(dim=(0, 1, 3))).flatten()
    reach = max(at - int(rows.min()), int(rows.max()) - at)
    assert reach <= RECEPTIVE_FIELD
    assert RECEPTIVE_FIELD + EDGE <= HALO
    assert reach >= RECEPTIVE_FIELD - ALIGN


def test_the_fast_form_is_the_plain_net_and_a_crop_is_the_middle_of_the_whole():
    net = _net()
    runner = MiniRunner(MINI, net.state_dict())
    side = 2 * HALO + 64
    pixels, valid = _pixels(4, side), np.ones((side, side), bool)
    valid[100:110, 90:130] = False
    pixels[:, 100, 90] = np.nan
    whole = runner.concepts(pixels, valid, crop=0)
    core = runner.concepts(pixels, valid, crop=HALO)
    x, seen = runner._normalise(pixels, valid)
    with torch.inference_mode():
        plain = net(x, seen)[0].numpy()
    np.testing.assert_allclose(whole, plain, atol=2e-5)
    np.testing.assert_allclose(core, whole[:, HALO:-HALO, HALO:-HALO], atol=1e-6)
    np.testing.assert_allclose(core.sum(axis=0), 1, atol=1e-5)


def test_what_lies_under_invalid_pixels_is_not_looked_at():
    runner = MiniRunner(MINI, _net().state_dict())
    pixels, valid = _pixels(4, 64), np.ones((64, 64), bool)
    valid[20:30, 20:40] = False
    other = pixels.copy()
    other[:, ~valid] = 9999
    np.testing.assert_array_equal(runner.concepts(pixels, valid, crop=0), runner.concepts(other, valid, crop=0))


def test_what_is_valid_goes_on_a_little_and_a_scene_s_rim_is_no_water():
    x, seen = torch.rand(1, 2, 40, 40), torch.zeros(1, 1, 40, 40)
    seen[..., 10:20] = 1
    grown, where = continued(x * seen, seen)
    assert torch.equal(grown[..., 10:20], x[..., 10:20])
    assert where[..., 10 - EDGE : 20 + EDGE].all()
    assert not where[..., : 10 - EDGE].any()
    assert not where[..., 20 + EDGE :].any()
    assert (grown[..., 20 : 20 + EDGE] > 0).all()
    runner = load_mini(MINI)
    pixels, valid = np.full((4, 96, 96), 900, np.float32), np.zeros((96, 96), bool)
    pixels[3] = 3200  # vegetation
    valid[:, 30:70] = True
    labels = runner.concepts(pixels, valid, crop=0).argmax(axis=0)
    assert not (labels[:, 30:70] == 0).any()


def test_sides_that_the_halved_grids_cannot_hold_and_weights_of_another_net_are_refused():
    runner = MiniRunner(MINI, _net().state_dict())
    with pytest.raises(ValueError, match="multiples of 8"):
        runner.concepts(_pixels(4, 60), np.ones((60, 60), bool), crop=0)
    with pytest.raises(WeightsError, match="do not fit its net"):
        MiniRunner(MINI, _net(bands=TRUE_COLOUR).state_dict())


def test_the_trunk_s_arrays_bear_the_published_names():
    arrays = trunk_arrays(_net().state_dict())
    assert len(arrays) == 50
    assert {"stem.weight", "b1_pw2.bias", "side_dw.weight", "head.bias"} <= set(arrays)
