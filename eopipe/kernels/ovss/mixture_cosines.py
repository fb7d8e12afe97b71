"""Cosines of phrases with pixels whose vectors are mixtures of a few concepts' vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Mixing:
    """A pixel's vector is ``z = sum_k w_k^s v_k``; its cosine with a phrase, without ever making it.

    ``z·t`` is a mixture of the products ``v_k·t``, and ``|z|²`` one of the products ``v_k·v_l``: per pixel as many
    multiplications as there are concepts, not as the vectors are long.

    Args:
        concepts: ``[K, C]``, one vector a concept.
        text: ``[Q, C]`` unit vectors of the phrases.
        sharpness: The power that weights are raised to. A phrase's own cosine with its concept lies between 0.4 and
            1, so that at a mixed pixel the phrase nearest to the taught words would win, not the larger share;
            sharper weights make such pixels few.
    """

    def __init__(self, concepts: NDArray[np.float32], text: NDArray[np.float32], *, sharpness: float) -> None:
        vectors = torch.from_numpy(concepts)
        self._products = torch.cat([vectors @ torch.from_numpy(text).T, vectors @ vectors.T], dim=1)
        self._queries, self._sharpness = len(text), sharpness

    @torch.inference_mode()
    def cosines(self, weights: Tensor) -> Tensor:
        """Cosines of every phrase at every pixel.

        Args:
            weights: ``[K, y, x]``, sum 1.

        Returns:
            ``[y, x, Q]`` float32.
        """
        mixture = weights.flatten(1).pow(self._sharpness)
        found = mixture.T @ self._products
        length = (mixture.T * found[:, self._queries :]).sum(dim=1).clamp_min(1e-12).sqrt()
        return (found[:, : self._queries] / length[:, None]).view(*weights.shape[1:], -1)
