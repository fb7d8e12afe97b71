from __future__ import annotations

import numpy as np
import pytest
import torch

from eopipe.kernels.change.stages.propose.sam import generate, point_grid
from eopipe.kernels.change.stages.settings import SAM, GeneratorSettings
from eopipe.models.foundation import masks as module
from eopipe.models.foundation.masks import BoxMaskModel, PointMaskModel
from eopipe.models.foundation.resolve import resolve
from tests.models.foundation import tiny
from tests.support import change

SHAPES = [(128, 128), (70, 90), (200, 150)]
POINTS = np.array([[10.25, 20.5], [50, 30], [0.5, 69], [33, 44], [62.5, 11]])
SIZE = {"height": 128, "width": 128}


@pytest.fixture(scope="module")
def models(names):
    return {
        name: PointMaskModel.load(resolve(names[name], "point-masks"), device="cpu", threads=1)
        for name in ("sam", "sam2", "sam2_video")
    }


def joined(answers):
    logits, predicted = zip(*answers, strict=True)
    return np.concatenate(logits), np.concatenate(predicted)


def by_the_library(net, picture, points):
    """SAM's processor before and after the net."""
    from transformers import SamImageProcessorPil, SamProcessor

    processor = SamProcessor(SamImageProcessorPil(size={"longest_edge": 128}, pad_size=SIZE))
    inputs = processor(picture, input_points=[[[list(point)] for point in points]], return_tensors="pt")
    inputs["input_points"] = inputs["input_points"].float()
    shapes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    out = net(**inputs)
    (found,) = processor.image_processor.post_process_masks(out.pred_masks, *shapes, binarize=False)
    return found.flatten(0, 1).numpy(), out.iou_scores.flatten().numpy()


@pytest.mark.parametrize("shape", [*SHAPES, (96, 96)])  # a square picture, yet not the encoder's own
def test_sam_is_the_librarys_model_between_the_librarys_processors(models, nets, shape):
    picture = tiny.picture(*shape)
    logits, predicted = joined(models["sam"](picture, POINTS))
    assert logits.shape == (15, *shape)
    assert (logits.dtype, predicted.dtype) == (np.float32, np.float32)
    expected, scores = by_the_library(nets["sam"], picture, POINTS)
    assert expected.std() > 0.01
    np.testing.assert_allclose(predicted, scores, atol=1e-5)
    np.testing.assert_allclose(logits, expected, atol=2e-5)


def square(picture):
    """What SAM 2's own transforms make of a picture: torchvision's resizing of floats."""
    from torchvision.transforms import v2

    pixels = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    return v2.Normalize(list(tiny.MEAN), list(tiny.STD))(v2.Resize((128, 128), antialias=True)(pixels))[None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["sam2", "sam2_video"])
def test_sam2_is_the_librarys_model_on_its_authors_picture(models, nets, name, shape):
    from transformers import Sam2ImageProcessor, Sam2Model, Sam2Processor

    net = nets[name]
    if name == "sam2_video":  # the same tensors in the library's net for pictures
        video = {key: value for key, value in net.state_dict().items() if key in nets["sam2"].state_dict()}
        net = Sam2Model(nets["sam2"].config).eval()
        net.load_state_dict(video)
    picture = tiny.picture(*shape)
    logits, predicted = joined(models[name](picture, POINTS))
    processor = Sam2Processor(Sam2ImageProcessor(size=SIZE), target_size=128)
    inputs = processor(picture, input_points=[[[list(point)] for point in POINTS]], return_tensors="pt")
    # the library rounds the resized picture to 8 bits, the authors do not: no more than a half, but at edges
    pixels = square(picture)
    assert (inputs["pixel_values"] - pixels).abs().mean() < 0.3 / 255 / 0.224
    out = net(pixel_values=pixels, input_points=inputs["input_points"])
    (expected,) = processor.post_process_masks(out.pred_masks, inputs["original_sizes"], binarize=False)
    assert logits.shape == (15, *shape)
    np.testing.assert_allclose(predicted, out.iou_scores.flatten().numpy(), atol=1e-5)
    np.testing.assert_allclose(logits, expected.flatten(0, 1).numpy(), atol=2e-5)


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_pieces_change_nothing_and_are_smaller_than_a_batch(models, monkeypatch, name):
    picture = tiny.picture(70, 90)
    whole = list(models[name](picture, POINTS, batch=3))
    assert [len(logits) for logits, _ in whole] == [9, 6]
    monkeypatch.setattr(module, "PIECE_BYTES", 2 * 3 * 4 * 128**2)
    pieces = list(models[name](picture, POINTS, batch=3))
    assert [len(logits) for logits, _ in pieces] == [6, 3, 6]
    for one, other in zip(joined(whole), joined(pieces), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_picture_is_encoded_once(models, monkeypatch):
    net = models["sam"]._net.module
    seen = []
    encode = net.get_image_embeddings
    monkeypatch.setattr(net, "get_image_embeddings", lambda pixels: seen.append(pixels.shape) or encode(pixels))
    assert len(list(models["sam"](tiny.picture(70, 90), POINTS, batch=2))) == 3
    assert seen == [(1, 3, 128, 128)]
    assert list(models["sam"](tiny.picture(70, 90), POINTS[:0])) == []


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_a_picture_has_the_same_masks_whatever_came_before(models, name):
    picture = tiny.picture(70, 90)
    alone, _ = joined(models[name](picture, POINTS))
    again = models[name](picture, POINTS, batch=2)
    next(again)  # two pictures under way at once
    other, _ = joined(models[name](tiny.picture(90, 70, seed=3), POINTS))
    assert other.shape != alone.shape
    del again
    np.testing.assert_array_equal(joined(models[name](picture, POINTS))[0], alone)
    assert not torch.is_inference_mode_enabled()


def test_the_kernels_generator_keeps_what_the_librarys_own_keeps(models):
    """The library's filter and suppression of the same logits; a seeded net's masks are cut to their peaks first."""
    from transformers import SamImageProcessor

    picture, points = tiny.picture(96, 120), point_grid(6, (96, 120))
    answers = [
        (logits - np.quantile(logits, 0.999, axis=(1, 2), keepdims=True), predicted)
        for logits, predicted in models["sam"](picture, points, 16)
    ]
    logits, predicted = (torch.from_numpy(each) for each in joined(answers))
    limits = {"predicted_iou": float(predicted.quantile(0.4)), "stability": 0.3, "offset": 0.002}
    settings = GeneratorSettings(points=6, batch=16, **limits)
    found = generate(answers, (96, 120), settings=settings, origin=0)

    processor = SamImageProcessor()
    kept, scores, boxes = processor.filter_masks(
        logits[:, None], predicted[:, None], (96, 120), [0, 0, 120, 96], pred_iou_thresh=limits["predicted_iou"],
        stability_score_thresh=limits["stability"], stability_score_offset=limits["offset"],
    )  # fmt: skip
    expected, scores, *_ = processor.post_process_for_mask_generation(kept, scores, boxes, 0.7)
    dense = change.dense(found.masks)
    assert 3 < len(dense) < len(kept) < len(logits)
    order = np.argsort(-found.scores, kind="stable")
    np.testing.assert_allclose(found.scores[order], scores.numpy())
    for one, other in zip(dense[order], expected, strict=True):
        np.testing.assert_array_equal(one, np.asarray(other))


def test_published_settings_run_end_to_end(models):
    picture = tiny.picture(64, 64)
    answers = models["sam"](picture, point_grid(8, (64, 64)), SAM.batch)
    found = generate(answers, (64, 64), settings=SAM, origin=1)
    assert found.masks.shape == (64, 64)


@pytest.fixture(scope="module")
def boxer(names):
    return BoxMaskModel.load(resolve(names["sam2"], "box-masks"), device="cpu", threads=1)


BOXES = np.array([[5, 5, 30, 40], [40, 20, 80, 60.5], [0, 0, 90, 70]])


def test_boxes_are_the_librarys_with_one_mask_each(boxer, nets, monkeypatch):
    from transformers import Sam2ImageProcessor, Sam2Processor

    picture = tiny.picture(70, 90)
    found = boxer(picture, BOXES)
    assert (found.shape, found.dtype) == ((3, 70, 90), np.bool_)
    processor = Sam2Processor(Sam2ImageProcessor(size=SIZE), target_size=128)
    inputs = processor(picture, input_boxes=[BOXES.tolist()], return_tensors="pt")
    out = nets["sam2"](pixel_values=square(picture), input_boxes=inputs["input_boxes"], multimask_output=False)
    (expected,) = processor.post_process_masks(out.pred_masks, inputs["original_sizes"])
    assert 0.02 < expected.float().mean() < 0.98
    np.testing.assert_array_equal(found, expected[:, 0].numpy())
    monkeypatch.setattr(module, "PIECE_BYTES", 1)
    np.testing.assert_array_equal(boxer(picture, BOXES), found)


def test_no_boxes_are_no_masks_and_the_encoder_rests(boxer, monkeypatch):
    monkeypatch.setattr(boxer._net, "module", None)
    assert boxer(tiny.picture(20, 30), np.zeros((0, 4))).shape == (0, 20, 30)
