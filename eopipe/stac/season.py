"""Days of the year from which a search takes scenes, in any year: ``05-01/09-30``, or over New Year ``11/02``."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from datetime import datetime

_DAY = re.compile(r"^(\d{2})(?:-(\d{2}))?$")
_LEAP = 2024
"""A year that has every day."""


@dataclass(frozen=True)
class Season:
    """The first and the last day, each ``(month, day)``, both included; the last may lie before the first."""

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


def _day(text: str, *, last: bool) -> tuple[int, int] | None:
    match = _DAY.match(text)
    if match is None or not 1 <= (month := int(match[1])) <= 12:
        return None
    most = calendar.monthrange(_LEAP, month)[1]
    day = int(match[2]) if match[2] else most if last else 1
    return (month, day) if 1 <= day <= most else None
