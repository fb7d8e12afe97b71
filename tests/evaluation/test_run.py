"""A whole evaluation with predictors whose figures are known: the truth itself, and the truth moved aside."""

import json

import numpy as np
import pytest
from PIL import Image

from eopipe.errors import LeaseError, SpecError
from eopipe.evaluation.dataset import ImageReader, cut
from eopipe.evaluation.evaluate_set import ImageRequest, pairs_of
from eopipe.evaluation.metrics import Confusion
from eopipe.evaluation.results_folder import ResultsFolder
from eopipe.evaluation.run import ProgressDisplay, evaluate
from eopipe.text import hms
from tests.evaluation.samples import SETS, classes_by_hand, samples_of
from tests.support.paths import needs_shared

COLOURS = [f"#{value:02x}{value:02x}00" for value in range(0, 256, 16)]


class Knows:
    """Predicts the truth of the sample at hand, moved down; where there is none, class 0."""

    def __init__(self, card, samples, down=0):
        self._answers = iter([self._answer(*ImageReader(card.label_rule())(sample), down) for sample in samples])
        self.calls = 0

    def _answer(self, _, truth, down):
        moved = np.roll(truth, down, axis=0)
        return np.where(moved == 255, 0, moved).astype(np.uint8)

    def __call__(self, picture):
        self.calls += 1
        return next(self._answers)


@needs_shared
@pytest.mark.parametrize("name", SETS)
def test_the_truth_is_worth_a_hundred_percent(name):
    card, samples = samples_of(name)
    confusion = evaluate(
        samples, ImageReader(card.label_rule()), Knows(card, samples), classes=len(card.names)
    ).confusion
    assert confusion.mean_iou == confusion.accuracy == 1
    areas = {"loveda": 2 * 1024 * 1024, "potsdam": 512 * 512, "isaid": 2 * 896 * 896}
    assert confusion.pixels + confusion.ignored == areas[name]


@needs_shared
@pytest.mark.parametrize("name", SETS)
def test_a_map_that_is_moved_is_worth_what_counting_by_hand_says(name):
    """Stored label values, compared file by file and class by class with sets of pixels: none of our code."""
    card, samples = samples_of(name)
    confusion = evaluate(
        samples, ImageReader(card.label_rule()), Knows(card, samples, down=40), classes=len(card.names)
    ).confusion
    both, either = np.zeros(len(card.names)), np.zeros(len(card.names))
    right = judged = 0
    for sample in samples:
        truth = classes_by_hand(name, sample)
        moved = np.roll(truth, 40, axis=0)
        predicted = np.where(moved < 0, 0, moved)
        right += ((predicted == truth) & (truth >= 0)).sum()
        judged += (truth >= 0).sum()
        for number in range(len(card.names)):
            both[number] += ((predicted == number) & (truth == number)).sum()
            either[number] += (((predicted == number) & (truth >= 0)) | (truth == number)).sum()
    some = either > 0
    np.testing.assert_allclose(confusion.iou[some], both[some] / either[some])
    assert np.isnan(confusion.iou[~some]).all()
    assert confusion.mean_iou == pytest.approx((both[some] / either[some]).mean())
    assert confusion.accuracy == pytest.approx(right / judged)
    assert 0.2 < confusion.mean_iou < 0.95


SETTINGS = {"card": {"name": "loveda"}, "options": {"bias": -0.3}}


@needs_shared
def test_a_killed_evaluation_goes_on_and_ends_alike(tmp_path):
    card, samples = samples_of("loveda")
    read, classes = ImageReader(card.label_rule()), len(card.names)
    whole = evaluate(samples, read, Knows(card, samples, down=9), classes=classes).confusion

    class Killed(Knows):
        def __call__(self, picture):
            if self.calls == 1:
                raise KeyboardInterrupt
            return super().__call__(picture)

    with pytest.raises(KeyboardInterrupt), ResultsFolder(tmp_path, SETTINGS, COLOURS) as folder:
        evaluate(samples, read, Killed(card, samples, down=9), classes=classes, folder=folder)
    with (tmp_path / "images.jsonl").open("a") as file:
        file.write('{"key": "1", "fil')  # what a kill tears off
    with ResultsFolder(tmp_path, SETTINGS, COLOURS) as folder:
        rest = Knows(card, samples[1:], down=9)
        judged = evaluate(samples, read, rest, classes=classes, folder=folder)
        folder.finish(judged.confusion, {"ours": 1})
    assert (rest.calls, judged.resumed, judged.images) == (1, 1, 2)
    assert judged.confusion == whole
    with np.load(tmp_path / "confusion.npz") as file:
        np.testing.assert_array_equal(file["counts"], whole.counts)
    assert json.loads((tmp_path / "result.json").read_text()) == {"ours": 1}
    with Image.open(tmp_path / "predictions" / "1.png") as file:
        assert file.mode == "P"
        np.testing.assert_array_equal(np.asarray(file), Knows(card, samples, down=9)._answer(*read(samples[1]), 9))
        assert file.getpalette()[3:6] == [16, 16, 0]
    with ResultsFolder(tmp_path, SETTINGS, COLOURS) as folder:
        again = evaluate(samples, read, None, classes=classes, folder=folder)  # nothing is left to predict
    assert again.confusion == whole
    with (
        pytest.raises(SpecError, match=r"other settings \(options.bias\); give another --out"),
        ResultsFolder(tmp_path, {**SETTINGS, "options": {"bias": 0}}, COLOURS),
    ):
        pass


@needs_shared
def test_a_changed_label_is_judged_again(tmp_path):
    card, _ = samples_of("loveda")
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        Image.fromarray(np.ones((5, 5), np.uint8)).save(tmp_path / part / "a.png")
    samples = cut(pairs_of(ImageRequest(card="loveda", data=str(tmp_path)), card), card)
    read = ImageReader(card.label_rule())
    with ResultsFolder(tmp_path / "out", SETTINGS, COLOURS) as folder:
        evaluate(samples, read, Knows(card, samples), classes=7, folder=folder)
    Image.fromarray(np.full((5, 5), 2, np.uint8)).save(tmp_path / "labels" / "a.png")
    with ResultsFolder(tmp_path / "out", SETTINGS, COLOURS) as folder:
        evaluation = evaluate(samples, ImageReader(card.label_rule()), Knows(card, samples), classes=7, folder=folder)
    assert evaluation.resumed == 0
    assert evaluation.confusion.truth.tolist() == [0, 25, 0, 0, 0, 0, 0]


def test_a_folder_is_filled_by_one_process_at_a_time(tmp_path):
    with (
        ResultsFolder(tmp_path, SETTINGS, COLOURS),
        pytest.raises(LeaseError),
        ResultsFolder(tmp_path, SETTINGS, COLOURS),
    ):
        pass
    with ResultsFolder(tmp_path, SETTINGS, COLOURS):
        pass


def test_a_damaged_folder_is_told(tmp_path):
    (tmp_path / "images.jsonl").write_text("nonsense\n")
    with pytest.raises(SpecError, match="damaged"), ResultsFolder(tmp_path, SETTINGS, COLOURS):
        pass


def test_progress_in_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr("eopipe.evaluation.run.PLAIN_SECONDS", 0.0)
    with ProgressDisplay(terminal=False) as display:
        display.start(total=3, done=1)
        display.judged(Confusion.of(np.array([0, 1]), np.array([0, 1]), classes=2))
    output = capsys.readouterr().err
    assert output.startswith("2 of 3 images, 0:00:0")
    assert output.endswith("left, mIoU 100.0 % so far\n")
    assert hms(3725) == "1:02:05"
