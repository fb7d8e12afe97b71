"""What a refused read means for its user: which credentials are missing, and where they are stated.

Nothing in this file reads a file; see docs/OPERATIONS.md, "Access".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from eopipe.errors import TileFault
from eopipe.hrefs import host_of
from eopipe.redact import bare_url

if TYPE_CHECKING:
    from collections.abc import Callable

_EARTHDATA = (
    "set EARTHDATA_TOKEN, or a ~/.netrc with machine urs.earthdata.nasa.gov and GDAL_HTTP_COOKIEFILE and "
    "GDAL_HTTP_COOKIEJAR"
)
_COPERNICUS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to S3 keys of the Copernicus Data Space; source.alternate: s3 "
    "reads its s3 addresses where the items' main ones are others"
)
_REMEDIES = (
    ("landsatlook.usgs.gov", "set source.requester_pays: true, which reads the copies at s3://usgs-landsat"),
    ("earthdata.nasa.gov", _EARTHDATA),
    ("earthdatacloud.nasa.gov", _EARTHDATA),
    ("asf.alaska.edu", _EARTHDATA),
    ("dataspace.copernicus.eu", _COPERNICUS),
)
"""Host or domain, and what its users set."""

_LOGIN_HOST = re.compile(r"(^|[.-])(login|signin|auth|oauth|sso|idp|urs|accounts?|identity|keycloak|cas|ers)([.-]|$)")
_LOGIN_PATH = re.compile(r"/(login|signin|sign-in|oauth2?|sso|saml2?|openid-connect|authorize|cas)([/?]|$)")
_LOGIN_WORDS = re.compile(rb"log ?in|sign ?in|password|authenti|credential|unauthori[sz]ed", re.IGNORECASE)

REFUSED = frozenset({"read.http_401", "read.http_403", "read.denied"})
"""Reasons of faults that credentials may remove."""


def remedy_for(href: str) -> str:
    """What a user sets so that a file can be read."""
    host = host_of(href)
    if href.startswith("s3://eodata/"):
        return _COPERNICUS
    if not host:
        keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_S3_ENDPOINT where it is not Amazon's)"
        return f"set {keys}" if href.startswith("s3://") else "set the store's credentials in the environment"
    known = (remedy for name, remedy in _REMEDIES if host == name or host.endswith(f".{name}"))
    token = f"set EOPIPE_HTTP_TOKENS={host}=TOKEN or a ~/.netrc with machine {host}"
    return next(known, f"{token}; source.sign: keep reads by the signatures of presigned hrefs")


def missing_credentials(href: str, cause: str) -> TileFault:
    """The fault that a login page means."""
    return TileFault("read.login", f"{bare_url(href)}: credentials are missing; {cause}; {remedy_for(href)}")


def is_login(url: str) -> bool:
    """Whether an address is one of a login page."""
    parts = urlsplit(url)
    return bool(_LOGIN_HOST.search((parts.hostname or "").lower()) or _LOGIN_PATH.search(parts.path.lower()))


def speaks_of_login(page: bytes) -> bool:
    """Whether the beginning of a web page speaks of credentials."""
    return bool(_LOGIN_WORDS.search(page))


def explained(fault: TileFault, href: str, signed: Callable[[], str]) -> TileFault:
    """A refusal with what the user can do: that a signature has expired, or what to set.

    Args:
        fault: Of a read.
        href: Unsigned address.
        signed: Gives the signed one.
    """
    if fault.reason not in REFUSED | {"read.http_400"} or "; " in fault.detail:
        return fault
    expiry = expiry_of(signed())
    if expiry is not None and expiry <= datetime.now(UTC):
        return TileFault(
            "read.expired",
            f"{bare_url(href)}: the signature of its address expired at {expiry:%Y-%m-%dT%H:%M:%SZ}; run again, "
            "which searches for fresh signatures (source.sign: keep), or ask the provider for longer ones",
        )
    if fault.reason not in REFUSED:
        return fault
    problem = "the signature of its address was refused" if expiry else "credentials are missing or were refused"
    return TileFault(fault.reason, f"{fault.detail}; {problem}; {remedy_for(href)}")


def expiry_of(url: str) -> datetime | None:
    """When the signature of an address expires, as its query states it (AWS, Google, Azure, CloudFront); or None."""
    query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    for prefix in ("x-amz", "x-goog"):
        if f"{prefix}-date" in query:
            return _expiry(query.get(f"{prefix}-date", ""), query.get(f"{prefix}-expires", "0"))
    if "sig" in query and "se" in query:
        return _moment(query["se"])
    stated = query.get("expires") or query.get("expiry") or query.get("exp")
    return _moment(stated) if stated else None


def _expiry(start: str, seconds: str) -> datetime | None:
    try:
        return datetime.strptime(start, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(seconds=int(seconds))
    except (ValueError, OverflowError):
        return None


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromtimestamp(int(text), UTC) if text.isdigit() else datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
