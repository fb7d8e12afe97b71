"""Times as specs write them: ranges (RFC 3339, ``2025``, ``2025-05``, ``..``, ``P30D/now``), and seasons."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from eopipe.errors import ITEM_REMEDY, ItemError, SpecError

_PERIOD = re.compile(r"^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$")
_DURATION = re.compile(
    r"^P(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$"
)
_DAY = re.compile(r"^(\d{2})(?:-(\d{2}))?$")
_LEAP = 2024
"""A year that has every day."""

_OPEN = frozenset({"", ".."})
_HINT = "write it like 2025-05-01/2025-09-30, 2025-05, ../2025-09-30 or P30D/now"


@dataclass(frozen=True)
class TimeRange:
    """A closed range in UTC; None is open."""

    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def parse(cls, text: str | None, now: datetime, *, key: str = "source.datetime") -> TimeRange:
        """Read a range of a spec.

        Args:
            text: ``start/end``, a period (``2025``, ``2025-05``, ``2025-05-01``) or an instant; None is all time.
            now: What ``now`` means.
            key: Named in the error.

        Raises:
            SpecError: It is no range, or ends before it starts.
        """
        if text is None:
            return cls()
        parts = [part.strip() for part in text.split("/")]
        if len(parts) > 2:
            raise SpecError(f"{key}: {text!r} has {len(parts)} parts; {_HINT}")
        try:
            span = _span(parts[0], parts[-1], now)
        except (ValueError, OverflowError) as error:
            raise SpecError(f"{key}: {text!r} is no time range ({error}); {_HINT}") from None
        if span.start and span.end and span.start > span.end:
            raise SpecError(f"{key}: {text!r} ends before it starts; swap the two")
        return span

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Whether an item's time, or its range, lies in this range at least in part."""
        return (self.start is None or end >= self.start) and (self.end is None or start <= self.end)

    @property
    def rfc3339(self) -> str | None:
        """``start/end`` for a STAC API, with milliseconds; None for all time."""
        if self.start is None and self.end is None:
            return None
        return f"{_stamp(self.start)}/{_stamp(self.end)}"


@dataclass(frozen=True)
class Season:
    """Days of the year from which a search takes scenes, such as ``05-01/09-30``, or over New Year ``11/02``.

    Args:
        first: Its first day, ``(month, day)``.
        last: Its last day, included; it may lie before the first.
    """

    first: tuple[int, int]
    last: tuple[int, int]

    @classmethod
    def parse(cls, text: str) -> Season:
        """Read a spec's ``source.season``.

        Args:
            text: Two days ``MM-DD``, or months ``MM``, with ``/`` between; one month stands for itself.

        Raises:
            SpecError: It is none.
        """
        begin, mark, end = text.partition("/")
        first, last = _day(begin.strip(), last=False), _day((end if mark else begin).strip(), last=True)
        if first is None or last is None:
            raise SpecError(
                f"source.season: {text!r} is no season; write days or months, such as 05-01/09-30 or 11/02"
            )
        return cls(first, last)

    def holds(self, moment: datetime) -> bool:
        """Whether a scene of this time (UTC) is taken."""
        day = (moment.month, moment.day)
        if self.first <= self.last:
            return self.first <= day <= self.last
        return day >= self.first or day <= self.last


def item_times(item: dict[str, Any]) -> tuple[datetime, datetime]:
    """Start and end of an item in UTC: its range where it has one, else its datetime twice.

    Raises:
        ItemError: It has neither, or what it has is no time.
    """
    properties = item["properties"]
    first = properties.get("start_datetime") or properties.get("datetime")
    last = properties.get("end_datetime") or properties.get("datetime") or first
    first = first or last
    if first is None:
        raise ItemError(f"item {item.get('id')!r} has no datetime, start_datetime or end_datetime; {ITEM_REMEDY}")
    return parse_time(first, item), parse_time(last, item)


def nominal_time(item: dict[str, Any]) -> datetime:
    """The item's datetime in UTC, or the start of its range.

    Raises:
        ItemError: As `item_times`.
    """
    value = item["properties"].get("datetime")
    return parse_time(value, item) if value else item_times(item)[0]


def parse_time(value: object, item: dict[str, Any]) -> datetime:
    """An RFC 3339 time of an item, in UTC; without a zone it is taken as UTC.

    Raises:
        ItemError: It is none.
    """
    try:
        return _utc(datetime.fromisoformat(str(value)))
    except ValueError:
        raise ItemError(f"item {item.get('id')!r}: {value!r} is no RFC 3339 time; {ITEM_REMEDY}") from None


def _span(first: str, second: str, now: datetime) -> TimeRange:
    if first.startswith("P"):
        end = None if second.startswith("P") else _edge(second, now, last=True)
        if end is None:
            raise ValueError("a duration needs an end, such as P30D/now")
        return TimeRange(_shift(end, first, sign=-1), end)
    start = _edge(first, now, last=False)
    if second.startswith("P"):
        if start is None:
            raise ValueError("a duration cannot count from an open start")
        return TimeRange(start, _shift(start, second, sign=1))
    return TimeRange(start, _edge(second, now, last=True))


def _edge(text: str, now: datetime, *, last: bool) -> datetime | None:
    if text in _OPEN:
        return None
    if text == "now":
        return now
    period = _PERIOD.match(text)
    if period is None:
        if "T" not in text.upper() and " " not in text:
            raise ValueError(f"{text!r} is neither a date nor a time")
        return _utc(datetime.fromisoformat(text.upper()))
    year, month, day = int(period[1]), int(period[2] or 1), int(period[3] or 1)
    start = datetime(year, month, day, tzinfo=UTC)
    if not last:
        return start
    months = 0 if period[3] else 1 if period[2] else 12
    after = _add_months(start, months) + (timedelta(days=1) if period[3] else timedelta())
    return after - timedelta(microseconds=1)


def _shift(moment: datetime, text: str, *, sign: int) -> datetime:
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no ISO 8601 duration such as P30D or P1Y")
    years, months, weeks, days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    moved = _add_months(moment, sign * (12 * years + months))
    return moved + sign * timedelta(days=7 * weeks + days, hours=hours, minutes=minutes, seconds=seconds)


def _add_months(moment: datetime, months: int) -> datetime:
    total = moment.year * 12 + moment.month - 1 + months
    year, month = divmod(total, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _stamp(moment: datetime | None) -> str:
    return ".." if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _day(text: str, *, last: bool) -> tuple[int, int] | None:
    match = _DAY.match(text)
    if match is None or not 1 <= (month := int(match[1])) <= 12:
        return None
    most = calendar.monthrange(_LEAP, month)[1]
    day = int(match[2]) if match[2] else most if last else 1
    return (month, day) if 1 <= day <= most else None
