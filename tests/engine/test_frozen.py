"""What a run froze: another spec, other weights and another kernel are told apart from its own."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from eopipe.engine.output import run_json
from eopipe.errors import DamageError, SpecError, WeightsError
from eopipe.spec import parse_spec

WORDS = {"water": ["water", "river"], "land": ["land"]}


def spec(tmp_path, prompts):
    (tmp_path / "catalog.json").touch()
    return parse_spec(
        {
            "name": "order",
            "area": [10, 43, 11, 44],
            "source": {"catalog": str(tmp_path / "catalog.json"), "collections": ["c"]},
            "grid": {"resolution": 10},
            "kernel": {"name": "ovss", "prompts": prompts, "model": "m"},
            "output": {"uri": str(tmp_path / "out")},
        }
    )


def frozen(tmp_path):
    recipe = {"kernel": {"version": "1", "weights": {"tower": "a" * 64}}}
    return run_json.Frozen(
        spec=run_json.plain_spec(spec(tmp_path, WORDS)), now=datetime.now(UTC), tile=512, crs="EPSG:32632",
        kernel_options={}, recipe=recipe, area={}, versions={},
    )  # fmt: skip


def test_codes_follow_the_order_of_prompts_so_another_order_is_another_spec(tmp_path):
    before = run_json.Frozen.from_bytes(frozen(tmp_path).to_bytes(), "run.json")
    run_json.refuse_another(before, spec(tmp_path, dict(WORDS)), "out")
    with pytest.raises(SpecError, match=r"kernel\.prompts \(was .*water.*now .*land"):
        run_json.refuse_another(before, spec(tmp_path, dict(reversed(WORDS.items()))), "out")


@pytest.mark.parametrize(
    ("weights", "version", "error", "message"),
    [
        ({"tower": "b" * 64}, "1", WeightsError, f"made with sha256 {'a' * 64}, and tower now has sha256 {'b' * 64}"),
        ({"another": "a" * 64}, "1", WeightsError, r"other files \(tower\), and another now has"),
        ({"tower": "a" * 64}, "2", SpecError, "by version 1 of ovss, and this is 2"),
    ],
)
def test_other_weights_than_a_run_was_made_with_are_refused(tmp_path, weights, version, error, message):
    before = frozen(tmp_path)
    info = SimpleNamespace(name="ovss", version="1", weights={"tower": "a" * 64})
    run_json.refuse_other_weights(before, info, "out")
    info.weights, info.version = weights, version
    with pytest.raises(error, match=message):
        run_json.refuse_other_weights(before, info, "out")


def test_what_was_said_of_the_words_is_kept_and_a_record_from_before_has_none(tmp_path):
    remarks = ({"phrase": "airplane", "nearest": "ocean", "cosine": 0.43, "known": False},)
    before = replace(frozen(tmp_path), words=remarks)
    assert run_json.Frozen.from_bytes(before.to_bytes(), "run.json").words == remarks
    assert b'"words": [' not in frozen(tmp_path).to_bytes()
    assert run_json.Frozen.from_bytes(frozen(tmp_path).to_bytes(), "run.json").words == ()


def test_what_a_run_was_made_of_is_read_as_it_was_once_written(tmp_path):
    """``rescored`` was the only way to be made of another run."""
    derived = run_json.Derived("rethreshold", "s3://bucket/out")
    before = replace(frozen(tmp_path), derived=derived)
    assert run_json.Frozen.from_bytes(before.to_bytes(), "run.json").derived == derived
    document = json.loads(frozen(tmp_path).to_bytes())
    assert not {"derived", "rescored"} & document.keys()
    old = json.dumps({**document, "rescored": "/out/first"}).encode()
    assert run_json.Frozen.from_bytes(old, "run.json").derived == run_json.Derived("rescore", "/out/first")
    with pytest.raises(DamageError, match=r"run\.json is damaged"):
        run_json.Frozen.from_bytes(json.dumps({**document, "derived": "/out/first"}).encode(), "run.json")
