"""What an evaluation leaves in its folder: settings, one line a judged picture, and the predicted maps.

A killed evaluation goes on where it stopped: a picture's line is written once its map is there, a torn last line is
dropped, and a picture whose files have changed since is judged again.
"""

from __future__ import annotations

import fcntl
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from PIL import Image

from eopipe.errors import LeaseError, OutputError, SpecError
from eopipe.evaluation.metrics import Confusion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

SETTINGS, LINES, MAPS, RESULT, COUNTS = "eval.json", "images.jsonl", "predictions", "result.json", "confusion.npz"


class Judgeable(Protocol):
    """What is judged as one picture."""

    @property
    def key(self) -> str:
        """Names it within its set, as a relative path."""
        ...

    @property
    def files(self) -> Sequence[str]:
        """Everything that it is read from."""
        ...


class Kept:
    """A folder that an evaluation fills; a context manager that holds it for one process.

    Args:
        folder: Where; made if it is not there.
        settings: Everything that decides a prediction. A folder that holds other ones is refused.
        colours: RGB of each class, for the maps.

    Raises:
        SpecError: The folder holds another evaluation, or is a remote one.
        LeaseError: Another process fills it.
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], colours: Sequence[str]) -> None:
        self.folder = folder
        self._palette = [int(colour[at : at + 2], 16) for colour in colours for at in (1, 3, 5)]
        self._wanted: dict[str, Any] = json.loads(json.dumps(settings))

    def __enter__(self) -> Self:
        refuse_remote(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / LINES).open("a+b")
        except OSError as error:
            raise OutputError(
                f"--out {self.folder} cannot be written ({error.strerror}); give another folder"
            ) from None
        try:
            self._lock()
            self._known = self._read()
            self._settle()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def known(self, samples: Sequence[Judgeable]) -> dict[str, Confusion]:
        """Counts of the samples that were judged before and whose files are as they were, by key."""
        return {
            sample.key: Confusion.from_json(self._known[sample.key]["confusion"])
            for sample in samples
            if self._known.get(sample.key, {}).get("files") == _stamp(sample)
        }

    def add(self, sample: Judgeable, confusion: Confusion, prediction: NDArray[np.uint8]) -> None:
        """Keep a sample's map and counts.

        Raises:
            OutputError: The folder cannot be written any more.
        """
        line = {"key": sample.key, "files": _stamp(sample), "confusion": confusion.as_json()}
        path = self.folder / MAPS / f"{sample.key}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(prediction)
            picture.putpalette(self._palette)
            picture.save(path)
            self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"--out {self.folder} cannot be written ({error}); make room, and run again") from None

    def finish(self, total: Confusion, result: Mapping[str, Any]) -> None:
        """Write the whole set's counts and figures."""
        np.savez(self.folder / COUNTS, counts=total.counts, missed=total.missed, ignored=total.ignored)
        (self.folder / RESULT).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")

    def _lock(self) -> None:
        """For this process; it ends with the process, however that ends."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LeaseError(
                f"another evaluation is filling {self.folder}; wait for it, or give another --out"
            ) from None

    def _settle(self) -> None:
        path = self.folder / SETTINGS
        if not path.exists():
            path.write_text(json.dumps(self._wanted, indent=1, ensure_ascii=False) + "\n")
            return
        try:
            found = json.loads(path.read_text())
        except ValueError:
            raise SpecError(f"{path} is damaged; give another --out, or remove the folder to begin anew") from None
        other = sorted(_flat(found).items() ^ _flat(self._wanted).items())
        if other:
            names = ", ".join(dict.fromkeys(name for name, _ in other[:6]))
            raise SpecError(f"{self.folder} holds an evaluation with other settings ({names}); give another --out")

    def _read(self) -> dict[str, Any]:
        """Whole lines by key, the last of a key counting; what a kill tore off is cut away."""
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        try:
            lines = [json.loads(line) for line in content[:whole].splitlines()]
            return {line["key"]: line for line in lines}
        except (ValueError, KeyError, TypeError):
            raise SpecError(f"{self.folder / LINES} is damaged; remove the folder, or give another --out") from None


def refuse_remote(folder: Path) -> None:
    """An evaluation's folder is local.

    Raises:
        SpecError: It looks like an address.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(folder)):
        raise SpecError(f"--out {folder} is no local folder; give one, and copy it where you like")


def _stamp(sample: Judgeable) -> list[int]:
    """Size and time of its files; nothing of what lies behind an address, or is not there."""
    found: list[int] = []
    for address in sample.files:
        if "://" not in address and Path(address).exists():
            status = Path(address).stat()
            found += [status.st_size, status.st_mtime_ns]
    return found


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {
            key: text
            for part, inner in value.items()
            for key, text in _flat(inner, f"{name}.{part}" if name else part).items()
        }
    return {name: json.dumps(value)}
