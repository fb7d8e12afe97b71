"""The folder of an evaluation: its settings, one line a judged picture, the predicted maps, and the result.

A killed evaluation resumes: the line of a picture is written after its map, an incomplete last line is dropped, and a
picture whose files have changed since is judged again.
"""

from __future__ import annotations

import fcntl
import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from eopipe.errors import LeaseError, OutputError, SpecError
from eopipe.evaluation.metrics import Confusion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.evaluation.dataset import Sample

SETTINGS, LINES, MAPS, RESULT, COUNTS = "eval.json", "images.jsonl", "predictions", "result.json", "confusion.npz"


class ResultsFolder:
    """A folder that an evaluation fills; a context manager that holds it for one process.

    Args:
        folder: Created where it does not exist.
        settings: Everything that decides a prediction. A folder with other settings is refused.
        colours: RGB of each class, for the maps.

    Raises:
        SpecError: The folder holds another evaluation, or is a remote one.
        LeaseError: Another process fills it.
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], colours: Sequence[str]) -> None:
        self.folder = folder
        self._palette = [int(colour[start : start + 2], 16) for colour in colours for start in (1, 3, 5)]
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))

    def __enter__(self) -> Self:
        refuse_remote(self.folder)
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / LINES).open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until the process ends, however it does
            self._lines = self._read_lines()
            self._check_settings()
        except BaseException as error:
            self._file.close()
            if isinstance(error, BlockingIOError):
                raise LeaseError(
                    f"another evaluation fills {self.folder}; wait for it, or give another --out"
                ) from None
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def stored(self, samples: Sequence[Sample]) -> dict[str, Confusion]:
        """Stored counts, by key, of the samples whose files have not changed since."""
        return {
            sample.key: Confusion.from_json(self._lines[sample.key]["confusion"])
            for sample in samples
            if self._lines.get(sample.key, {}).get("files") == _file_stamps(sample)
        }

    def add(self, sample: Sample, counts: Confusion, prediction: NDArray[np.uint8]) -> None:
        """Store the map and the counts of a sample.

        Raises:
            OutputError: The folder cannot be written any more.
        """
        line = {"key": sample.key, "files": _file_stamps(sample), "confusion": counts.as_json()}
        path = self.folder / MAPS / f"{sample.key}.png"
        with writing(self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(prediction)
            picture.putpalette(self._palette)
            picture.save(path)
            self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            self._file.flush()

    def finish(self, total: Confusion, result: Mapping[str, Any]) -> None:
        """Store the counts of the whole set and the result."""
        np.savez(self.folder / COUNTS, counts=total.counts, missed=total.missed, ignored=total.ignored)
        write_result(self.folder, result)

    def _check_settings(self) -> None:
        path = self.folder / SETTINGS
        if not path.exists():
            path.write_text(_json_text(self._settings))
            return
        try:
            settings = json.loads(path.read_text())
        except ValueError:
            raise SpecError(f"{path} is damaged; give another --out, or remove the folder to begin anew") from None
        differences = sorted(_flat(settings).items() ^ _flat(self._settings).items())
        if differences:
            names = ", ".join(dict.fromkeys(name for name, _ in differences[:6]))
            raise SpecError(f"{self.folder} holds an evaluation with other settings ({names}); give another --out")

    def _read_lines(self) -> dict[str, Any]:
        """Complete lines by key, the last one of each key; an incomplete last line of a killed process is cut off."""
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


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report the errors of a block that writes to a path.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); make room, or give another --out",
            reason="write.denied",
        ) from None


def write_result(folder: Path, document: Mapping[str, Any]) -> None:
    """Write the document that ``--json`` prints.

    Raises:
        SpecError: The folder is a remote one.
        OutputError: It cannot be written.
    """
    refuse_remote(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULT).write_text(_json_text(document), encoding="utf-8")


def refuse_remote(folder: Path) -> None:
    """Check that an evaluation's folder is local.

    Raises:
        SpecError: It is an address.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(folder)):
        raise SpecError(f"--out {folder} is no local folder; give one, and copy it where you like")


def _json_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _file_stamps(sample: Sample) -> list[int]:
    """Sizes and times of a sample's local files."""
    paths = [Path(address) for address in sample.files if "://" not in address]
    return [number for path in paths if path.exists() for number in (path.stat().st_size, path.stat().st_mtime_ns)]


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested settings as JSON texts by dotted names."""
    if not isinstance(value, dict):
        return {name: json.dumps(value)}
    return {
        key: text
        for inner_name, inner in value.items()
        for key, text in _flat(inner, f"{name}.{inner_name}" if name else inner_name).items()
    }
