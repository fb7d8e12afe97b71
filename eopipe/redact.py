"""Secrets out of texts, addresses and documents: the one place that knows what a secret looks like.

Four strengths, by what must survive:

- :func:`unsign` and :func:`unsign_document` leave an address that still works once it is signed anew;
- :func:`redact` leaves a text that people can read, harmless queries included;
- ``redact(text, queries=False)`` also drops every query string: for faults of reads, whose addresses were signed;
- :func:`bare_url` leaves scheme, host and path.

Known forms: ``user:password@host``, Azure SAS, AWS signature 2 and 4, Google V4, Alibaba OSS, CloudFront, tokens and
keys as query parameters, ``Authorization`` headers, ``name=value`` and JSON pairs, lines of a ``.netrc``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    import logging

_NAMES = (
    "sig signature token access_token id_token refresh_token auth_token authtoken session_token security_token "
    "sas_token sastoken sharedaccesssignature api_key api-key apikey subscription-key subscription_key "
    "password passwd secret client_secret access_key secret_key access_key_id secret_access_key account_key "
    "accountkey awsaccesskeyid aws_access_key_id aws_secret_access_key aws_session_token googleaccessid "
    "ossaccesskeyid"
)
"""Names of secrets in query strings and in texts."""

_NAMES_IN_QUERIES = "accesstoken sas auth authorization jwt pwd key-pair-id policy"
_SECRETS = frozenset(f"{_NAMES} {_NAMES_IN_QUERIES}".split())
_PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-ms-")
"""What names a secret query parameter: in texts, words such as ``policy`` mean other things."""

_SAS_NAMES = (
    "sv sr st se sp spr sip ss srt si sdd saoid suoid scid ses skoid sktid skt ske sks skv sduoid "
    "rscc rscd rsce rscl rsct expires expiry"
)
_WITH_A_SIGNATURE = frozenset(_SAS_NAMES.split())
"""Query parameters that belong to a signature beside them, and mean something else without one."""

_USER = re.compile(r"(?<=://)[^/\s?#]*@")
_USER_IN_TEXT = re.compile(r"(?<=://)[^/\s'\"]*@")
_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://|/vsi[a-z0-9]+/)[^\s'\"<>\\]+")
_QUERY = re.compile(r"\?[^\s'\"]+")
_NAMED = re.compile(
    rf"(?i)\b({'|'.join(_NAMES.split())}|x-(?:amz|goog|oss)-[a-z0-9-]+)"
    r"(\\?[\"']?\s*[=:]\s*\\?[\"']?)((?<=\")[^\"\\]+|(?<=')[^'\\]+|[^&\s\"'\\,;})]+)"
)
_HEADER = re.compile(r"(?i)\b(authorization\\?[\"']?\s*[=:]\s*\\?[\"']?)((?:[\w-]+\s+)?)([^\s\"'\\,;})]+)")
_COOKIE = re.compile(r"(?i)\b((?:set-)?cookie\s*:\s*)[^\r\n]+")
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_NETRC = re.compile(r"(?i)\b((?:login|user)\s+\S+\s+(?:account\s+\S+\s+)?passw(?:or)?d\s+)\S+")


def redact(text: str, *, queries: bool = True) -> str:
    """A text for logs, errors and records: addresses unsigned, passwords, tokens and keys replaced by ``***``.

    Args:
        text: Any text.
        queries: Whether query strings without a known secret stay.
    """
    text = _USER_IN_TEXT.sub("", text)
    text = _URL.sub(lambda match: unsign(match[0]), text) if queries else _QUERY.sub("", text)
    text = _HEADER.sub(lambda match: f"{match[1]}{match[2]}***", text)
    text = _SCHEME.sub(lambda match: f"{match[1]} ***", text)
    for pattern in (_COOKIE, _NETRC):
        text = pattern.sub(lambda match: f"{match[1]}***", text)
    return _NAMED.sub(lambda match: f"{match[1]}{match[2]}***", text)


def redact_record(record: logging.LogRecord) -> bool:
    """Filter of other libraries' loggers: query strings and secrets out of a line, which is passed on."""
    record.msg, record.args = redact(record.getMessage(), queries=False), None
    return True


def bare_url(url: str) -> str:
    """An address without credentials and query string, fit for a message."""
    return _USER_IN_TEXT.sub("", url).partition("?")[0]


def unsign(url: str) -> str:
    """Strip what signs an address (SAS, AWS, Google, CloudFront, tokens, ``user:password@``); keep the rest.

    The short names of Azure's SAS (``se``, ``sp``, …) and ``expires`` go only where a signature stands beside
    them, since alone they may mean something.
    """
    url = _USER.sub("", url)
    path, mark, tail = url.partition("?")
    if not mark:
        return url
    query, hash_mark, fragment = tail.partition("#")
    parameters = [(unquote(text.partition("=")[0]).lower(), text) for text in query.split("&")]
    signed = any(map(_is_secret, (name for name, _ in parameters)))
    harmless = [
        _unsign_nested(text)
        for name, text in parameters
        if not (_is_secret(name) or (signed and name in _WITH_A_SIGNATURE))
    ]
    return f"{path}{'?' if harmless else ''}{'&'.join(harmless)}{hash_mark}{fragment}"


def unsign_document(value: object, key: str = "") -> object:
    """A JSON value with every address in it unsigned: hrefs, relative ones too, and addresses within texts.

    Args:
        value: An item, a spec, or a branch of one; not changed.
        key: The name that it stands under.
    """
    if isinstance(value, str):
        if key == "href" or _URL.match(value):
            return unsign(value)
        return _URL.sub(lambda match: unsign(match[0]), value) if "://" in value else value
    if isinstance(value, dict):
        return {name: unsign_document(branch, name) for name, branch in value.items()}
    if isinstance(value, list):
        return [unsign_document(branch, key) for branch in value]
    return value


def _is_secret(name: str) -> bool:
    return name in _SECRETS or name.startswith(_PREFIXES)


def _unsign_nested(parameter: str) -> str:
    """A query parameter whose value is itself a signed, percent-encoded URL."""
    name, mark, value = parameter.partition("=")
    if "%3a%2f%2f" not in value.lower():
        return parameter
    plain = unquote(value)
    clean = unsign(plain)
    return parameter if clean == plain else f"{name}{mark}{quote(clean, safe='')}"
