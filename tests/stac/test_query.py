"""Time ranges, STAC query and CQL2, as they are read and as they are evaluated here."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eopipe.errors import ItemError, SpecError
from eopipe.stac.query import OPERATORS, Cql2, Query
from eopipe.stac.time_range import TimeRange, item_times, nominal_time

NOW = datetime(2025, 3, 31, 12, 30, tzinfo=UTC)
LAST = timedelta(microseconds=1)


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2025", at(2025, 1, 1), at(2026, 1, 1) - LAST),
        ("2024-02", at(2024, 2, 1), at(2024, 3, 1) - LAST),
        ("2025-12", at(2025, 12, 1), at(2026, 1, 1) - LAST),
        ("2025-05-01", at(2025, 5, 1), at(2025, 5, 2) - LAST),
        ("2025-05-01/2025-09-30", at(2025, 5, 1), at(2025, 10, 1) - LAST),
        ("2025-05/2025-06", at(2025, 5, 1), at(2025, 7, 1) - LAST),
        ("2015/..", at(2015, 1, 1), None),
        ("../2015", None, at(2016, 1, 1) - LAST),
        ("/2015", None, at(2016, 1, 1) - LAST),
        ("../..", None, None),
        ("2025-05-01T10:20:30Z", at(2025, 5, 1, 10, 20, 30), at(2025, 5, 1, 10, 20, 30)),
        ("2025-05-01T10:20:30.5+02:00/..", at(2025, 5, 1, 8, 20, 30, 500000), None),
        ("2025-05-01t10:20:30z/now", None, None),  # below: starts after now
        ("P30D/now", NOW - timedelta(days=30), NOW),
        ("P1M/now", at(2025, 2, 28, 12, 30), NOW),
        ("P1Y6M/now", at(2023, 9, 30, 12, 30), NOW),
        ("P2W/now", NOW - timedelta(days=14), NOW),
        ("PT6H/now", NOW - timedelta(hours=6), NOW),
        ("P1DT6H30M5S/now", NOW - timedelta(days=1, hours=6, minutes=30, seconds=5), NOW),
        ("2024-01-31/P1M", at(2024, 1, 31), at(2024, 2, 29)),
        ("2025-01-01/now", at(2025, 1, 1), NOW),
    ],
)
def test_ranges_are_read(text, start, end):
    if text.startswith("2025-05-01t"):
        with pytest.raises(SpecError, match="ends before it starts"):
            TimeRange.parse(text, NOW)
        return
    assert TimeRange.parse(text, NOW) == TimeRange(start, end)


def test_all_time():
    assert TimeRange.parse(None, NOW).rfc3339 is None
    assert TimeRange.parse("../..", NOW).rfc3339 is None


def test_what_an_api_gets():
    assert TimeRange.parse("2015", NOW).rfc3339 == "2015-01-01T00:00:00.000Z/2015-12-31T23:59:59.999Z"
    assert TimeRange.parse("2015/..", NOW).rfc3339 == "2015-01-01T00:00:00.000Z/.."
    assert TimeRange.parse("P1D/now", NOW).rfc3339 == "2025-03-30T12:30:00.000Z/2025-03-31T12:30:00.000Z"


@pytest.mark.parametrize(
    "text",
    [
        "May", "2025-13", "2025-02-30", "20250501", "2025-05-01/2025-05-02/2025-05-03", "P30D", "P30D/P3D", "P/now",
        "PT/now", "P30D/..", "../P30D", "2016/2015", "now/2015", "30 days", "P9999Y/now", "2025-05-01T25:00:00Z", " ",
        "2025/P9999Y", "yesterday/now",
    ],
)  # fmt: skip
def test_what_is_no_range_is_one_line(text):
    if text == " ":
        assert TimeRange.parse(text, NOW) == TimeRange()  # open, as the API has it
        return
    with pytest.raises(SpecError, match=r"^source\.datetime: ") as caught:
        TimeRange.parse(text, NOW)
    assert "\n" not in str(caught.value)
    assert repr(text) in str(caught.value)


@given(st.integers(0, 3_000_000_000), st.integers(0, 10**6))
def test_a_range_holds_its_ends_and_nothing_beyond(start, seconds):
    start = datetime.fromtimestamp(start, UTC)
    end = start + timedelta(seconds=seconds)
    span = TimeRange(start, end)
    assert span.overlaps(start, start)
    assert span.overlaps(end, end + timedelta(days=1))
    assert not span.overlaps(end + LAST, end + timedelta(days=1))
    assert not span.overlaps(start - timedelta(days=1), start - LAST)


def item(**properties):
    return {"type": "Feature", "id": "x", "collection": "c", "properties": properties, "geometry": None}


def test_times_of_items():
    assert nominal_time(item(datetime="2020-01-01T10:00:00+02:00")) == at(2020, 1, 1, 8)
    assert nominal_time(item(datetime="2020-01-01T10:00:00")) == at(2020, 1, 1, 10)
    assert nominal_time(item(datetime="2020-01-01T10:00:00.123456789Z")) == at(2020, 1, 1, 10, 0, 0, 123456)
    ranged = item(datetime=None, start_datetime="2020-01-01T00:00:00Z", end_datetime="2020-12-31T00:00:00Z")
    assert nominal_time(ranged) == at(2020, 1, 1)
    assert item_times(ranged) == (at(2020, 1, 1), at(2020, 12, 31))
    for wrong in (item(), item(datetime=None), item(datetime="soon"), item(datetime=2020.5)):
        with pytest.raises(ItemError, match="item 'x'"):
            nominal_time(wrong)


GIVEN = {"n": 5, "f": 5.5, "s": "S2MSI2A", "b": True, "l": ["vv", "vh"], "t": "2020-01-01T00:00:00Z", "null": None}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"n": {"eq": 5}}, True),
        ({"n": {"eq": 5.0}}, True),
        ({"n": {"eq": "5"}}, False),
        ({"n": {"neq": 4}}, True),
        ({"n": {"neq": "5"}}, True),
        ({"n": {"lt": 6, "gt": 4}}, True),
        ({"n": {"lt": 5}}, False),
        ({"n": {"lte": 5}}, True),
        ({"n": {"gte": 5.01}}, False),
        ({"n": {"lt": "6"}}, False),
        ({"n": {"in": [1, 5]}}, True),
        ({"n": {"in": []}}, False),
        ({"s": {"startsWith": "S2"}}, True),
        ({"s": {"endsWith": "1C"}}, False),
        ({"s": {"contains": "MSI"}}, True),
        ({"s": {"lt": "T"}}, True),
        ({"n": {"startsWith": "5"}}, False),
        ({"l": {"contains": "vv"}}, True),
        ({"l": {"contains": "hh"}}, False),
        ({"b": {"eq": True}}, True),
        ({"b": {"eq": 1}}, False),
        ({"b": {"neq": False}}, True),
        ({"n": {"lt": 6}, "s": {"eq": "no"}}, False),
        ({"s": {"contains": 5}}, False),
        ({"s": {"startsWith": "S_"}}, False),
        ({"s": {"contains": "%"}}, False),
        ({"l": {"neq": "vv"}}, True),
        # Times are times, however they are written.
        ({"s": {"neq": "2020-01-01"}}, True),
        ({"t": {"neq": "2020-01-01T01:00:00+01:00"}}, False),
        ({"t": {"in": ["x", "2020-01-01T01:00:00+01:00"]}}, True),
        ({"t": {"eq": "2020-01-01T01:00:00.000+01:00"}}, True),
        ({"t": {"lt": "2020-01-01T00:30:00+01:00"}}, False),
        ({"t": {"gte": "2019-12-31"}}, True),
        # What is missing does not match, whatever is asked of it.
        *[({name: {op: value}}, False) for name in ("missing", "null") for op, value in
          {"eq": 1, "neq": 1, "lt": 1, "lte": 1, "gt": 1, "gte": 1, "startsWith": "a", "endsWith": "a",
           "contains": "a", "in": [1]}.items()],
        ({"id": {"eq": "x"}, "collection": {"in": ["c"]}}, True),
        ({"properties.n": {"eq": 5}}, True),
        ({}, True),
    ],
)  # fmt: skip
def test_query_is_evaluated(condition, expected):
    assert Query(condition).matches(item(**GIVEN)) is expected


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"eo:cloud_cover": {"below": 3}}, "unknown operator 'below'; the operators are eq, neq"),
        ({"eo:cloud_cover": {"ltt": 3}}, "did you mean 'lt'"),
        ({"eo:cloud_cover": {"lt": [3]}}, "cannot be compared"),
        ({"eo:cloud_cover": {"lt": True}}, "cannot be compared"),
        ({"eo:cloud_cover": {"in": "ab"}}, "is no list"),
        ({"eo:cloud_cover": {"startsWith": 3}}, "is no text"),
        ({"eo:cloud_cover": {"eq": None}}, "null matches nothing"),
        ({"eo:cloud_cover": {"eq": {"a": 1}}}, "cannot be compared"),
        ({"eo:cloud_cover": {"in": [{"a": 1}]}}, "is no value of CQL2"),
        ({"eo:cloud_cover": {}}, "has no condition"),
    ],
)
def test_a_query_that_means_nothing_is_refused(query, said):
    with pytest.raises(SpecError, match=said) as caught:
        Query(query)
    assert "eo:cloud_cover" in str(caught.value)


def test_every_operator_is_checked_and_evaluated():
    for op in OPERATORS:
        wanted = [1] if op == "in" else "a"
        assert Query({"p": {op: wanted}}).matches(item(p="a")) is (op not in {"neq", "lt", "gt", "in"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n < 6 AND s LIKE 'S2%'", True),
        ("n BETWEEN 6 AND 7", False),
        ("n IN (4, 5)", True),
        ("t > TIMESTAMP('2019-01-01T00:00:00Z')", True),
        ("missing < 6", False),
        ("NOT (missing < 6)", False),
        ("missing <> 6", False),
        ("missing = 6 OR n = 5", True),
        ("missing = 6 AND n = 5", False),
        ("missing IS NULL", True),
        ("n IS NULL", False),
        ("collection = 'c' AND id = 'x'", True),
        ('"n" >= 5', True),
        ({"op": "=", "args": [{"property": "n"}, 5]}, True),
        ({"op": "not", "args": [{"op": "isNull", "args": [{"property": "null"}]}]},
         False),
    ],
)  # fmt: skip
def test_cql2_is_evaluated(text, expected):
    parsed = Cql2(text)
    parsed.check_local()
    assert parsed.matches(item(**GIVEN)) is expected


@pytest.mark.parametrize(
    "text", ["n <", "foo bar", "", "AND", "n = 'a", {"op": "="}, {"nonsense": 1}, {"op": "=", "args": "n"}]
)
def test_what_is_no_cql2_is_one_line(text):
    with pytest.raises(SpecError, match=r"^source\.filter: ") as caught:
        Cql2(text).check_local()
    assert "\n" not in str(caught.value)
