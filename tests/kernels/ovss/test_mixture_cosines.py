import numpy as np
import pytest
import torch

from eopipe.kernels.ovss.mini_kernel import MixtureCosines


@pytest.mark.parametrize("sharpness", [1.0, 2.0, 3.0])
def test_cosines_are_those_of_the_mixed_vectors(sharpness):
    rng = np.random.default_rng(0)
    concepts, text = rng.normal(size=(9, 40)), rng.normal(size=(5, 40))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    weights = rng.dirichlet(np.ones(9) * 0.3, size=(6, 7)).transpose(2, 0, 1)
    mixing = MixtureCosines(concepts.astype(np.float32), text.astype(np.float32), sharpness=sharpness)
    cosines = mixing.cosines(torch.from_numpy(weights.astype(np.float32))).numpy()
    vectors = np.einsum("kyx,kc->yxc", weights**sharpness, concepts)
    meant = vectors @ text.T / np.linalg.norm(vectors, axis=-1, keepdims=True)
    assert cosines.shape == (6, 7, 5)
    np.testing.assert_allclose(cosines, meant, atol=2e-5)


def test_a_pixel_of_one_concept_has_that_concept_s_cosines():
    vectors = np.eye(9, 20, dtype=np.float32)
    weights = np.zeros((9, 1, 1), np.float32)
    weights[4] = 1
    cosines = MixtureCosines(vectors, vectors, sharpness=2.0).cosines(torch.from_numpy(weights))
    np.testing.assert_allclose(cosines[0, 0].numpy(), np.eye(9)[4], atol=1e-6)
