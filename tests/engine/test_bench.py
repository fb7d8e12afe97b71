"""The benches' dispatcher."""

import sys
from types import SimpleNamespace

import pytest

from eopipe.engine import bench
from eopipe.errors import SpecError
from tests.support.command import eopipe as command


def test_a_kernel_without_a_bench_is_one_line():
    with pytest.raises(SpecError, match=r"bench: there is none for 'change'; there is one for land-cover"):
        bench.bench("change")


def test_a_bench_is_found_by_its_kernel_and_says_what_it_likes(monkeypatch):
    monkeypatch.setitem(sys.modules, "a_bench", SimpleNamespace(bench=lambda *, rounds: {"rounds": rounds}))
    monkeypatch.setitem(bench.BENCHES, "mine", "a_bench")
    assert bench.bench("mine", rounds=2) == {"rounds": 2}
    assert command("bench", "mine", "--json").document == {"rounds": 5}
