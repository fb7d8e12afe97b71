from __future__ import annotations

import json

import numpy as np
import pytest
from torch.profiler import ProfilerActivity, profile

from eopipe.models.foundation import memory as module
from eopipe.models.foundation.detector import BoxDetector
from eopipe.models.foundation.features import FeatureModel
from eopipe.models.foundation.masks import BoxMaskModel, PointMaskModel
from eopipe.models.foundation.memory import work
from eopipe.models.foundation.resolve import resolve
from tests.models.foundation import tiny


def peak(work, tmp_path):
    """Most bytes that torch's allocator held at once, by its own record."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    seen.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    held = [event["args"]["Total Allocated"] for event in events if event["name"] == "[memory]"]
    return max(held) - held[0]


@pytest.mark.parametrize("name", ["vit", "dinov2"])
def test_features_need_what_is_told(names, tmp_path, name):
    resolved = resolve(names[name])
    model = FeatureModel.load(resolved, device="cpu", threads=1)
    picture = tiny.picture(420, 420)
    found = peak(lambda: model(picture), tmp_path)
    told = work(resolved, "features", 420)
    assert 0.3 * told < found < told


@pytest.mark.parametrize("name", ["grounding", "mm-grounding"])
def test_detectors_need_what_is_told(names, tmp_path, name):
    resolved = resolve(names[name])
    model = BoxDetector.load(resolved, device="cpu", threads=1)
    picture = tiny.picture(160, 160)
    found = peak(lambda: model(picture, ("roof", "sea")), tmp_path)
    told = work(resolved, "boxes", 160)
    assert 0.2 * told < found < told


@pytest.mark.parametrize(("name", "kind"), [("sam", "point-masks"), ("sam2", "point-masks"), ("sam2", "box-masks")])
def test_masks_need_what_is_told(names, monkeypatch, tmp_path, name, kind):
    resolved = resolve(names[name])
    picture, points = tiny.picture(96, 128), np.random.default_rng(0).uniform(0, 96, (64, 2))
    monkeypatch.setattr(module, "PIECE_BYTES", 1 << 20)
    monkeypatch.setattr("eopipe.models.foundation.masks.PIECE_BYTES", 1 << 20)
    if kind == "point-masks":
        model = PointMaskModel.load(resolved, device="cpu", threads=1)
        found = peak(lambda: [None for _ in model(picture, points)], tmp_path)
    else:
        boxer = BoxMaskModel.load(resolved, device="cpu", threads=1)
        found = peak(lambda: boxer(picture, np.hstack([points, points + 20])), tmp_path)
    told = work(resolved, kind, 128)
    assert 0.2 * told < found < told
