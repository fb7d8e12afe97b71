"""Every golden array of the comparer, the identifier and the merge (DynamicEarth), by the code that ships."""

import numpy as np
import pytest

from eopipe.kernels.change.dynamicearth.pipelines import judge_objects
from eopipe.kernels.change.masks.overlap import box_nms, mask_iou, without_counterpart
from eopipe.kernels.change.masks.proposals import AFTER, BEFORE, Proposals
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.compare.latent import AngleComparison, compare_objects
from eopipe.kernels.change.stages.identify.rules import class_means, classes_of, eligible
from eopipe.kernels.change.stages.preprocess import identifier_picture
from eopipe.models.clip.entries import OPENAI
from tests.support.paths import golden, needs_shared

pytestmark = needs_shared


@pytest.fixture(scope="module")
def arrays():
    with np.load(golden("dynamicearth_comparer.npz")) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture(scope="module")
def masks(arrays):
    dense = np.unpackbits(arrays["masks"], axis=-1)[..., : arrays["mask_shape"][2]]
    return Masks.from_dense(dense, tuple(arrays["mask_shape"][1:].tolist()))


@pytest.fixture(scope="module")
def proposals(arrays, masks):
    first = int(arrays["n1"])
    before, after = masks.take(np.arange(first)), masks.take(np.arange(first, len(masks)))
    return Proposals.concatenate([Proposals.of(before, BEFORE), Proposals.of(after, AFTER)])


def compare(arrays, masks, beta):
    return compare_objects(arrays["f1"][0], arrays["f2"][0], masks, beta=beta)


def test_scores(arrays, masks):
    comparison = compare(arrays, masks, 145)
    np.testing.assert_allclose(comparison.score, arrays["change_score"], atol=1e-6)
    np.testing.assert_allclose(180 - comparison.angle, arrays["change_angle_deg"], rtol=1e-6)


@pytest.mark.parametrize("beta", [110, 125, 130, 135, 145, 155])
def test_keeps(arrays, masks, proposals, beta):
    changed = compare(arrays, masks, beta).changed
    np.testing.assert_array_equal(changed, arrays[f"keep_{beta}"])
    assert (proposals.origin[changed] == BEFORE).sum() == arrays[f"k1_{beta}"]


def test_otsu(arrays, masks):
    """The threshold over all pixels, from the features' products alone."""
    comparison = compare(arrays, masks, None)
    assert comparison.limit == pytest.approx(arrays["otsu_cos"], abs=1e-6)
    assert comparison.beta == pytest.approx(float(arrays["otsu_angle"]), rel=1e-6)
    np.testing.assert_array_equal(comparison.changed, arrays["otsu_keep"])


def test_instances(arrays, masks):
    first = int(arrays["n1"])
    before, after = masks.take(np.arange(first)), masks.take(np.arange(first, len(masks)))
    np.testing.assert_allclose(mask_iou(after, before), arrays["ceg_iou"], atol=1e-6)
    np.testing.assert_array_equal(without_counterpart(before, after), arrays["ceg_keep"])


def test_doubles(arrays):
    indices = box_nms(arrays["nms_boxes"], arrays["nms_scores"], 0.7)
    np.testing.assert_array_equal(indices, arrays["nms_keep_sorted"])
    assert (indices < arrays["nms_m1"]).sum() == arrays["nms_kept_from_img1"]


def test_classes_and_rules(arrays, masks):
    """The golden file has a mask more than it stores: one that vanishes at 40 x 40, here the pixel (1, 1)."""
    dot = np.zeros(masks.shape, bool)
    dot[1, 1] = True
    all_of_them = Masks.concatenate([masks, Masks.from_dense([dot], masks.shape)])
    before, after = (classes_of(class_means(all_of_them, arrays[f"ident_prob{date}"])) for date in (1, 2))
    np.testing.assert_array_equal(before, arrays["ident_cls1"])
    np.testing.assert_array_equal(after, arrays["ident_cls2"])
    origin = np.where(np.arange(27) < arrays["n1"], BEFORE, AFTER)
    for rule in ("instance", "stuff"):
        flags = eligible(before, after, origin, rule=rule)
        np.testing.assert_array_equal(flags, arrays[f"ident_keep_{rule}"], err_msg=rule)


def test_the_last_two_stages_at_once(arrays, proposals):
    everything = AngleComparison.of(np.ones(len(proposals)), 0.0)
    changes = judge_objects(proposals, everything, arrays["ident_prob1"], arrays["ident_prob2"], rule="stuff")
    np.testing.assert_array_equal(changes.changed, arrays["ident_keep_stuff"][:-1])


def test_merge(arrays, masks):
    merged = masks.take(compare(arrays, masks, 145).changed).union()
    np.testing.assert_array_equal(np.where(merged, 255, 0), arrays["merged_145"])


@pytest.mark.parametrize("antialias", [0, 1])
@pytest.mark.parametrize("side", [256, 1024])
def test_the_identifier_s_picture(side, antialias):
    with np.load(golden("preprocess.npz")) as archive:
        stored = archive["de_rgb_256"]
        name = f"de_norm448_from{side}_aa{antialias}"
        rows, moments = archive[f"{name}_ch0_row0_7"], archive[f"{name}_mean_std"]
    y, x, c = np.ogrid[:1024, :1024, :3]
    rgb = stored if side == 256 else ((7 * y + 13 * x + 29 * c) ^ (x * y // 16)).astype(np.uint8)
    picture = identifier_picture(rgb, size=448, mean=OPENAI[0], std=OPENAI[1], antialias=bool(antialias)).numpy()
    np.testing.assert_allclose(picture[0, :8], rows, atol=1e-5)
    np.testing.assert_allclose([picture.mean(), picture.std()], moments, atol=1e-5)
