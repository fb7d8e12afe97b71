"""What sets and published figures say, against the specification's own tables."""

import math

import pytest

from eopipe.errors import SpecError
from eopipe.evaluation.change.cards import figure_of, figures, find_set, sets
from eopipe.evaluation.change.methods import plan_stages
from eopipe.kernels.change.dynamicearth.published_settings import SECOND_CLASSES
from tests.support.paths import needs_shared, shared


def tables():
    """The markdown tables of the specification's published results: rows by their header."""
    text = (shared() / "specs/03-dynamicearth.md").read_text().split("## 5.")[1].split("## 6.")[0]
    parsed = []
    for line in text.splitlines():
        if not line.startswith("|"):
            continue
        cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        if cells[0] == "method":
            parsed.append((cells[1:], {}))
        elif set(cells[0]) - {"-"}:
            parsed[-1][1][cells[0]] = cells[1:]
    return parsed


def printed(cell):
    """IoU and F1, None where not printed; one number alone is the F1."""
    numbers = [float(part) for part in cell.split("/")] if any(map(str.isdigit, cell)) else []
    return [None] * (2 - len(numbers)) + numbers


@needs_shared
def test_every_printed_figure_is_here_and_no_other():
    buildings, second = tables()
    expected = {}
    for number, name in enumerate(("levir-cd", "whu-cd", "s2looking")):
        for method, cells in buildings[1].items():
            expected[name, "building", method.removesuffix(" (F1 only)").removesuffix(" (F1)")] = printed(
                cells[number]
            )
    for number, header in enumerate(second[0]):
        category = "low vegetation" if header == "low veg." else header
        for method, cells in second[1].items():
            expected["second", category, method] = printed(cells[number])
    shipped = {
        (name, category, figure.method): [figure.iou, figure.f1]
        for name, card in sets().items()
        for category in card.categories
        for figure in figures(card, category)
        if "supervised" not in figure.method
    }
    assert shipped == {key: value for key, value in expected.items() if value != [None, None]}
    assert len(shipped) > 60


@needs_shared
def test_the_supervised_reference_is_as_printed():
    text = (shared() / "specs/03-dynamicearth.md").read_text().split("Supervised reference")[1].split("\n")[0]
    for trained, name in (("LEVIR-CD", "LEVIR"), ("WHU-CD", "WHU"), ("S2Looking", "S2Looking")):
        cells = text.split(f"{name}→(")[1].split(")")[0].split(", ")
        rows = [
            next(row for row in figures(find_set(each), "building") if f"trained on {trained} " in row.method)
            for each in ("levir-cd", "whu-cd", "s2looking")
        ]
        assert [[row.iou, row.f1] for row in rows] == [printed(cell) for cell in cells]
        assert all(row.instantiation is None for row in rows)


def test_f1_and_iou_of_every_printed_row_agree():
    """F1 = 2 IoU / (1 + IoU) within rounding: a figure typed wrong shows."""
    for card in sets().values():
        for category in card.categories:
            for row in figures(card, category):
                if row.iou is not None and row.f1 is not None:
                    assert math.isclose(200 * row.iou / (100 + row.iou), row.f1, abs_tol=0.15), row


def test_settings_come_from_the_published_cards_and_a_change_of_them_takes_the_figure_away():
    levir = find_set("levir-cd")
    plan = plan_stages(levir, "building", {"instantiation": "SAM-DINOv2-SegEarth-OV"})
    assert plan.options == {
        "instantiation": "SAM-DINOv2-SegEarth-OV", "prompts": {"building": ["building"]}, "beta": 145,
        "rule": "instance", "points": 32, "resize": 448, "background": ["background"],
    }  # fmt: skip
    assert plan.side == 1024
    assert (plan.published.f1, plan.published.iou) == (53.6, 36.6)
    other = plan_stages(levir, "building", {"instantiation": "SAM-DINOv2-SegEarth-OV", "beta": 130}, side=256)
    assert other.options["beta"] == 130
    assert other.published is None
    assert other.differences == ("beta 130 (published: 145)", "side 256 (published: 1024)")
    more = {"instantiation": "SAM-DINOv2-SegEarth-OV", "match_histogram": True, "upsampler_checkpoint": "x.ckpt"}
    assert plan_stages(levir, "building", more).differences == ("match_histogram True",)
    same = plan_stages(levir, "building", {"instantiation": "SAM-DINOv2-SegEarth-OV", "beta": 145.0})
    assert same.published == plan.published
    second = plan_stages(find_set("second"), "water", {"instantiation": "APE-DINO"})
    assert second.options["prompts"] == {"water": ["water", "river", "pond", "sea"]}
    assert "rule" not in second.options
    assert second.published.f1 == 17.9


def test_where_the_paper_has_nothing_nothing_stands_beside():
    dsifn = plan_stages(find_set("dsifn"), "any", {"instantiation": "SAM-DINO-SegEarth-OV"})
    assert (dsifn.published, dsifn.side, dsifn.differences) == (None, None, ())
    assert figure_of(find_set("second"), "playground", "MMGD-SAM2-DINO") is None
    assert figures(find_set("bandon"), "building") == []


def test_categories_are_those_of_the_kernel_s_cards():
    assert set(find_set("second").categories) == set(SECOND_CLASSES)
    with pytest.raises(SpecError, match="needs a --category; there are building, tree"):
        find_set("second").category(None)
    with pytest.raises(SpecError, match=r"LEVIR-CD \(test\) has no category 'tree'; there is building"):
        find_set("levir-cd").category("tree")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a"\ntitle = "b"\nlabels = "binary"', "folders needs rows of 3"),
        ('name = "a"\ntitle = "b"\nlabels = "mine"', "labels"),
        ('name = "a"', "title"),
        ("name = ", "cannot be read"),
        ('name = "a"\ntitle = "b"\nlabels = "scenes"\nchanged = 0', "the same value"),
    ],
)
def test_a_wrong_card_is_one_line(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        find_set(str(path))
