"""The cards and the published figures, against the text that they were written down from."""

import re

import numpy as np
import pytest

from eopipe.errors import SpecError
from eopipe.evaluation.cards import cards, comparable, figures, find_card, main_figure, shipped_tables
from tests.support.paths import needs_shared, shared

OPTICAL = {
    "OpenEarthMap": ["openearthmap"],
    "LoveDA": ["loveda"],
    "iSAID": ["isaid"],
    "Potsdam": ["potsdam-v1", "potsdam"],
    "Vaihingen": ["vaihingen-v1", "vaihingen"],
    "UAVid": ["uavid"],
    "UDD5": ["udd5"],
    "VDD": ["vdd"],
    "WHU-Aerial": ["whu-aerial"],
    "WHU-Sat II": ["whu-satellite"],
    "Inria": ["inria"],
    "xBD": ["xbd"],
    "CHN6-CUG": ["chn6-cug"],
    "DeepGlobe road": ["deepglobe-road"],
    "Massachusetts road": ["massachusetts-road"],
    "SpaceNet road": ["spacenet-road"],
    "WBS-SI": ["wbs-si"],
    "HRSID": ["hrsid"],
}
RADAR = {
    "OpenEarthMap-SAR": "openearthmap-sar",
    "DDHR-Korea": "ddhr-korea",
    "DDHR-Shandong": "ddhr-shandong",
    "DDHR-Xi'an": "ddhr-xian",
    "FUSAR-Map": "fusar-map",
    "WHU-OPT-SAR": "whu-opt-sar",
    "YESeg-OPT-SAR": "yeseg-opt-sar",
    "PIE-RGB-SAR": "pie-rgb-sar",
    "HRSID": "hrsid",
}


def rows(file, heading):
    """Rows of every table of a section, as lists of texts; first those of the header."""
    text = (shared() / "specs" / file).read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (body,) = [part for part in section if part.startswith(heading)]
    lines = [line for line in body.splitlines() if line.startswith("|") and not line.startswith("|---")]
    bar = "\0"
    return [
        [cell.strip().replace(bar, "|") for cell in line.replace(r"\|", bar).strip("|").split("|")] for line in lines
    ]


def words(text):
    return [[word.strip() for word in group.split(",")] for group in text.split("|")]


def numbers(cells):
    return [None if cell == "\N{EN DASH}" else float(cell.strip("*")) for cell in cells]


@needs_shared
def test_optical_cards_are_the_specs():
    printed = {
        re.split(r" \(", row[0])[0]: row for row in rows("01-segearth-ov.md", "9.") if row[0] != "dataset (split)"
    }
    named = set(printed)
    assert {next(key for key in OPTICAL if name.startswith(key)) for name in named} == set(OPTICAL)
    for name, (_, classes, threshold, background, notes) in printed.items():
        key = next(key for key in OPTICAL if name.startswith(key))
        lists = [classes]
        if "OV-2:" in classes:
            lists = [part.strip() for part in re.split(r"v1:|— OV-2:", classes) if part.strip()]
        for card_name, text in zip(OPTICAL[key], lists, strict=True):
            card = cards()[card_name]
            assert [list(group) for group in card.synonyms] == words(text), card_name
            assert card.threshold == float(threshold.strip("*"))
            assert card.background == int(background)
            assert card.bias == (0 if "λ = 0" in notes else -0.3)
            assert card.resize == 448
            assert (card.crop, card.stride) == ((0, 112) if "slide_crop 0" in notes else (224, 112))
            assert (card.attention, card.last_layers, card.upsampler) == ("SegEarth", 1, "jbu_one")
            if "reduce_zero_label" in notes:
                assert card.reduce_zero
            assert card.metric == ("mIoU" if len(card.names) > 2 else "IoU of class 1")
    counts = {"isaid": 11644, "potsdam": 2016, "vaihingen": 398, "deepglobe-road": 1530}
    counts |= {"massachusetts-road": 49, "spacenet-road": 567}
    text = (shared() / "specs" / "01-segearth-ov.md").read_text(encoding="utf-8").replace(" ", "")
    for name, count in counts.items():
        assert cards()[name].images == count
        assert str(count) in text
    assert cards()["isaid"].patch == (896, 896)
    assert cards()["isaid"].patch_stride == (896 - 384, 896 - 384)


@needs_shared
def test_radar_cards_are_the_specs():
    table = [row for row in rows("02-alignearth.md", "3.") if len(row) == 5 and row[0] != "dataset"]
    assert len(table) == len(RADAR)
    for name, classes, threshold, background, size in table:
        card = cards()[RADAR[re.split(r" \(", name)[0]]]
        assert [list(group) for group in card.synonyms] == words(classes)
        assert (card.threshold, card.background) == (float(threshold), int(background))
        resize, crop = re.match(r"(\d+) / (whole|224-112)", size).groups()
        assert card.resize == int(resize)
        assert (card.crop, card.stride) == ((0, 112) if crop == "whole" else (224, 112))
        assert card.reduce_zero == ("reduce_zero_label" in size)
        assert card.modality == "sar"
        if card.name != "hrsid":
            assert (card.attention, card.last_layers, card.model) == ("SCLIP", 2, "AlignEarth-SAR-ViT-B-16")


def column(name):
    """Printed figures of a column by row, over all tables: a method stands in several."""
    percents = {}
    for card in cards().values():
        if card.column == name:
            for figure in figures(card):
                percents.setdefault(figure.table, {})[figure.method] = figure.percent
    return percents


def averages():
    """Printed averages as table, method, and the print beside the mean of its own row."""
    return [
        (table["title"], method, row[-1], np.mean(row[:-1]))
        for table in shipped_tables("published.toml")["table"]
        if table["columns"][-1] == "Avg"
        for method, row in table["rows"].items()
    ]


def printed_averages(title):
    return {method: printed for table, method, printed, _ in averages() if table == title}


def compare(table, title, *, rename=lambda name: name):
    header, *body = table
    for at, name in enumerate(header[1:], start=1):
        ours = column(name)[title] if not name.startswith("Avg") else printed_averages(title)
        for row in body:
            method = rename(row[0].strip("*"))
            (expected,) = numbers([row[at].rstrip("*")])
            assert ours.get(method) == expected, (title, name, method)


@needs_shared
def test_published_tables_are_the_specs():
    semantic, foreground = [], []
    part = semantic
    for row in rows("01-segearth-ov.md", "10."):
        part = foreground if row[1] == "WHU-A" else part
        part.append(row)
    names = {"Oracle (SegFormer, supervised)": "Oracle (SegFormer, supervised)"}
    names |= {"SegEarth-OV** (448)": "SegEarth-OV"}
    assert (len(semantic), len(foreground)) == (8, 8)
    compare(semantic, "SegEarth-OV-2, table 2")
    compare(foreground, "SegEarth-OV-2, table 3", rename=lambda name: names.get(name, name))
    radar = rows("02-alignearth.md", "4.")
    assert len(radar) == 12
    compare(radar, "SegEarth-OV-2, table 4", rename=lambda name: name.removesuffix(" (OpenAI)"))


@needs_shared
def test_the_running_text_of_the_spec_has_the_rest():
    text = " ".join((shared() / "specs" / "01-segearth-ov.md").read_text(encoding="utf-8").split())
    ablation = (
        text.split("Ablation (OEM / WHU-Sat II / WBS-SI): ")[1]
        .split("Plug-and-play")[0]
        .replace("\N{MULTIPLICATION SIGN}", "x")
    )
    for method in (
        "baseline",
        "FeatUp(CLIP)",
        "FeatUp(MaskCLIP)",
        "+RS data",
        "+JBU-One",
        "+image rec.",
        "+GBA",
        "+11x11 kernel",
    ):
        printed = numbers(re.search(re.escape(method) + r" ([\d.]+) ([\d.]+) ([\d.]+[\d])", ablation).groups())
        assert [column(name)["SegEarth-OV, ablation"][method] for name in ("OEM", "WHU-S", "WBS-SI")] == printed
    plug = text.split("Plug-and-play")[1].split("RS CLIPs")[0]
    for method in ("MaskCLIP", "SCLIP", "ClearCLIP"):
        pairs = re.search(rf"\b{method} ([\d.→, ]+)", plug)[1]
        printed = [float(after.rstrip(".")) for after in re.findall(r"→([\d.]+)", pairs)]
        title = "SegEarth-OV, SimFeatUp and bias alleviation on other methods"
        ours = [column(name)[title][f"{method} + SimFeatUp + GBA"] for name in ("OEM", "WHU-A", "WBS-SI")]
        assert ours == printed
    clips = text.split("RS CLIPs at ViT-B/32")[1].split("Natural images")[0]
    for method in ("CLIP", "RemoteCLIP", "GeoRSCLIP", "SkyCLIP"):
        printed = [float(value) for value in re.search(rf"[ :;]{method} ((?:[\d.]+ ){{8}})", clips)[1].split()]
        names = ("OEM", "LoveDA", "iSAID", "Potsdam", "Vaihingen", "UAVid", "UDD5", "VDD")
        assert [column(name)["SegEarth-OV, remote sensing CLIPs with ViT-B/32"][method] for name in names] == printed


def test_the_printed_average_is_known_to_be_stale():
    stale = {method: (printed, round(mean, 1)) for table, method, printed, mean in averages() if "table 2" in table}
    assert stale["SegEarth-OV"] == (39.2, 40.7)
    note = next(figure.note for figure in figures(cards()["loveda"]) if figure.method == "SegEarth-OV")
    assert "39.2" in note
    assert "40.7" in note
    radar = [(printed, mean) for table, _, printed, mean in averages() if "table 4" in table]
    assert radar
    assert all(abs(printed - mean) <= 0.051 for printed, mean in radar)


def settings(card, **other):
    names = ("model", "attention", "upsampler", "bias", "resize")
    return {**{name: getattr(card, name) for name in names}, **other}


@pytest.mark.parametrize(
    ("other", "method", "percent"),
    [
        ({}, "SegEarth-OV", 36.9),
        ({"attention": "ClearCLIP", "upsampler": "bilinear", "bias": 0}, "ClearCLIP", 32.4),
        ({"attention": "SCLIP", "upsampler": "bilinear", "bias": 0.0}, "SCLIP", 30.4),
        ({"attention": "MaskCLIP", "upsampler": "bilinear", "bias": 0}, "MaskCLIP", 27.8),
        ({"attention": "vanilla", "upsampler": "bilinear", "bias": 0}, "CLIP", 12.4),
    ],
)
def test_a_run_stands_beside_the_row_of_its_settings(other, method, percent):
    card = cards()["loveda"]
    figure = comparable(card, settings(card, **other))
    assert (figure.method, figure.percent) == (method, percent)


@pytest.mark.parametrize(
    "other",
    [{"bias": 0}, {"upsampler": "anyup"}, {"model": "RemoteCLIP-ViT-B-32"}, {"resize": 672}, {"attention": "SCLIP"}],
)
def test_a_run_with_settings_of_its_own_stands_beside_none(other):
    card = cards()["loveda"]
    assert comparable(card, settings(card, **other)) is None


def test_other_rows_are_found_by_their_settings():
    inria, xbd, oem = (cards()[name] for name in ("inria", "xbd", "openearthmap"))
    assert comparable(inria, settings(inria, resize=896)).percent == 48.9
    assert main_figure(xbd).percent == 37.0  # with the bias off, as the card has it
    assert comparable(oem, settings(oem, attention="ClearCLIP")).percent == 39.1
    assert comparable(oem, settings(oem, upsampler="jbu_stack", bias=0)).method == "FeatUp(CLIP)"
    korea = cards()["ddhr-korea"]
    assert main_figure(korea).percent == 48.6
    assert comparable(korea, settings(korea, model="ViT-B-16/openai")).percent == 16.5
    assert main_figure(cards()["hrsid"]) is None
    assert main_figure(cards()["vaihingen-v1"]).percent == 29.1


def test_every_model_that_a_card_names_is_in_the_registry():
    from eopipe.models.registry import MODELS

    assert {card.model for card in cards().values()} <= set(MODELS)


def test_a_card_of_ones_own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\ntitle = "Mine"\nclasses = "field | barn, shed"\ncolours = [[255, 0, 0, 1]]\n')
    card = find_card(str(file))
    assert card.synonyms == (("field",), ("barn", "shed"))
    assert card.label_rule().colours == {(255, 0, 0): 1}
    assert main_figure(card) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title = "x"\nclasses = "a"', "name"),
        ('name = "x"\ntitle = "x"\nclasses = "a"\nbackground = 3', "background 3 is no class"),
        ('name = "x"\ntitle = "x"\nclasses = "a | ,"', "empty word"),
        ('name = "x"\ntitle = "x"\nclasses = "a"\nthreshhold = 1', "threshhold"),
        ('name = "x"\ntitle = "x"\nclasses = "a"\ncolours = [[0, 0, 0, 4]]', "colour"),
        ("name = ", "cannot be read"),
    ],
)
def test_a_wrong_card_is_one_line(tmp_path, text, message):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        find_card(str(file))
    assert "\n" not in str(caught.value)


def test_no_such_card():
    with pytest.raises(SpecError, match="there are openearthmap, loveda"):
        find_card("atlantis")
    with pytest.raises(SpecError, match="does not exist"):
        find_card("atlantis.toml")
