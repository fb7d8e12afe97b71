"""A stage before it is loaded: what it needs to see, what it is made of, and how it comes to life on a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eopipe.kernels.change.sight import Sight

Stage_co = TypeVar("Stage_co", covariant=True)


class Loading(Protocol[Stage_co]):
    """Makes a stage; picklable, so a partial of a function of a module."""

    def __call__(self, sight: Sight, *, device: str, threads: int) -> Stage_co:
        """Read the tensors.

        Args:
            sight: How pixels become pictures.
            device: Where it runs.
            threads: On a CPU.

        Raises:
            WeightsError: A file is missing here, or is another than the one that was found.
        """
        ...


@dataclass(frozen=True)
class Part(Generic[Stage_co]):
    """A stage whose files are found and checked; picklable.

    Args:
        bands: What it sees, canonical names; none where it sees what another part makes.
        load: Makes it.
        memory: Peak bytes of its work beside what it is given, by the side of a picture; picklable too. Weights are
            not counted: a worker at rest holds them.
        weights: File and sha256.
        provenance: What a run's record says of it.
        notes: What its user should know, one line each.
        places: Options that only say where a file lies.
    """

    bands: tuple[str, ...]
    load: Loading[Stage_co]
    memory: Callable[[int], int]
    weights: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
