"""The golden arrays of the CLIP towers, and towers made of them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from tests.support.paths import golden as golden_file


@lru_cache
def arrays(name):
    with np.load(golden_file(f"{name}.npz")) as archive:
        return {key: archive[key] for key in archive.files}


def state(name):
    return {key[3:]: torch.from_numpy(array) for key, array in arrays(name).items() if key.startswith("w::")}


def text_state():
    kept = arrays("clip_text_tiny")
    rows = torch.zeros(49408, 32)
    rows[torch.from_numpy(kept["token_ids_used"]).long()] = torch.from_numpy(kept["token_rows"])
    return state("clip_text_tiny") | {"token_embedding.weight": rows}
