"""Seasons: which days of the year a search takes, in whatever year."""

from datetime import UTC, datetime, timedelta

import pytest

import eopipe
from eopipe.errors import SpecError
from eopipe.stac.time_range import Season
from tests.support.paths import needs_shared, shared

LEAP_YEAR = [datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(days=day) for day in range(366)]


@pytest.mark.parametrize(
    ("text", "days", "inside", "outside"),
    [
        ("05-01/09-30", 31 + 30 + 31 + 31 + 30, (9, 30), (10, 1)),
        ("05/09", 31 + 30 + 31 + 31 + 30, (5, 1), (4, 30)),
        ("11/02", 30 + 31 + 31 + 29, (2, 29), (3, 1)),
        ("12-20/01-10", 12 + 10, (1, 1), (1, 11)),
        ("07", 31, (7, 31), (8, 1)),
        ("02-29/02-29", 1, (2, 29), (2, 28)),
    ],
)
def test_days_of_the_year(text, days, inside, outside):
    season = Season.parse(text)
    assert sum(map(season.holds, LEAP_YEAR)) == days
    assert season.holds(datetime(2024, *inside, 23, 59, tzinfo=UTC))
    assert not season.holds(datetime(2024, *outside, tzinfo=UTC))


@pytest.mark.parametrize("text", ["", "summer", "13/02", "05-32/06", "02-30/03", "05/06/07", "5/9", "2015-05/09"])
def test_what_is_no_season(text):
    with pytest.raises(SpecError, match=r"source\.season: .* is no season; write days or months"):
        Season.parse(text)


@needs_shared
def test_a_search_takes_scenes_of_the_season_in_every_epoch():
    catalog = str(shared() / "data/sentinel2-oscd/collection.json")
    source = {
        "catalog": catalog,
        "area": [-180, -80, 180, 80],
        "epochs": {"before": "2015/2016", "after": "2017/2018"},
    }
    times = {}
    for season in (None, "05/09"):
        snapshot, report = eopipe.search(**source, **({"season": season} if season else {}))
        moments = snapshot.index.column("datetime").to_pylist()
        times[season] = sorted(moments)
        assert report.used == len(moments)
    assert 0 < len(times["05/09"]) < len(times[None])
    assert times["05/09"] == [moment for moment in times[None] if 5 <= moment.month <= 9]
    with pytest.raises(SpecError, match=r"source\.season: 'winter' is no season"):
        eopipe.search(**source, season="winter")
