"""The errors that eopipe raises on purpose: one flat list, each with its exit status.

Every message is one line that says what was wrong, the value, and what to do.
An exception that is not in this file and reaches the command line is a bug (exit status 1).
"""

from __future__ import annotations

from functools import partial


def one_line(value: object, longest: int | None = None) -> str:
    """A text without line breaks, as every message is, cut after ``longest`` characters."""
    return " ".join(str(value).split())[:longest]


class EopipeError(Exception):
    """Base of every error that a user can put right; ``exit_status`` is what the command line returns."""

    exit_status = 2


class SpecError(EopipeError):
    """The run spec is wrong: an unknown key, a bad value, a missing file."""


class AreaError(EopipeError):
    """The area of interest cannot be placed on the grid."""


class NoItemsError(EopipeError):
    """The search matched nothing (``--allow-empty`` lets a run go on)."""


class ItemError(EopipeError):
    """A STAC item cannot be used: a band, a projection or an asset is missing."""


ITEM_REMEDY = "leave it out (source.ids, source.query or source.datetime), or take another collection"
"""What a user can do about an item of a catalog that is not theirs."""


class PlanError(EopipeError):
    """The run cannot fit or cannot be placed: memory, shards, kernel against grid."""


class WeightsError(EopipeError):
    """Weights are missing, of the wrong sha256, or in an unsafe format."""


class PluginError(EopipeError):
    """An installed package offers a kernel or a model that cannot be used, or a name is taken already."""


class CatalogError(EopipeError):
    """The catalog cannot be reached or answers with an error; try again later."""

    exit_status = 4


class CatalogAddressError(CatalogError):
    """The catalog's address cannot lead anywhere, however often it is tried: the request is wrong."""

    exit_status = 2


class CatalogRequestError(CatalogError):
    """The catalog understands the request and refuses it for good: the question, not the moment, is wrong."""

    exit_status = 2


class ClusterError(EopipeError):
    """The cluster cannot be had, or its workers failed the preflight."""

    exit_status = 4


class OutputError(EopipeError):
    """The output cannot be written or read.

    Args:
        message: One line: what, the value, the remedy.
        reason: The ledger's code: ``write.denied``, ``write.full`` or ``write.unreachable``.
    """

    exit_status = 4

    def __init__(self, message: str, *, reason: str = "write.unreachable") -> None:
        super().__init__(message)
        self.reason = reason  # in __dict__, so that it survives pickling


class OutputAddressError(OutputError):
    """The output's address is malformed, or no library serves its scheme: the request is wrong."""

    exit_status = 2


class LeaseError(EopipeError):
    """Another run holds the output."""

    exit_status = 5


class Interrupted(EopipeError):  # noqa: N818  (it is no fault)
    """A signal ended a run while no tile was under way; the exit status is the shell's, 128 + signal."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signum


class DamageError(EopipeError):
    """``validate`` found that the store, the ledger or the STAC documents disagree."""

    exit_status = 6


class TileFault(Exception):  # noqa: N818  (a fault is a value in the ledger, not a user's error)
    """What stops one tile, and one tile only.

    Args:
        reason: The ledger's code, ``stage.cause``, such as ``read.http_429``, ``read.corrupt``,
            ``kernel.out_of_memory`` or ``write.denied``.
        detail: One line for people: the asset or array, and the library's message. Never a signed URL.
        transient: Whether trying again at once may help.
    """

    def __init__(self, reason: str, detail: str, *, transient: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.transient = transient

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by arguments, since ``transient`` is keyword-only."""
        return (partial(TileFault, transient=self.transient), (self.reason, self.detail))
