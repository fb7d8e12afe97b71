"""One small request that finds out why a read failed.

GDAL reports a data request that failed with 429 or 503 as missing bytes, and a connection
that was reset while the header was read as "not a supported format". So when a file looks
truncated or damaged, the server is asked once for a few of its bytes, and its answer, if it is a
bad one, is what the fault says.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from eopipe.errors import TileFault
from eopipe.redact import bare_url

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which trying again may help."""

_AT = 40_000
_LENGTH = 16
_SECONDS = 10.0


def probe(signed: str, href: str) -> TileFault | None:
    """Ask for 16 bytes behind the header of a file.

    Args:
        signed: Address to ask.
        href: The same, unsigned, for the message.

    Returns:
        The fault that the answer means; None where the answer is good, or where the address is not HTTP.
    """
    if not signed.startswith(("http://", "https://")):
        return None
    return _ask(signed, bare_url(href), _AT)


def _ask(signed: str, where: str, at: int) -> TileFault | None:
    request = urllib.request.Request(signed, headers={"Range": f"bytes={at}-{at + _LENGTH - 1}"})  # noqa: S310  (as checked)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310  (scheme checked)
            answer.read(_LENGTH)
    except urllib.error.HTTPError as error:
        status = error.code
        error.close()
        if status != 416:
            return http_fault(status, where)
        # The file ends before this range: its first bytes are requested, unless they were.
        return _ask(signed, where, 0) if at else None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, TimeoutError):
            return TileFault("read.timeout", f"{where}: no answer within {_SECONDS:g} s", transient=True)
        return TileFault("read.reset", f"{where}: {type(cause).__name__}", transient=True)
    return None


def http_fault(status: int, where: str) -> TileFault:
    """The fault that an HTTP status means."""
    return TileFault(f"read.http_{status}", f"{where}: HTTP {status}", transient=status in TRANSIENT)
