"""What people type after --prompts."""

import pytest

from eopipe.demo.spec import DEFAULT, FURTHER, folder_name, proposal, read_words
from eopipe.errors import SpecError


def test_the_demo_has_words_of_its_own():
    assert list(read_words(None)) == ["forest", "bare ground", "cropland", "grassland", "water", "houses"]
    assert read_words(FURTHER[0]) == {"pine forest": ["pine forest"], "red soil": ["red soil"], "river": ["river"]}
    assert read_words("wet: river, lake; dry: soil") == {"wet": ["river", "lake"], "dry": ["soil"]}


def test_what_is_proposed_next_is_something_else():
    assert proposal(None) == FURTHER[0]
    assert proposal("pine forest;red soil;river") == FURTHER[1]
    assert proposal(FURTHER[1]) == FURTHER[0]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "there is no prompt"),
        (" ; ", "there is no prompt"),
        ("water; : lake", "': lake' is no class"),
        ("water; water", "'water' is no class"),
        ("a: lake; b: lake", "the phrase 'lake' stands twice"),
        ("forest, bare ground", "write 'forest; bare ground', or 'forest: forest, bare ground' for synonyms"),
    ],
)
def test_a_slip_is_one_line_with_the_remedy(typed, message):
    with pytest.raises(SpecError) as refused:
        read_words(typed)
    assert str(refused.value).startswith("--prompts: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_other_words_or_another_order_make_another_folder():
    texts = [
        None,
        FURTHER[0],
        "river; red soil; pine forest",
        "river: lake; red soil; pine forest",
        "森; 水",
        "森: 水",
    ]
    names = [folder_name(read_words(text)) for text in texts]
    assert names[0] == folder_name(read_words(DEFAULT)) == "default"
    assert len(set(names)) == len(names)
    assert names[1].startswith("pine-forest-red-soil-river-")
    assert len(folder_name(read_words("; ".join(f"word number {n}" for n in range(50))))) < 60
