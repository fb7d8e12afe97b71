"""Words that a kernel was not taught: told, warned of, refused."""

import json

import pytest

from eopipe import api as eopipe_api
from eopipe.engine.plan import prompt_check
from eopipe.engine.plan.open import open_run
from eopipe.errors import SpecError
from eopipe.kernels.known_words import WordNote
from eopipe.kernels.registry import register_kernel
from eopipe.spec import parse_spec, resolve_now
from tests.support.command import eopipe
from tests.support.kernels import Options, Overlapping
from tests.support.paths import needs_shared
from tests.support.runs import CALIBRATION, pisa

TAUGHT = {"water": 1.0, "land": 0.71}


class Taught(Overlapping):
    """Knows water well, land somewhat, and nothing else."""

    def words(self):
        phrases = [phrase for group in self.options.prompts.values() for phrase in group]
        return [WordNote(phrase, "water", TAUGHT.get(phrase, 0.31), 0.5, "water", 0.9) for phrase in phrases]


@pytest.fixture
def _taught(monkeypatch):
    register_kernel("taught", Options, lambda options, resolution: Taught(options))
    monkeypatch.setattr("eopipe.engine.run.calibrate_in_process", lambda *_, **__: CALIBRATION)


def kernel(**prompts):
    return Taught(Options(prompts=prompts or {"water": ["water"], "fly": ["airplane"]}))


def test_a_table_for_people_and_a_warning_for_each_unknown_word():
    notes = prompt_check.notes_of(kernel())
    assert prompt_check.lines(notes) == [
        "words, the nearest taught ones and their cosines:",
        "  water     water  1.00  read as water (90%)",
        "  airplane  water  0.31? read as water (90%)",
    ]
    [line] = prompt_check.warnings_of(kernel())
    assert line.startswith(
        "prompt 'airplane' is far from everything the model was taught: nearest 'water', cosine 0.31"
    )
    assert [row["known"] for row in [note.plain() for note in notes]] == [True, False]


def test_strict_refuses_unknown_words_and_kernels_that_cannot_tell():
    prompt_check.refuse_unknown(kernel(water=["water"], land=["land"]))
    with pytest.raises(SpecError, match=r"cosine below 0.50: 'airplane' \(nearest 'water', 0.31\); change them"):
        prompt_check.refuse_unknown(kernel())
    plain = Overlapping(Options())
    assert prompt_check.notes_of(plain) == ()
    assert prompt_check.lines(()) == []
    with pytest.raises(SpecError, match=r"^--strict: kernel overlapping has no taught vocabulary"):
        prompt_check.refuse_unknown(plain)


@pytest.mark.usefixtures("_taught")
def test_a_notebook_warns():
    with pytest.warns(UserWarning, match="prompt 'airplane' is far from"):
        eopipe_api.kernel("taught", prompts={"water": ["water"], "fly": ["airplane"]})
    assert eopipe_api.kernel("taught", prompts={"water": ["water"]}).name == "taught"


@needs_shared
@pytest.mark.usefixtures("_taught")
def test_plan_and_run_tell_warn_and_refuse(tmp_path):
    prompts = {"water": ["water"], "land": ["land"], "fly": ["airplane"]}
    written = pisa(
        tmp_path / "out", area=[10.38, 43.7, 10.385, 43.705], kernel={"name": "taught", "prompts": prompts}
    )
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(written))

    planned = eopipe("plan", spec, "--json").document
    assert [row["known"] for row in planned["words"]] == [True, True, False]
    assert [line for line in planned["warnings"] if "'airplane'" in line]
    output = eopipe("plan", spec).out
    assert "  airplane  water  0.31? read as water (90%)\n" in output
    assert "warning: prompt 'airplane' is far from" in output

    for command in ("plan", "run"):
        refused = eopipe(command, spec, "--strict", "--json")
        assert refused.status == 2
        assert "'airplane' (nearest 'water', 0.31)" in refused.line
    assert not (tmp_path / "out").exists()

    del prompts["fly"]
    opened = open_run(parse_spec(written), now=resolve_now(None), allow_empty=False, strict=True)
    assert opened.before is None
