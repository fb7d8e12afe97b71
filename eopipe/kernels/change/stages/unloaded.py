"""A stage before it is loaded: what it needs to see, what it is made of, and how it comes to life on a worker."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pydantic import ValidationError

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from eopipe.kernels.change.stages.rgb import Sight
    from eopipe.kernels.known_words import WordNote

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


@contextmanager
def asking(model: str) -> Iterator[None]:
    """Turn what a model's own options refuse into one line.

    Raises:
        SpecError: It refuses.
    """
    try:
        yield
    except ValidationError as error:
        said = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise SpecError(f"kernel.prompts: {model} does not take them: {said}") from None


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
        words: How near each phrase is to what was taught, where it is read so.
    """

    bands: tuple[str, ...]
    load: Loading[Stage_co]
    memory: Callable[[int], int]
    weights: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    words: tuple[WordNote, ...] = ()
