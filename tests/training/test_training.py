import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from eopipe.errors import OutputError, SpecError, WeightsError
from eopipe.evaluation.metrics import Confusion
from eopipe.models.dynamicworld.net import DynamicWorld, normalise
from eopipe.models.mini.net import NINE
from eopipe.models.mini.runner import MiniRunner
from eopipe.models.registry import MINI
from eopipe.training.evaluate import compare
from eopipe.training.mini import Training, train
from eopipe.training.patches import Patches, air_above, change, curtain
from eopipe.training.scenes import SceneData, load_scenes, split
from eopipe.training.trainer import Recipe, Student, divergence, one_in_four, unit

TINY = Recipe(alone=2, joint=2, size=2, side=32)


def _scenes(seed=0):
    """Two small smooth scenes whose bands go together, as real ones' do."""
    rng = np.random.default_rng(seed)
    scenes = []
    for name in ("a_2015", "b_2016"):
        coarse = rng.uniform(300, 3000, (3, 8, 8)).repeat(10, axis=1).repeat(10, axis=2)
        dn = np.einsum("bk,kyx->byx", rng.uniform(0.2, 0.6, (9, 3)), coarse) + rng.normal(0, 20, (9, 80, 80))
        valid = np.ones((80, 80), bool)
        valid[:, :4] = False
        scenes.append(SceneData(name, (dn.clip(1) * valid).astype(np.uint16), valid))
    return scenes


def _train(student, scenes, steps):
    patches = Patches(scenes, seed=student.recipe.seed, size=student.recipe.size, side=student.recipe.side)
    return [
        student.learn(patches.draw(student.step, answered=student.step >= student.recipe.alone)) for _ in range(steps)
    ]


def test_a_training_that_was_interrupted_gives_the_weights_of_one_that_was_not(tmp_path):
    scenes = _scenes()
    whole = Student(TINY, scenes)
    losses = _train(whole, scenes, 4)
    assert set(losses[0]) == {"bands"}
    assert {"bands", "teacher"} <= set(losses[2])
    begun = Student(TINY, scenes)
    _train(begun, scenes, 3)
    begun.save(tmp_path / "checkpoint.pt")
    resumed = Student(TINY, scenes)
    resumed.load(tmp_path / "checkpoint.pt")
    _train(resumed, scenes, 1)
    for name, value in whole.shipped().items():
        assert torch.equal(value, resumed.shipped()[name]), name
    MiniRunner(MINI, whole.shipped())  # it is what ships


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(tmp_path):
    scenes, kept = _scenes(), tmp_path / "checkpoint.pt"
    Student(TINY, scenes).save(kept)
    with pytest.raises(WeightsError, match="another recipe"):
        Student(Recipe(alone=2, joint=3, size=2, side=32), scenes).load(kept)
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="no checkpoint"):
        Student(TINY, scenes).load(kept)


def test_batches_depend_on_seed_and_step_alone_and_the_teacher_sees_what_the_student_sees():
    scenes = _scenes()
    first, second = (Patches(scenes, seed=5, size=2, side=32) for _ in range(2))
    second.draw(0, answered=False)
    a, b = first.draw(7, answered=True), second.draw(7, answered=True)
    assert torch.equal(a.dn, b.dn)
    assert torch.equal(a.teacher, b.teacher)
    assert not torch.equal(a.dn, first.draw(8, answered=False).dn)
    teacher = DynamicWorld().eval()
    teacher.load_published(_published())
    with torch.inference_mode():
        meant = teacher(normalise(a.dn) * a.valid)
    assert torch.allclose(a.teacher, meant, atol=1e-4)


def _published():
    from eopipe.models.registry import DYNAMIC_WORLD
    from eopipe.models.weights import load_arrays

    return load_arrays(DYNAMIC_WORLD.weights)


def test_change_keeps_one_patch_in_five_and_never_leaves_the_range_that_scenes_differ_by():
    factor, offset = change(200, np.random.default_rng(0))
    same = ((factor == 1) & (offset == 0)).flatten(1).all(dim=1).float().mean()
    assert 0.1 < same < 0.3
    assert np.exp(-0.25) <= factor.min() < 0.9
    assert 1.1 < factor.max() <= np.exp(0.25)
    assert -210 <= offset.min() < -100
    assert 300 < offset.max() <= 390


def test_surface_reflectance_keeps_the_darkest_pixels_where_it_says_and_makes_no_band_negative():
    dark = np.array([900, 600, 350, 300, 250, 240, 220, 60, 4], np.float32)
    air = air_above(dark, 200.0)
    assert dark[0] - air[0] == pytest.approx(200)
    assert (air >= 0).all()
    assert (air <= dark).all()
    assert (np.diff(air) <= 0).all()
    assert not air_above(dark, 1000.0).any()
    patches = Patches(_scenes(), seed=5, size=8, side=32)
    batches = [patches.draw(step, answered=False) for step in range(8)]
    airless = torch.cat([(batch.student < batch.dn).flatten(1).any(dim=1) for batch in batches]).float().mean()
    assert 0.15 < airless < 0.6
    assert all((batch.student <= batch.dn).all() for batch in batches)


def test_the_student_sees_part_of_some_patches_and_is_not_judged_at_a_scene_s_own_edge():
    rng = np.random.default_rng(0)
    shown = torch.stack([curtain(64, rng) for _ in range(200)])
    whole = (shown == 1).flatten(1).all(dim=1).float().mean()
    assert 0.6 < whole < 0.8
    assert shown.mean(dim=(1, 2, 3)).min() > 0.05
    patches = Patches(_scenes(), seed=5, size=8, side=64)
    batch = patches.draw(0, answered=False)
    near = torch.nn.functional.max_pool2d(1 - batch.valid, 9, stride=1, padding=4) > 0
    assert near.any()
    assert not batch.judged[..., :4].any()
    assert not batch.judged[..., -4:, :].any()
    assert not batch.judged[near].any()
    assert (batch.judged <= batch.shown).all()
    assert (batch.shown <= batch.valid).all()


def test_one_pixel_in_four_is_the_upsampling_s_own():
    features = torch.rand(2, 5, 6, 8)
    whole = functional.interpolate(features, size=(12, 16), mode="bilinear")
    for down in (0, 1):
        for right in (0, 1):
            found = one_in_four(features, down, right)
            assert torch.allclose(found, whole[..., down::2, right::2], atol=1e-6)


def test_the_losses_see_the_trunk_as_it_is_run():
    trunk = DynamicWorld().eval()
    trunk.load_published(_published())
    x = torch.rand(1, 9, 32, 32)
    with torch.inference_mode():
        found = unit(one_in_four(trunk.half_features(x), 1, 0))
        assert torch.allclose(found, trunk.embeddings(x)[..., 1::2, 0::2], atol=1e-5)
        logits = trunk.head(trunk.embeddings(x))
        same = divergence(logits, torch.softmax(logits, dim=1), torch.ones(1, 32, 32))
        other = divergence(logits.roll(1, dims=1), torch.softmax(logits, dim=1), torch.ones(1, 32, 32))
    assert abs(float(same)) < 1e-5
    assert float(other) > 0.01


def test_figures_count_the_classes_that_a_scene_has():
    truth = np.repeat([0, 1, 5], [500, 495, 5])
    found = truth.copy()
    found[:100] = 1
    figures = compare(Confusion.of(truth, found, classes=9))
    assert figures.accuracy == pytest.approx(0.9)
    assert dict(figures.ious) == {"water": pytest.approx(0.8), "trees": pytest.approx(495 / 595)}
    assert figures.miou == pytest.approx((0.8 + 495 / 595) / 2)


def test_a_source_that_is_none_and_a_word_that_no_scene_bears_are_refused(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        load_scenes(tmp_path / "nothing.json", tmp_path, print)
    (tmp_path / "empty.json").write_text(json.dumps({"type": "Collection", "links": []}))
    with pytest.raises(SpecError, match="links to no item"):
        load_scenes(tmp_path / "empty.json", tmp_path, print)
    scenes = _scenes()
    learnt, left = split(scenes, ["a_"])
    assert [s.name for s in learnt] == ["b_2016"]
    assert [s.name for s in left] == ["a_2015"]
    with pytest.raises(SpecError, match="in no scene's name"):
        split(scenes, ["pisa"])
    with pytest.raises(SpecError, match="leaves no scene"):
        split(scenes, ["201"])
    assert NINE[6] == "nir"


def _asked(folder, **options):
    """A training whose scenes were read before."""
    source, out = folder / "collection.json", folder / "out"
    (out / "scenes").mkdir(parents=True, exist_ok=True)
    for scene in _scenes():
        np.savez(out / "scenes" / f"{scene.name}.npz", dn=scene.dn, valid=scene.valid)
        item = {"id": scene.name, "collection": "c", "bbox": [0, 0, 1, 1], "properties": {"datetime": "2015-01-01"}}
        (folder / f"{scene.name}.json").write_text(json.dumps(item))
    links = [{"rel": "item", "href": f"{scene.name}.json"} for scene in _scenes()]
    source.write_text(json.dumps({"links": links}))
    return Training(source=source, out=out, recipe=TINY, **{"leave_out": ("a_",), **options})


def test_a_checkpoint_goes_on_with_the_scenes_that_it_began_with(tmp_path):
    asked = _asked(tmp_path)
    assert train(asked)["left_out"] == ["a_2015"]
    assert train(asked)["steps"] == 4
    with pytest.raises(WeightsError, match=r"learnt from other scenes \(left out then: a_2015; now: b_2016\)"):
        train(_asked(tmp_path, leave_out=("b_",)))
    (asked.out / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match="is no checkpoint of a training"):
        train(asked)


def test_what_is_damaged_or_cannot_be_written_is_one_line(tmp_path):
    asked = _asked(tmp_path)
    for data in (b"", b"PK\x03\x04", b"text"):
        (asked.out / "scenes" / "a_2015.npz").write_bytes(data)
        with pytest.raises(SpecError, match="delete it, and it is read again"):
            train(asked)
    with pytest.raises(OutputError, match="cannot be written"):
        load_scenes(asked.source, asked.source / "scenes", print)
    for wrong in ({"properties": {"datetime": None}}, {"bbox": None}, {"id": None}, {"collection": 1}):
        item = json.loads((tmp_path / "b_2016.json").read_text()) | wrong
        (tmp_path / "a_2015.json").write_text(json.dumps(item))
        with pytest.raises(SpecError, match="is no item to learn from"):
            train(asked)
