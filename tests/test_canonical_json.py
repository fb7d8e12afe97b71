"""The bytes that hashes of recipes, items, records and statistics are taken of."""

import pytest

from eopipe.canonical_json import canonical_json, digest

VALUE = {"b": [1, 1.0, True, None, "é"], "a": {"y": "x", "x": 1e-05}}


def test_keys_are_sorted_and_there_are_no_spaces():
    assert canonical_json(VALUE) == '{"a":{"x":1e-05,"y":"x"},"b":[1,1.0,true,null,"é"]}'.encode()
    assert canonical_json(VALUE, ascii_only=True) == rb'{"a":{"x":1e-05,"y":"x"},"b":[1,1.0,true,null,"\u00e9"]}'


def test_half_a_surrogate_pair_has_a_hash():
    assert canonical_json("\ud83d") == b'"\xed\xa0\xbd"'
    assert digest("\ud83d") != digest("\ud83e")


def test_numbers_that_are_not_finite():
    assert canonical_json([float("nan")]) == b"[NaN]"
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([float("nan")], finite=True)


def test_hashes_of_existing_runs_are_found_again():
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
