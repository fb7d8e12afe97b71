"""Comparer and identifier on a pair of 1024² with 300 objects, against the plain formulation, and their keeps.

``python -m tests.bench.bench_change``. Features (768 x 64 x 64 a date) and probabilities (2 x 448 x 448) are given;
encoders are not counted. The plain form upsamples the features (3.2 GB a date, one date at a time here) and goes mask
by mask, torch on all threads. Ours runs on one, and from dense masks, so that making runs of them counts. One run.
"""

from __future__ import annotations

import os
import time

import numpy as np
import torch

from eopipe.kernels.change.dynamicearth.pipelines import judge_objects
from eopipe.kernels.change.masks.proposals import AFTER, BEFORE, Proposals
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.compare.latent import compare_objects, compare_pixels
from tests.support import change as plain

SHAPE, OBJECTS, BETA = (1024, 1024), 300, 145
LIMIT = np.cos(np.radians(BETA))


def objects(generator):
    """Mostly small, as SAM finds them: radii of 4 to 200 pixels, evenly in their logarithms."""
    sizes = np.exp(generator.uniform(np.log(4), np.log(200), OBJECTS))
    made = [plain.discs(generator, 1, SHAPE, least=size / 2, most=size) for size in sizes]
    found = np.concatenate(made)
    found[~found.any(axis=(1, 2)), :4, :4] = True
    return found


def pair_of_features(generator):
    """Two dates that agree to a degree that varies over the picture, so that the comparer has something to decide."""
    before, noise = generator.standard_normal((2, 768, 64, 64), np.float32)
    agreement = np.repeat(np.repeat(generator.random((16, 16), np.float32), 4, axis=0), 4, axis=1)
    return before, agreement * before + (1 - agreement) * noise


def ours(dense, first, features, probabilities):
    masks = Masks.from_dense(dense, SHAPE)
    before, after = masks.take(np.arange(first)), masks.take(np.arange(first, OBJECTS))
    proposals = Proposals.concatenate([Proposals.of(before, BEFORE), Proposals.of(after, AFTER)])
    found = judge_objects(proposals, compare_objects(*features, masks, beta=BETA), *probabilities)
    return found.changed, found.mask(), found.score


def theirs(dense, first, features, probabilities):
    changed = plain.scores(*features, dense) > LIMIT
    classes = [plain.classes(each, dense) for each in probabilities]
    kept = plain.is_change(changed, *classes, np.where(np.arange(OBJECTS) < first, BEFORE, AFTER), "instance")
    return kept, dense[kept].any(axis=0)


def timed(function, *arguments):
    start = time.perf_counter()
    found = function(*arguments)
    return time.perf_counter() - start, found


def main() -> None:
    generator = np.random.default_rng(7)
    dense = objects(generator)
    features = pair_of_features(generator)
    probabilities = generator.dirichlet((0.4, 0.4), (2, 448, 448)).transpose(0, 3, 1, 2).astype(np.float32)
    first = OBJECTS // 2
    masks = Masks.from_dense(dense, SHAPE)
    ours(dense[:2].repeat(OBJECTS // 2, axis=0), first, [each[:4] for each in features], probabilities)  # compiles
    fast, (kept, change, score) = timed(ours, dense, first, features, probabilities)
    slow, (expected, expected_change) = timed(theirs, dense, first, features, probabilities)
    margin = np.abs(score - LIMIT).min()
    print(f"median object {np.median(masks.areas):.0f} pixels, largest {masks.areas.max()}, all {masks.areas.sum()}")
    print(
        f"masks: {dense.nbytes / 1e6:.0f} MB dense, {(masks.runs.nbytes + masks.offsets.nbytes) / 1e6:.2f} MB as runs"
    )
    print(f"plain {slow:7.2f} s (torch on {torch.get_num_threads()} threads)")
    print(f"ours  {fast:7.3f} s (1 thread): {slow / fast:.0f} times as fast; load {os.getloadavg()[0]:.1f}")
    print(
        f"compared {(score > LIMIT).sum()}, kept {kept.sum()} of {OBJECTS}; nearest score to the limit {margin:.1e}"
    )
    same = np.array_equal(kept, expected), np.array_equal(change, expected_change)
    print(f"keeps equal: {same[0]}; maps equal: {same[1]}")
    taken, _ = timed(lambda: compare_pixels(*features, SHAPE, beta=None))
    if not all(same):
        raise SystemExit("the keeps differ")
    print(f"every pixel's angle, and Otsu's threshold: {taken:.2f} s")


if __name__ == "__main__":
    main()
