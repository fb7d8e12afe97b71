"""Stages by name: those inside the package against plain formulations, and nets of the library end to end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from eopipe.grid import PixelBox
from eopipe.kernels import registry
from eopipe.kernels.change.dynamicearth.assemble import Assembly
from eopipe.kernels.change.dynamicearth.options import StageOptions
from eopipe.kernels.change.dynamicearth.pipelines import compare_instances, mask_compare_identify
from eopipe.kernels.change.masks.proposals import BEFORE
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.prompt_classes import read_prompts
from eopipe.kernels.change.registration.alignment import MOVE_MARGIN
from eopipe.kernels.change.spectral.threshold import otsu
from eopipe.kernels.change.stages import embedded
from eopipe.kernels.change.stages.compare.latent import (
    LatentComparer,
    compare_objects,
    compare_pixels,
    pixel_scores,
)
from eopipe.kernels.change.stages.compare.spectral import SpectralComparer, ratio_of
from eopipe.kernels.change.stages.pair import RGB, UNOBSERVED_COLOUR, BandStretch, DatePair
from eopipe.kernels.change.stages.propose.felzenszwalb import PixelProposer
from eopipe.kernels.change.stages.propose.sam import generate, point_grid
from eopipe.kernels.land_cover import BANDS
from eopipe.kernels.ovss.options import DenseOptions
from eopipe.kernels.ovss.taught_vocabulary import TaughtVocabulary
from eopipe.models.dynamicworld.net import TorchDynamicWorld, load_dynamic_world
from eopipe.models.foundation.features import FeatureModel
from eopipe.models.foundation.masks import PointMaskModel
from eopipe.models.foundation.resolve import resolve
from eopipe.models.mini import words
from eopipe.models.mini.phrases import CONCEPTS
from eopipe.models.mini.runner import load_mini
from eopipe.models.registry import DYNAMIC_WORLD, MINI
from eopipe.models.weights import load_arrays
from tests.models.foundation import tiny
from tests.support.change import class_objects, dense

PHOTO = BandStretch(("blue", "green", "red"), 0, 255)


def photographs(side=128, seed=0):
    """Two dates of a place: the second has a bright square."""
    first = tiny.picture(side, side, seed)
    second = first.copy()
    second[40:80, 30:90] = 240
    pixels = np.stack([first, second]).transpose(0, 3, 1, 2)[:, ::-1].astype(np.float32)
    return DatePair(np.ascontiguousarray(pixels), np.ones((2, side, side), bool))


def reflectance(side=64, seed=0):
    rng = np.random.default_rng(seed)
    steps = rng.uniform(200, 3000, (2, 9, side // 8, side // 8)).repeat(8, axis=2).repeat(8, axis=3)
    valid = np.ones((2, side, side), bool)
    valid[0, :4, :5] = False
    return DatePair(steps.astype(np.float32), valid)


NINE = BandStretch(BANDS, 0, 3558)


def test_what_nets_of_photographs_see():
    pair = photographs()
    valid = pair.valid.copy()
    valid[1, 3, 4] = False
    picture = PHOTO.picture(DatePair(pair.pixels, valid), 1)
    np.testing.assert_array_equal(picture[3, 4], UNOBSERVED_COLOUR)
    expected = pair.pixels[1][::-1].transpose(1, 2, 0)
    expected[3, 4] = UNOBSERVED_COLOUR
    np.testing.assert_array_equal(picture, expected)
    reflected = NINE.picture(reflectance(), 0)
    assert (reflected[0, 0] == UNOBSERVED_COLOUR).all()
    red = reflectance().pixels[0, BANDS.index("red"), 20, 20]
    assert reflected[20, 20, 0] == round(float(red) / 3558 * 255)


def test_mini_s_nine_numbers_have_the_angles_of_its_vectors():
    pair = reflectance()
    numbers = embedded.MiniEncoder.resolve().load(NINE, device="cpu", threads=1)(pair, 1)
    weights = load_mini(MINI).concepts(pair.pixels[1][NINE.index(MINI.bands)], pair.valid[1], crop=0)
    vectors = np.einsum("kyx,kc->cyx", weights**MINI.sharpness, words.concept_vectors())
    flat, whole = (torch.from_numpy(each.reshape(len(each), -1).T.copy()) for each in (numbers, vectors))
    one, two = torch.randperm(flat.shape[0])[:200], torch.randperm(flat.shape[0])[:200]
    expected = functional.cosine_similarity(whole[one], whole[two])
    np.testing.assert_allclose(functional.cosine_similarity(flat[one], flat[two]), expected, atol=2e-6)
    assert expected.std() > 0.05


def test_dynamic_world_s_features_are_those_before_its_upsampling():
    pair = reflectance()
    encoder = embedded.DynamicWorldEncoder.resolve().load(NINE, device="cpu", threads=1)
    coarse = torch.from_numpy(encoder(pair, 0))
    assert coarse.shape == (144, 32, 32)
    upsampled = functional.interpolate(coarse[None], size=(64, 64), mode="bilinear")
    unit = functional.normalize(upsampled, dim=1)
    net = TorchDynamicWorld(load_arrays(DYNAMIC_WORLD.weights), device="cpu")
    probability = torch.softmax(net.module.head(unit), dim=1)[0].detach().numpy()
    np.testing.assert_allclose(probability, load_dynamic_world()(pair.pixels[0], pair.valid[0]), atol=2e-5)


def test_identifiers_inside_the_package():
    pair = reflectance()
    prompts = (("houses", ("buildings",)), ("wood", ("forest",)))
    vocabulary = read_prompts(prompts, {})
    probabilities = embedded.DynamicWorldIdentifier.resolve(vocabulary).load(NINE, device="cpu", threads=1)(pair, 0)
    plain = load_dynamic_world()(pair.pixels[0], pair.valid[0])
    np.testing.assert_allclose(probabilities[1], plain[6], atol=1e-6)
    np.testing.assert_allclose(probabilities[2], plain[1], atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    mini = embedded.MiniIdentifier.resolve(prompts).load(NINE, device="cpu", threads=1)(pair, 0)
    assert mini.shape == (3, 64, 64)
    labels = TaughtVocabulary.read(DenseOptions(model="mini", prompts=prompts)).names
    assert labels == ("houses", "wood", "other")
    assert (mini >= 0).all()
    assert mini.std() > 0.01


def test_prompts_that_name_everything_leave_nothing_other():
    pair = reflectance()
    prompts = tuple((concept.name, (concept.name,)) for concept in CONCEPTS)
    probabilities = embedded.MiniIdentifier.resolve(prompts).load(NINE, device="cpu", threads=1)(pair, 0)
    assert probabilities.shape == (10, 64, 64)
    assert not probabilities[0].any()
    assert probabilities[1:].sum() > 0


def test_otsu_of_a_pair_leaves_out_what_nobody_saw():
    """And the same features twice, but for their last digits, part in no two."""
    rng = np.random.default_rng(0)
    before = rng.normal(size=(8, 16, 16)).astype(np.float32)
    after = before + rng.normal(0, 1, before.shape).astype(np.float32) * (rng.random((16, 16)) > 0.7)
    valid = np.ones((64, 64), bool)
    valid[:, 40:] = False
    scores = pixel_scores(before, after, (64, 64))
    limit = compare_pixels(before, after, (64, 64), beta=None, valid=valid).limit
    assert limit == otsu(scores[valid]) != otsu(scores)
    same = compare_pixels(before, before, (64, 64), beta=None)
    assert not same.changed.any()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("nets")
    nets = {"sam": tiny.sam(), "sam2": tiny.sam2(), "vit": tiny.vit(), "detector": tiny.grounding(mm=True)}
    return {name: tiny.save(net, root / name, detector=name == "detector") for name, net in nets.items()}


@pytest.fixture
def tolerant(monkeypatch):
    """A seeded net is sure of nothing: its masks are taken as they come."""
    from dataclasses import replace

    from eopipe.kernels.change.stages.propose import sam

    easy = {
        kind: replace(each, predicted_iou=-9.0, stability=0.0, double=0.95) for kind, each in sam.GENERATORS.items()
    }
    monkeypatch.setattr("eopipe.kernels.change.stages.propose.sam.GENERATORS", easy)
    return easy


def test_masks_first_with_nets_of_the_library(folders, tolerant):
    """SAM, DINO and an identifier, through the assembly: as the stages put together by hand."""
    options = StageOptions(
        instantiation="SAM-DINO-SegEarth-OV", proposer=folders["sam"], comparer=folders["vit"], identifier="none",
        prompts=["house"], points=4, beta=178, window=256,
    )  # fmt: skip
    assembly, pair = Assembly.resolve(options), photographs()
    assert assembly.bands == ("blue", "green", "red")
    assert set(assembly.path_options) == {"proposer", "comparer"}
    assert len(assembly.weights) >= 4
    assert assembly.memory(256) > 0
    detected = assembly.load(PHOTO, device="cpu", threads=1)(pair)
    pictures = [PHOTO.picture(pair, date) for date in (0, 1)]
    vit = FeatureModel.load(resolve(folders["vit"]), device="cpu", threads=1)
    features = [vit(picture) for picture in pictures]
    np.testing.assert_allclose(
        detected.changes.score,
        compare_objects(*features, detected.changes.proposals.masks, beta=178).score,
        atol=1e-12,
    )
    sam = PointMaskModel.load(resolve(folders["sam"]), device="cpu", threads=1)
    settings = tolerant["sam"]
    from dataclasses import replace

    by_hand = generate(
        sam(pictures[0], point_grid(4, pair.shape)), pair.shape, settings=replace(settings, points=4), origin=BEFORE
    )
    ours = detected.changes.proposals.take(detected.changes.proposals.origin == BEFORE)
    theirs = {mask.tobytes() for mask in dense(by_hand.masks)}
    assert len(ours) > 0
    assert {mask.tobytes() for mask in dense(ours.masks)} <= theirs
    assert detected.changes.changed.any()
    assert ((detected.changes.hundredths >= 100) == detected.changes.changed).all()


def test_a_map_of_each_framework(folders, tolerant):
    """Through the kernel, on a strip: loaded from folders, mapped, with objects; equal when it is done again."""
    common = {"prompts": ["house"], "window": 256, "registration": False, "stretch": [0, 0.3], "beta": 179}
    frameworks = {
        "M-C-I": {"instantiation": "SAM2-DINOv2-SegEarth-OV", "proposer": folders["sam2"], "identifier": "none",
                  "points": 2, "comparer": folders["vit"], **common},
        "I-M-C": {"instantiation": "MMGD-SAM2-DINO", "proposer": folders["sam2"], "identifier": folders["detector"],
                  "comparer": folders["vit"], **common},
    }  # fmt: skip
    box = PixelBox(0, 0, 128, 128)
    outer = box.pad(128 + MOVE_MARGIN)
    rng = np.random.default_rng(3)
    blocks = rng.uniform(300, 2800, (2, 3, outer.shape[0] // 20 + 1, outer.shape[1] // 20 + 1))
    pixels = blocks.repeat(20, axis=2).repeat(20, axis=3)[:, :, : outer.shape[0], : outer.shape[1]].astype(np.float32)
    valid = np.ones((2, *outer.shape), bool)
    for order, options in frameworks.items():
        kernel = registry.create("change", options, resolution=0.5)
        assert not any("were made with pixels" in line for line in kernel.check([], 0.5))
        assert any("were made with pixels of 0.2 to 3 m" in line for line in kernel.check([], 10))
        assert kernel.info.provenance["order"] == order
        kernel.load(device="cpu", threads=1)
        once, twice = (kernel(pixels, valid, box) for _ in range(2))
        for name, array in once.arrays.items():
            np.testing.assert_array_equal(array, twice.arrays[name], err_msg=f"{order} {name}")
        assert set(np.unique(once.arrays["change"])) <= {0, 1}
        assert (once.arrays["label_before"] > 0).all()
        changed = once.arrays["change"] == 1
        np.testing.assert_array_equal(changed, once.arrays["change_score"] >= 100)


def test_colours_of_a_pair_by_itself():
    """What changed stands out; the same scene twice has no ratio above 1."""
    pair = photographs()
    ratio = ratio_of(pair, (0, 1, 2), None)
    assert ratio[45:75, 35:85].mean() > 1
    assert np.median(ratio) < 0.5
    same = DatePair(np.stack([pair.pixels[0]] * 2), pair.valid)
    assert ratio_of(same, (0, 1, 2), None).max() < 1
    mask = np.zeros((1, *pair.shape), bool)
    mask[0, 45:75, 35:85] = True
    compared = SpectralComparer(ratio)(pair, Masks.from_dense(mask, pair.shape))
    assert compared.ratio[0] == pytest.approx(ratio[mask[0]].mean(), abs=1e-6)
    assert compared.changed.all()


def test_histograms_are_matched_first(folders):
    """A second date that is the first one, darker, looks different to a net; once matched, it does not."""
    pair = photographs()
    darker = DatePair(np.stack([pair.pixels[0], pair.pixels[0] * 0.4 + 20]), pair.valid)
    options = {
        "instantiation": "pixels-mini",
        "identifier": "none",
        "comparer": folders["vit"],
        "prompts": ["change"],
    }

    def ratio(match):
        stages = Assembly.resolve(StageOptions(**options, beta=170, match_histogram=match))
        return stages.load(PHOTO, device="cpu", threads=1)(darker).changes.hundredths

    assert ratio(match=False).mean() > 10
    assert ratio(match=True).mean() < 0.2 * ratio(match=False).mean()


def test_regions_of_what_was_asked_for_on_each_date():
    """I-M-C with weights that are here: as from the two class maps by hand."""
    pair = reflectance(128, seed=4)
    options = StageOptions(instantiation="regions-mini", prompts=["buildings"], beta=172)
    detected = Assembly.resolve(options).load(NINE, device="cpu", threads=1)(pair)
    identifier = embedded.MiniIdentifier.resolve(options.prompts).load(NINE, device="cpu", threads=1)
    encoder = embedded.MiniEncoder.resolve().load(NINE, device="cpu", threads=1)
    maps = [identifier(pair, date).argmax(axis=0) * pair.common for date in (0, 1)]
    features = [encoder(pair, date) for date in (0, 1)]
    by_hand = compare_instances(
        *class_objects(*maps, {1}), lambda masks: compare_objects(*features, masks, beta=172), one_sided="compare"
    )
    assert 0 < by_hand.changed.sum() < len(by_hand.changed)
    np.testing.assert_array_equal(detected.changes.changed, by_hand.changed)
    np.testing.assert_array_equal(detected.changes.mask(), by_hand.mask())
    np.testing.assert_array_equal(detected.labels, np.stack(maps))


def test_pixels_through_the_stages():
    pair = reflectance()
    options = StageOptions(instantiation="pixels-mini", prompts=["buildings"], beta=170)
    detected = Assembly.resolve(options).load(NINE, device="cpu", threads=1)(pair)
    encoder = embedded.MiniEncoder.resolve().load(NINE, device="cpu", threads=1)
    identifier = embedded.MiniIdentifier.resolve(options.prompts).load(NINE, device="cpu", threads=1)
    by_hand = mask_compare_identify(
        pair, PixelProposer().load(NINE, device="cpu", threads=1), LatentComparer(encoder, 170), identifier
    )
    np.testing.assert_array_equal(detected.changes.changed, by_hand.changed)
    assert detected.changes.changed.any()
    assert not detected.changes.changed[:4, :5].any()
    assert NINE.index(RGB) == [2, 1, 0]
