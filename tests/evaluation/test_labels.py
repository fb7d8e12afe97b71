import numpy as np
import pytest

from eopipe.errors import SpecError
from eopipe.evaluation.cards import cards
from eopipe.evaluation.labels import LabelRule


def refusal(rule, label, palette=None):
    with pytest.raises(SpecError) as caught:
        rule(np.asarray(label), "a/7.png", palette)
    assert "\n" not in str(caught.value)
    assert "a/7.png" in str(caught.value)
    return str(caught.value)


def test_values_are_classes():
    assert LabelRule(3)(np.array([[0, 1, 2, 255]]), "x").tolist() == [[0, 1, 2, 255]]


def test_zero_is_not_judged_and_the_rest_moves_down():
    rule = LabelRule(7, reduce_zero=True)
    assert rule(np.array([[0, 1, 7, 255]], np.uint8), "x").tolist() == [[255, 0, 6, 255]]
    assert "value 8 on 2 pixels is none of the classes 1 to 7, nor 0, nor 255" in refusal(rule, [[8, 8, 1]])


def test_an_unknown_value_is_one_line_with_the_remedy_or_ignored_on_request():
    message = refusal(LabelRule(3), [[3, 9, -1, 1]])
    assert "value -1, 3, 9 on 3 pixels" in message
    assert "--unknown ignore" in message
    assert LabelRule(3, ignore_unknown=True)(np.array([[3, 1]]), "x").tolist() == [[255, 1]]


def test_labels_that_are_no_whole_numbers():
    assert "float32" in refusal(LabelRule(3), np.zeros((1, 1), np.float32))


@pytest.mark.parametrize(
    ("stored", "expected"), [([[0, 255, 127, 128]], [[0, 1, 0, 1]]), ([[0, 1, 1, 0]], [[0, 1, 1, 0]])]
)
def test_masks_are_binarised_whether_converted_before_or_not(stored, expected):
    assert LabelRule(2, binarise=128)(np.array(stored, np.uint8), "x").tolist() == expected


def test_a_mask_of_three_equal_bands_is_one_band():
    stored = np.repeat(np.array([[[0], [255]]], np.uint8), 3, axis=2)
    assert LabelRule(2, binarise=128)(stored, "x").tolist() == [[0, 1]]


def test_colours():
    rule = cards()["isaid"].label_rule()
    stored = np.array([[[0, 0, 0], [0, 0, 127], [0, 127, 127], [0, 100, 155]]], np.uint8)
    assert rule(stored, "x").tolist() == [[0, 9, 8, 15]]
    assert "colour (9, 0, 127) on 1 pixels" in refusal(rule, np.array([[[9, 0, 127]]], np.uint8))
    assert "has no colours" in refusal(LabelRule(3), np.array([[[9, 0, 127]]], np.uint8))


def test_colours_of_isprs_leave_out_what_is_black_and_need_no_shift():
    rule = cards()["potsdam"].label_rule()
    stored = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    assert rule(stored, "x").tolist() == [[255, 0, 5]]


def test_a_palette_counts_only_where_all_its_colours_are_known():
    rule = cards()["isaid"].label_rule()
    known, other = np.zeros((256, 3), np.uint8), np.zeros((256, 3), np.uint8)
    known[1], other[1] = (0, 0, 127), (1, 2, 3)
    assert rule(np.array([[0, 1]]), "x", known).tolist() == [[0, 9]]
    assert rule(np.array([[0, 1]]), "x", other).tolist() == [[0, 1]]  # as mmsegmentation reads them


def test_a_ramp_of_grey_is_no_palette():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    rule = cards()["potsdam"].label_rule()  # knows black and white
    assert rule(np.array([[0, 255]]), "x", ramp).tolist() == [[255, 255]]
