"""HTTP with patience: one retry loop for catalogs and tokens, with back-off and jitter."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import requests
from requests import exceptions

from eopipe.credentials import HostSession
from eopipe.errors import one_line
from eopipe.redact import redact

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524})
"""HTTP statuses after which the same request may succeed."""

_SEE_OTHER = 303
_MOVED = frozenset({301, 302, _SEE_OTHER, 307, 308})
_REDIRECTS = 10
_NEVER_CONNECTED = ("NewConnectionError", "NameResolutionError", "refused", "Failed to resolve")
_RNG = random.Random()  # noqa: S311  (jitter, not secrets)


@dataclass(frozen=True)
class Backoff:
    """When to try again.

    Args:
        attempts: Tries in all.
        base: Seconds of the first wait; each next is twice as long, with jitter between half and whole.
        cap: Longest wait, also for a server's ``Retry-After``.
        unreachable: Tries in all while no server answers at all: a wrong host name should not take minutes.
    """

    attempts: int = 7
    base: float = 0.5
    cap: float = 60.0
    unreachable: int = 4

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after the attempt (from 0)."""
        drawn = self.base * float(2**attempt) * _RNG.uniform(0.5, 1.0)
        return min(self.cap, max(drawn, retry_after or 0.0))


class HttpError(Exception):
    """A request that failed for good.

    Args:
        problem: One line for people, without secrets.
        status: HTTP status; None where no answer came.
        kind: ``http``, ``timeout``, ``reset`` or ``unreachable``.
        transient: Whether trying again later may help.
    """

    def __init__(self, problem: str, *, status: int | None, kind: str, transient: bool) -> None:
        super().__init__(problem)
        self.status, self.kind, self.transient = status, kind, transient


class Http:
    """Sends requests, and tries again; one for all threads (each has its own connections)."""

    def __init__(self, backoff: Backoff | None = None, timeout: tuple[float, float] = (10.0, 120.0)) -> None:
        self.backoff = backoff or Backoff()
        self._timeout = timeout
        self._local = _Local()
        self._lock = threading.Lock()
        self._users: dict[str, tuple[str, str]] = {}
        self.requests = 0

    def json(self, url: str, *, headers: dict[str, str] | None = None) -> Any:
        """Body of a GET as JSON; ValueError where it is none."""
        return self.send("GET", url, headers=headers).json()

    def bytes(self, url: str) -> bytes:
        """Body of a GET."""
        return bytes(self.send("GET", url).content)

    def send(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, params: Any = None, json: Any = None
    ) -> requests.Response:
        """Send until it succeeds.

        Raises:
            HttpError: It failed for good, or too often.
        """
        attempt = 0
        while True:
            outcome = self._once(method, url, headers=headers, params=params, json=json)
            if isinstance(outcome, requests.Response):
                return outcome
            error, retry_after = outcome
            attempt += 1
            most = self.backoff.unreachable if error.kind == "unreachable" else self.backoff.attempts
            if not error.transient or attempt >= most:
                raise error
            time.sleep(self.backoff.wait(attempt - 1, retry_after))

    def _once(self, method: str, url: str, **more: Any) -> requests.Response | tuple[HttpError, float | None]:
        with self._lock:
            self.requests += 1
        try:
            response = self._answer(method, url, **more)
        except (exceptions.RequestException, OSError, ValueError) as error:
            return _failed(error), None
        if response.ok:
            return response
        status = response.status_code
        problem = f"HTTP {status} {response.reason or ''}".strip() + _body(response)
        return HttpError(problem, status=status, kind="http", transient=status in TRANSIENT), _retry_after(response)

    def _answer(self, method: str, url: str, **more: Any) -> requests.Response:
        """The answer behind redirects; a POST stays a POST with its body, unlike in ``requests``."""
        for _ in range(_REDIRECTS):
            response = self._local.session.request(
                method, url, timeout=self._timeout, auth=self._user(url), allow_redirects=method != "POST", **more
            )
            target = urljoin(url, response.headers.get("Location", ""))
            if method != "POST" or response.status_code not in _MOVED or target == url:
                return response
            if response.status_code == _SEE_OTHER:
                method, more = "GET", {**more, "json": None}
            if urlsplit(target).netloc != urlsplit(url).netloc:
                more["headers"] = None  # they may hold credentials, which are the first host's
            url = target
        raise exceptions.TooManyRedirects(f"more than {_REDIRECTS} redirects")

    def _user(self, url: str) -> tuple[str, str] | None:
        """The ``user:password@`` of the address, or of an earlier one of that host: a catalog's links lack it."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        if parts.username is not None:
            self._users[host] = (unquote(parts.username), unquote(parts.password or ""))
        return self._users.get(host)


class _Local(threading.local):
    """Connections of each thread."""

    def __init__(self) -> None:
        self.session = HostSession()


def _failed(error: Exception) -> HttpError:
    text = redact(one_line(error))[:300]
    problem, kind, transient = "connection failed", "reset", True
    if isinstance(error, exceptions.ConnectTimeout):
        problem, kind = "no connection in time", "unreachable"
    elif isinstance(error, exceptions.Timeout) or "timed out" in text:
        problem, kind = "no answer in time", "timeout"
    elif isinstance(error, exceptions.SSLError):
        problem, kind, transient = "TLS failed", "unreachable", False
    elif isinstance(error, exceptions.ConnectionError) and any(word in text for word in _NEVER_CONNECTED):
        problem, kind = "cannot be reached", "unreachable"
    elif isinstance(error, exceptions.TooManyRedirects):
        problem, transient = "redirected in a circle", False
    elif isinstance(error, ValueError):  # a malformed URL
        kind, transient = "unreachable", False
    return HttpError(f"{problem} ({text})", status=None, kind=kind, transient=transient)


def _body(response: requests.Response) -> str:
    """What the server said, shortened to one line."""
    kind = response.headers.get("Content-Type", "")
    if "html" in kind:
        return ""
    text = redact(one_line(response.text))
    return f": {text[:200]}" if text else ""


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
