from __future__ import annotations

import numpy as np
import pytest
import torch

from eopipe.errors import SpecError
from eopipe.models.foundation import detector as module
from eopipe.models.foundation.detector import BoxDetector
from eopipe.models.foundation.inputs import caption_of, detector_shape
from eopipe.models.foundation.resolve import resolve
from tests.models.foundation import tiny

NAMES = ("Roof", "rooftop", "football field", "sea")
SHAPES = [(64, 64), (70, 90), (100, 40), (96, 96)]
SIZE = {"shortest_edge": 96, "longest_edge": 160}


@pytest.fixture(scope="module")
def models(names):
    return {
        name: BoxDetector.load(resolve(names[name], "boxes"), device="cpu", threads=1)
        for name in ("grounding", "mm-grounding")
    }


@pytest.fixture(scope="module")
def processor():
    from transformers import GroundingDinoImageProcessorPil, GroundingDinoProcessor, PreTrainedTokenizerFast

    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    tokeniser = PreTrainedTokenizerFast(tokenizer_file=str(tiny.bert_tokeniser()), **special)
    return GroundingDinoProcessor(GroundingDinoImageProcessorPil(size=SIZE), tokeniser)


def by_the_library(net, processor, picture, names=NAMES):
    inputs = processor(images=picture, text=[list(names)], return_tensors="pt", truncation=False, padding=False)
    out = net(**inputs)
    (found,) = processor.post_process_grounded_object_detection(
        out, inputs["input_ids"], threshold=-1, text_threshold=1, target_sizes=[picture.shape[:2]]
    )
    return inputs, out, found["boxes"].numpy(), found["scores"].numpy()


def within(boxes, shape):
    return np.clip(boxes, 0, [shape[1], shape[0]] * 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_grounding_dino_is_the_librarys_model_between_the_librarys_processors(models, nets, processor, shape):
    picture = tiny.picture(*shape)
    boxes, scores = models["grounding"](picture, NAMES)
    *_, expected, best = by_the_library(nets["grounding"], processor, picture)
    assert (boxes.shape, scores.shape, boxes.dtype) == ((60, 4), (60,), np.float32)
    assert np.ptp(scores) > 0.05
    np.testing.assert_allclose(scores, best, atol=1e-5)
    np.testing.assert_allclose(boxes, within(expected, shape), atol=1e-3)


def means(net, processor, picture):
    """mmdet's scores written out: a name's mean over its tokens, by hand from the tokens' text."""
    inputs, out, boxes, _ = by_the_library(net, processor, picture)
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    assert tokens == ["[CLS]", "roof", ".", "rooftop", ".", "football", "field", ".", "sea", ".", "[SEP]"]
    columns = [[1], [3], [5, 6], [8]]
    logits = out.logits[0].double().numpy()
    return boxes, np.stack([(1 / (1 + np.exp(-logits[:, places]))).mean(axis=1) for places in columns], axis=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_mm_grounding_dino_scores_names_as_mmdet_does(models, nets, processor, shape):
    picture = tiny.picture(*shape)
    boxes, scores = models["mm-grounding"](picture, NAMES)
    expected, by_name = means(nets["mm-grounding"], processor, picture)
    assert len(scores) == 60  # 240 pairs of box and name are fewer than mmdet keeps
    np.testing.assert_allclose(scores, by_name.max(axis=1), atol=1e-5)
    np.testing.assert_allclose(boxes, within(expected, shape), atol=1e-3)
    best_token = by_the_library(nets["mm-grounding"], processor, picture)[3]
    assert np.abs(scores - best_token).max() > 1e-3


def test_mmdet_keeps_so_many_pairs_and_no_more(models, nets, processor, monkeypatch):
    picture = tiny.picture(64, 64)
    monkeypatch.setattr(module, "PAIRS", 50)
    boxes, scores = models["mm-grounding"](picture, NAMES)
    expected, by_name = means(nets["mm-grounding"], processor, picture)
    kept = sorted({pair // 4 for pair in np.argsort(-by_name.ravel())[:50]})
    assert 12 < len(kept) < 50
    np.testing.assert_allclose(scores, by_name.max(axis=1)[kept], atol=1e-5)
    np.testing.assert_allclose(boxes, within(expected, (64, 64))[kept], atol=1e-3)


def test_the_names_tokens_are_found_by_their_place(models):
    tokeniser = models["grounding"]._tokeniser
    caption, spans = caption_of(["low  vegetation", "non-vegetated ground surface"])
    assert caption == "low vegetation. non-vegetated ground surface."
    encoding = tokeniser.encode(caption)
    words = [[encoding.tokens[place] for place in module._tokens_of(span, encoding.offsets)] for span in spans]
    assert words[0] == ["low", "vegetation"]
    assert words[1][:3] == ["non", "-", "ve"]
    assert words[1][-2:] == ["ground", "surface"]
    assert sum(map(len, words)) == len(encoding.tokens) - 4  # less both ends and two full stops


@pytest.mark.parametrize("name", ["grounding", "mm-grounding"])
def test_a_picture_has_the_same_boxes_whatever_came_before(models, name):
    picture = tiny.picture(70, 90)
    alone = models[name](picture, NAMES)
    models[name](tiny.picture(64, 64, seed=4), ("water",))
    for one, other in zip(models[name](picture, NAMES), alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not torch.is_inference_mode_enabled()


def test_a_detectors_picture_is_the_librarys(processor):
    rng = np.random.default_rng(5)
    shapes = [(1024, 1024), (256, 256), (800, 1000), (500, 2000), (2000, 500), (96, 130), (160, 96), (96, 160)]
    shapes += [tuple(map(int, rng.integers(60, 300, 2))) for _ in range(30)]
    for shape in shapes:
        made = processor.image_processor(np.zeros((*shape, 3), np.uint8), return_tensors="pt").pixel_values
        assert detector_shape(shape, (96, 160)) == tuple(made.shape[2:]), shape
    assert detector_shape((256, 256), (800, 1333)) == (800, 800)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), "at least one"), (("roof", " "), r"not \[''\]"), (("a. b",), r"not \['a\. b'\]"), (("what?",), "what"),
        (("house",) * 200, "200 names are 402 tokens"),
    ],
)  # fmt: skip
def test_names_that_cannot_be_read_are_refused_in_one_line(models, asked, said):
    with pytest.raises(SpecError, match=said) as caught:
        models["grounding"](tiny.picture(64, 64), asked)
    assert "\n" not in str(caught.value)
