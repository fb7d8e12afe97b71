from __future__ import annotations

import hashlib

import numpy as np
import pytest

from eopipe.errors import WeightsError
from eopipe.models.registry import DYNAMIC_WORLD
from eopipe.models.weights import WeightsEntry, find, load_arrays, locate

ENTRY = DYNAMIC_WORLD.weights


def entry_of(content: bytes, **changes) -> WeightsEntry:
    values = {
        "name": "toy v1",
        "file": "toy/toy.npz",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "licence": "MIT",
        "origin": "example.org/toy",
    }
    return WeightsEntry(**(values | changes))


def test_the_packaged_weights_are_the_ones_meant(monkeypatch):
    monkeypatch.delenv("EOPIPE_WEIGHTS", raising=False)
    path = locate(ENTRY)
    assert path.stat().st_size == ENTRY.size
    assert (path.parent / "LICENSE").is_file()
    assert sum(array.size for array in load_arrays(ENTRY).values()) == 219_817


def test_the_users_folder_comes_first(monkeypatch, tmp_path):
    copy = tmp_path / ENTRY.file
    copy.parent.mkdir()
    copy.write_bytes(locate(ENTRY).read_bytes())
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    assert locate(ENTRY) == copy


def test_other_weights_are_refused_with_both_hashes(monkeypatch, tmp_path):
    file = tmp_path / "toy" / "toy.npz"
    file.parent.mkdir()
    file.write_bytes(b"others")
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    entry = entry_of(b"toy")
    with pytest.raises(WeightsError) as caught:
        locate(entry)
    message = str(caught.value)
    assert "\n" not in message
    assert str(file) in message
    assert entry.sha256 in message
    assert hashlib.sha256(b"others").hexdigest() in message
    assert "replace" in message


def test_a_file_that_changes_is_hashed_again(monkeypatch, tmp_path):
    file = tmp_path / "toy" / "toy.npz"
    file.parent.mkdir()
    file.write_bytes(b"toy")
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    entry = entry_of(b"toy")
    assert locate(entry) == file
    file.write_bytes(b"toys")
    with pytest.raises(WeightsError):
        locate(entry)


def test_missing_weights_name_the_file_and_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    entry = entry_of(b"toy")
    assert find(entry) is None
    with pytest.raises(WeightsError, match=r"toy/toy\.npz") as caught:
        locate(entry)
    assert str(tmp_path) in str(caught.value)
    monkeypatch.delenv("EOPIPE_WEIGHTS")
    with pytest.raises(WeightsError, match="EOPIPE_WEIGHTS"):
        locate(entry)


def test_pickled_objects_are_refused(monkeypatch, tmp_path):
    file = tmp_path / "toy" / "toy.npz"
    file.parent.mkdir()
    np.savez(file, a=np.array([{"an": "object"}], dtype=object))
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="plain arrays"):
        load_arrays(entry_of(file.read_bytes()))


def test_a_file_of_another_package_is_found_without_importing_it(monkeypatch, tmp_path):
    folder = tmp_path / "a_package_of_weights"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    entry = WeightsEntry(
        name="w", file="w/w.bin", licence="MIT", origin="here", package="a_package_of_weights/model/w.bin"
    )
    assert find(entry) is None
    monkeypatch.syspath_prepend(tmp_path)
    assert find(entry) is None
    (folder / "model" / "w.bin").write_bytes(b"w")
    assert find(entry) == folder / "model" / "w.bin"
