"""A basis for window features: their first principal components, fitted once a run, before its tiles.

All tiles must share it, or features could not be scored across them; so it is fitted on a sample, stored with the
features, and named in the tile recipe.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STORED = np.float16
"""Type of stored features; CLIP's lie far within its range."""


@dataclass(frozen=True)
class Basis:
    """Principal components, and the loss by dropping the others; that of the sample, rounding included.

    Args:
        mean: ``[channel]`` float32.
        components: ``[component, channel]`` float32, orthonormal rows, by falling variance.
        variance: Share of the sample's variance that the components hold.
        mean_error: Mean of 1 - cosine between a token's features and the restored ones.
        max_error: The largest of them.
        sample: Tokens that it was fitted on.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    variance: float
    mean_error: float
    max_error: float
    sample: int

    @property
    def identity(self) -> str:
        """Sha256 of mean and components: part of the tile recipe."""
        return hashlib.sha256(self.mean.tobytes() + self.components.tobytes()).hexdigest()

    @property
    def loss(self) -> dict[str, Any]:
        """For attributes and summaries."""
        return {
            "variance_kept": round(self.variance, 6),
            "mean_cosine_error": float(f"{self.mean_error:.3g}"),
            "max_cosine_error": float(f"{self.max_error:.3g}"),
            "sampled_tokens": self.sample,
        }

    def reduce(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[…, channel]`` to ``[…, component]``."""
        return np.asarray((features - self.mean) @ self.components.T, np.float32)

    def restore(self, reduced: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[…, component]`` to ``[…, channel]``, as near as possible."""
        return np.asarray(reduced @ self.components + self.mean, np.float32)


def fit_basis(tokens: NDArray[np.float32], count: int) -> Basis:
    """The first principal components of a sample, in float64; a component's largest entry is positive.

    Args:
        tokens: ``[n, channel]``.
        count: How many, at most the number of channels.
    """
    sample = tokens.astype(np.float64)
    mean = sample.mean(axis=0)
    centred = sample - mean
    variances, vectors = np.linalg.eigh(centred.T @ centred)
    components = vectors[:, ::-1][:, :count].T
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components = components * np.where(largest < 0, -1.0, 1.0)
    share = float(variances[::-1][:count].sum() / max(variances.sum(), np.finfo(np.float64).tiny))
    basis = Basis(mean.astype(np.float32), components.astype(np.float32), min(share, 1.0), 0.0, 0.0, len(tokens))
    errors = _cosine_errors(tokens, basis.restore(basis.reduce(tokens).astype(STORED).astype(np.float32)))
    return replace(basis, mean_error=float(errors.mean()), max_error=float(errors.max()))


def _cosine_errors(tokens: NDArray[np.float32], restored: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = tokens.astype(np.float64), restored.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    return np.asarray(np.maximum(1 - cosines, 0.0))
