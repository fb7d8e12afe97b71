"""Change detection as the paper writes it: upsampled feature maps, mask by mask. What ours must equal."""

import numpy as np
import torch
from torch.nn import functional

from eopipe.kernels.change.masks.proposals import AFTER, BEFORE, Proposals
from eopipe.kernels.change.masks.regions import regions


def stretched(features, shape):
    """``[C, H, W]``: bilinear, aligned corners."""
    stack = torch.from_numpy(features)[None]
    return functional.interpolate(stack, shape, mode="bilinear", align_corners=True)[0]


def mean_features(features, masks):
    """``[N, C]``: mean of the stretched features over each dense mask."""
    whole = stretched(features, masks.shape[1:])
    return torch.stack([whole[:, torch.from_numpy(mask)].mean(dim=1) for mask in masks])


def scores(before, after, masks):
    """``[N]``: minus the cosine of the mean features."""
    return -functional.cosine_similarity(mean_features(before, masks), mean_features(after, masks), dim=1).numpy()


def pixel_scores(before, after, shape):
    return -functional.cosine_similarity(stretched(before, shape), stretched(after, shape), dim=0).numpy()


def resized(mask, cells):
    """A mask on the probabilities' grid, by the nearest pixel above and to the left."""
    rows, columns = (np.arange(n) * side // n for side, n in zip(mask.shape, cells, strict=True))
    return mask[np.ix_(rows, columns)]


def classes(probabilities, masks):
    """``[N]``: argmax of the mean over each mask; 0 for a mask that vanishes."""
    codes = []
    for mask in masks:
        small = resized(mask, probabilities.shape[1:])
        codes.append(probabilities[:, small].mean(axis=1).argmax() if small.any() else 0)
    return np.array(codes, int)


def is_change(changed, before, after, origin, rule):
    """One object after the other."""
    answers = []
    for moved, first, second, date in zip(changed, before, after, origin, strict=True):
        label = first if date == 1 else second
        answers.append(moved and first != second and (rule == "stuff" or label != 0))
    return np.array(answers, bool)


def discs(generator, count, shape, least=2, most=24):
    """Dense masks of ellipses anywhere, some over the edge."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    masks = np.zeros((count, *shape), bool)
    for mask in masks:
        y, x = generator.uniform(0, shape[0]), generator.uniform(0, shape[1])
        a, b = generator.uniform(least, most, 2)
        mask[:] = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1
    return masks


def dense(masks):
    """``[N, H, W]``."""
    arrays = np.zeros((len(masks), *masks.shape), bool)
    for number, (top, left, bottom, right) in enumerate(masks.boxes.tolist()):
        arrays[number, top:bottom, left:right] = masks.crop(number)
    return arrays


def class_objects(before, after, codes):
    """Objects of two maps of classes, of each date: regions of these codes, as one kind of object."""
    return tuple(
        Proposals.of(regions(np.isin(classes, sorted(codes)).astype(np.uint8)), date)
        for classes, date in ((before, BEFORE), (after, AFTER))
    )


class Colours:
    """Stands for Dynamic World: classes by colour, a neighbour's too; costs nothing."""

    def __call__(self, pixels, valid, *, crop=0):
        values = np.where(valid, pixels / 3000, 0) + np.roll(np.where(valid, pixels / 3000, 0), 7, axis=1)
        chances = np.exp(values - values.max(axis=0))
        chances = (chances / chances.sum(axis=0)).astype(np.float32)
        return np.ascontiguousarray(chances[:, crop:-crop, crop:-crop])
