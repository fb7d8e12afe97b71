"""From what libraries raise to one line with a reason and a remedy."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import obstore.exceptions

from eopipe.errors import OutputError
from eopipe.redact import redact
from eopipe.text import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL}
_FULL_WORDS = ("StorageFull", "QuotaExceeded", "InsufficientStorage", "status code: 507", "os error 28")
_DENIED_WORDS = ("ExpiredToken", "AccessDenied", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch")
_NO_BUCKET_WORDS = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
# object_store asks the cloud machine's own address for credentials when the environment has none
_NO_CREDENTIALS_WORDS = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")

_REMEDY = {
    "write.denied": "grant this user access, or choose another output.uri",
    "write.full": "make room or raise the quota, then run again to resume",
    "write.unreachable": "check the address and the network, then run again to resume",
}


@contextmanager
def translate(url: str, *, writing: bool = False) -> Iterator[None]:
    """Raise OutputError for a fault of the folder; let a plain missing file through as FileNotFoundError.

    Args:
        url: Of the file or folder.
        writing: Whether a missing file is a fault of the folder (no such bucket) too.
    """
    try:
        yield
    except FileNotFoundError as error:  # obstore raises the built-in one too
        if _has(str(error), _NO_BUCKET_WORDS):
            raise _of_text(url, str(error), denied=False) from error
        if not writing:
            raise
        raise _fault(url, "write.unreachable", first_line(f"no such bucket or folder: {error}")) from error
    except obstore.exceptions.BaseError as error:
        raise _of_text(url, str(error), denied=_is_denied(error)) from error
    except OSError as error:
        if _has(str(error), _NO_BUCKET_WORDS):
            raise _of_text(url, str(error), denied=False) from error
        raise _fault(url, _of_errno(error), first_line(error.strerror or str(error))) from error
    except RuntimeError as error:  # what zarrs, in Rust, makes of an OSError
        match = re.search(r"\(os error (\d+)\)", str(error))
        if match is None:
            raise
        code = int(match[1])
        raise _fault(url, _of_errno(OSError(code, os.strerror(code))), os.strerror(code)) from error


def _is_denied(error: Exception) -> bool:
    return isinstance(
        error, (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError, PermissionError)
    )


def _of_errno(error: OSError) -> str:
    if error.errno in _FULL:
        return "write.full"
    if error.errno in _DENIED or isinstance(error, PermissionError):
        return "write.denied"
    return "write.unreachable"


def _of_text(url: str, text: str, *, denied: bool) -> OutputError:
    if _has(text, _FULL_WORDS):
        return _fault(url, "write.full", first_line(text))
    if _has(text, _NO_CREDENTIALS_WORDS):
        problem = "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the provider's own)"
        return OutputError(f"{url}: {problem}", reason="write.denied")
    if denied or _has(text, _DENIED_WORDS):
        return _fault(url, "write.denied", first_line(text))
    if _has(text, _NO_BUCKET_WORDS):
        return OutputError(f"{url}: the bucket does not exist; create it, or choose another output.uri")
    return _fault(url, "write.unreachable", first_line(text))


def _fault(url: str, reason: str, detail: str) -> OutputError:
    return OutputError(f"{url}: {reason.removeprefix('write.')}: {detail}; {_REMEDY[reason]}", reason=reason)


def _has(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def first_line(text: str) -> str:
    """The first line, without query strings (it may hold a signed URL), at most 240 characters."""
    return cut(redact(text.strip().split("\n", 1)[0], queries=False), 240)
