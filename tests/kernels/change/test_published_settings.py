"""The published settings, cell by cell."""

import pytest

from eopipe.errors import SpecError
from eopipe.kernels.change.dynamicearth.combinations import INSTANTIATIONS, instantiation
from eopipe.kernels.change.dynamicearth.published_settings import all_settings, find_settings
from eopipe.kernels.change.stages.settings import SAM, SAM2


def test_every_card():
    """Six combinations on four sets of buildings and six classes."""
    settings = list(all_settings())
    assert len(settings) == 6 * (4 + 6)
    assert all(80 <= card.beta <= 180 and card.foreground for card in settings)
    assert all(bool(card.background) == (card.rule is not None) for card in settings)


@pytest.mark.parametrize(
    ("name", "dataset", "beta", "points", "resize", "side"),
    [
        ("SAM-DINO-SegEarth-OV", "LEVIR-CD", 145, 32, 448, 1024),
        ("SAM-DINO-SegEarth-OV", "WHU-CD", 135, 8, 224, 256),
        ("SAM-DINOv2-SegEarth-OV", "WHU-CD", 125, 8, 224, 256),
        ("SAM-DINOv2-SegEarth-OV", "S2Looking", 145, 32, 448, 1024),
        ("SAM2-DINOv2-SegEarth-OV", "WHU-CD", 110, 32, 448, 256),
        ("MMGD-SAM2-DINO", "S2Looking", 130, None, None, 256),
        ("MMGD-SAM2-DINO", "BANDON", 135, None, None, 256),
        ("APE-DINO", "LEVIR-CD", 135, None, None, 256),
    ],
)
def test_buildings(name, dataset, beta, points, resize, side):
    card = find_settings(name, dataset)
    assert (card.beta, card.points, card.resize, card.side) == (beta, points, resize, side)
    assert card.rule == ("instance" if points else None)


@pytest.mark.parametrize(
    ("name", "category", "beta", "rule", "points"),
    [
        ("SAM-DINO-SegEarth-OV", "building", 135, "stuff", 32),
        ("SAM-DINOv2-SegEarth-OV", "non-veg. ground", 145, "stuff", 32),
        ("SAM-DINO-SegEarth-OV", "non-veg. ground", 135, "stuff", 32),
        ("SAM2-DINOv2-SegEarth-OV", "water", 145, "instance", 16),
        ("SAM-DINO-SegEarth-OV", "water", 135, "stuff", 16),
        ("MMGD-SAM2-DINO", "tree", 145, None, None),
        ("APE-DINOv2", "tree", 155, None, None),
        ("APE-DINO", "playground", 145, None, None),
    ],
)
def test_second(name, category, beta, rule, points):
    card = find_settings(name, "SECOND", category)
    assert (card.beta, card.rule, card.points, card.side) == (beta, rule, points, 512)


def test_words():
    assert find_settings("SAM-DINO-SegEarth-OV", "SECOND", "playground").background == ("background", "ground")
    assert find_settings("APE-DINO", "SECOND", "low vegetation").foreground == ("low vegetation", "grass")
    assert find_settings("MMGD-SAM2-DINO", "LEVIR-CD").foreground[:2] == ("roof", "rooftop")
    assert find_settings("APE-DINO", "LEVIR-CD").foreground == ("building", "house")


def test_combinations():
    assert instantiation("SAM2-DINOv2-SegEarth-OV").generator == SAM2
    assert instantiation("MMGD-SAM2-DINO").proposer == "sam2.1-hiera-l"
    two = (instantiation("APE-DINO").comparer, instantiation("APE-DINOv2").comparer)
    assert two == ("dino-vitb16", "dinov2-base")
    assert (SAM.stability, SAM.offset, SAM2.stability, SAM2.offset) == (0.95, 0.9, 0.9, 0.7)
    assert {each.order for each in INSTANTIATIONS.values()} == {"M-C-I", "I-M-C"}


@pytest.mark.parametrize(
    ("name", "dataset", "category", "message"),
    [
        (
            "SAM-DINO-SegEarthOV",
            "LEVIR-CD",
            "building",
            "no 'SAM-DINO-SegEarthOV'; did you mean 'SAM-DINO-SegEarth-OV'",
        ),
        ("x", "LEVIR-CD", "building", "no 'x'; there are SAM-DINO-SegEarth-OV"),
        ("APE-DINO", "OSCD", "building", "no settings of APE-DINO for building on OSCD"),
        ("APE-DINO", "LEVIR-CD", "tree", "no settings of APE-DINO for tree on LEVIR-CD"),
        ("pixels-mini", "LEVIR-CD", "building", "no settings of pixels-mini"),
    ],
)
def test_what_was_not_published_is_told(name, dataset, category, message):
    with pytest.raises(SpecError, match=message):
        find_settings(name, dataset, category)
