"""What a failed read means: GDAL's sentences, and where they hide the cause, the server's own answer."""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING

from eopipe.cube.http_probe import http_fault
from eopipe.errors import TileFault, one_line
from eopipe.redact import bare_url, redact, redact_record

if TYPE_CHECKING:
    from collections.abc import Sequence


_HTTP = re.compile(
    r"(?:HTTP (?:response )?(?:error )?code ?(?:: ?|= ?)?|HTTP/[\d.]+ |response_code=|status code:? ?)(\d{3})"
)


_RESET = (
    "connection (was )?reset|recv failure|send failure|empty reply|(could not|couldn't|failed to) connect|"
    "(could not|couldn't) resolve|connection refused|connection died|transfer closed|curl error|ssl"
)
_KINDS = [
    (reason, re.compile(pattern, re.IGNORECASE), transient)
    for reason, transient, pattern in (
        ("read.timeout", True, "timed? ?out|timeout"),
        ("read.reset", True, _RESET),
        ("read.denied", False, "permission denied|access ?denied|forbidden|credential|unauthori[sz]ed"),
        ("read.truncated", True, r"got \d+ bytes, expected \d+|read error at|short read|unexpected end"),
        ("read.missing", False, "no such file|does not exist|nosuchkey|not found"),
    )
]
"""Reason, words of GDAL's messages, transient; the first that fits."""


class GdalMessages(logging.Filter):
    """Collects GDAL's messages while a file is read, thread by thread, and takes signatures out of them.

    An exception from rasterio holds only the last error: a decoder's complaint about missing bytes, not the
    server's answer before it. And GDAL's sentences repeat whole addresses, signed ones too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._local = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """Note the message within a read, of which the fault itself is reported; else pass it on, redacted."""
        record.msg, record.args = redact(record.getMessage(), queries=False), None
        messages = getattr(self._local, "messages", None)
        if messages is not None:
            messages.append(record.msg)
        return messages is None

    def listen(self) -> None:
        """Start a new list for this thread."""
        self._local.messages = []

    def collect(self) -> list[str]:
        """The messages since, redacted; ends the list."""
        messages: list[str] = getattr(self._local, "messages", None) or []
        self._local.messages = None
        return messages


GDAL_MESSAGES = GdalMessages()
"""Filter of the logger that rasterio passes GDAL's messages to."""

logging.getLogger("rasterio._env").addFilter(GDAL_MESSAGES)
logging.getLogger("rasterio._base").addFilter(redact_record)  # it logs the addresses of open files


def classify(error: BaseException, href: str, messages: Sequence[str] = ()) -> TileFault:
    """The tile fault that an error from GDAL means; the message holds no query string.

    Args:
        error: What rasterio raised.
        href: Unsigned address.
        messages: GDAL's, oldest first.
    """
    text = " | ".join([*messages[:8], *_chain(error)])
    status = _HTTP.search(text)
    if status:
        return http_fault(int(status[1]), bare_url(href))
    detail = f"{bare_url(href)}: {redact(text, queries=False)[:300]}"
    for reason, pattern, transient in _KINDS:
        if pattern.search(text):
            return TileFault(reason, detail, transient=transient)
    return TileFault("read.corrupt", detail)


def _chain(error: BaseException | None) -> list[str]:
    texts: list[str] = []
    while error is not None and len(texts) < 10:
        texts.append(one_line(error))
        error = error.__cause__ or error.__context__
    return texts
