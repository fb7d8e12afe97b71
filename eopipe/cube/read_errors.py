"""What a failed read means: GDAL's sentences, and where they hide the cause, the server's own answer."""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING

from eopipe.cube.http_probe import http_fault
from eopipe.errors import TileFault, one_line
from eopipe.redact import bare_url, redact

if TYPE_CHECKING:
    from collections.abc import Sequence


_HTTP = re.compile(
    r"(?:HTTP (?:response )?(?:error )?code ?(?:: ?|= ?)?|HTTP/[\d.]+ |response_code=|status code:? ?)(\d{3})"
)


_KINDS = (
    ("read.timeout", re.compile(r"timed? ?out|timeout", re.IGNORECASE), True),
    (
        "read.reset",
        re.compile(
            r"connection (was )?reset|recv failure|send failure|empty reply|(could not|couldn't|failed to) connect"
            r"|(could not|couldn't) resolve|connection refused|connection died|transfer closed|curl error|ssl",
            re.IGNORECASE,
        ),
        True,
    ),
    (
        "read.denied",
        re.compile(r"permission denied|access ?denied|forbidden|credential|unauthori[sz]ed", re.IGNORECASE),
        False,
    ),
    (
        "read.truncated",
        re.compile(r"got \d+ bytes, expected \d+|read error at|short read|unexpected end", re.IGNORECASE),
        True,
    ),
    ("read.missing", re.compile(r"no such file|does not exist|nosuchkey|not found", re.IGNORECASE), False),
)
"""Reason, what GDAL's sentences say, transient; the first that fits."""


class Listener(logging.Filter):
    """Listens to what GDAL says while a file is read, thread by thread, and takes signatures out of it.

    An exception from rasterio holds only the last error: a decoder's complaint about missing bytes, not the
    server's answer before it. And GDAL's sentences repeat whole addresses, signed ones too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._local = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """Note the message; let it pass on without query strings."""
        text = redact(record.getMessage(), queries=False)
        record.msg, record.args = text, None
        notes = getattr(self._local, "notes", None)
        if notes is None:
            return True
        notes.append(text)
        # Within a read the fault itself is reported; GDAL's running commentary would only repeat it.
        return False

    def listen(self) -> None:
        """Start a new list for this thread."""
        self._local.notes = []

    def heard(self) -> list[str]:
        """What was said since, and stop."""
        notes: list[str] = getattr(self._local, "notes", None) or []
        self._local.notes = None
        return notes


SAID = Listener()
"""Listens on the logger that rasterio passes GDAL's messages to."""

logging.getLogger("rasterio._env").addFilter(SAID)


def classify(error: BaseException, href: str, notes: Sequence[str] = ()) -> TileFault:
    """The tile fault that an error from GDAL means; the message holds no query string.

    Args:
        error: What rasterio raised.
        href: Unsigned address.
        notes: What GDAL said before, oldest first.
    """
    said = " | ".join([*notes[:8], *_chain(error)])
    status = _HTTP.search(said)
    if status:
        return http_fault(int(status[1]), bare_url(href))
    detail = f"{bare_url(href)}: {redact(said, queries=False)[:300]}"
    for reason, pattern, transient in _KINDS:
        if pattern.search(said):
            return TileFault(reason, detail, transient=transient)
    return TileFault("read.corrupt", detail)


def _chain(error: BaseException | None) -> list[str]:
    found: list[str] = []
    while error is not None and len(found) < 10:
        found.append(one_line(error))
        error = error.__cause__ or error.__context__
    return found
