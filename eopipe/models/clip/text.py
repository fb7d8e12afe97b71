"""CLIP's text tower: words, in many sentences, to one direction in the space of pictures and words.

A name is put into each template, every sentence is encoded and made a unit vector, and their mean, made a unit
vector again, is the name's (Radford et al. 2021; so does SegEarth-OV, arXiv 2410.01768).
"""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from eopipe.errors import SpecError
from eopipe.models import embedding_cache as cache
from eopipe.models.clip.blocks import Build, LayerNorm, blocks
from eopipe.models.clip.load import open_weights
from eopipe.models.clip.state_dicts import take_tower

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from eopipe.models.clip.architecture import Gelu
    from eopipe.models.clip.load import ResolvedModel

VERSION = 1
"""Of this code: a change that moves embeddings raises it, so that older cached ones are not read."""

PLACE = "{}"
"""Where the name goes in a template."""


class TextTower:
    """CLIP's text tower, float32 on the CPU.

    Args:
        state: Its tensors, with open_clip's names.
        heads: Attention heads.
        gelu: The activation that the weights were trained with.

    Attributes:
        width: C, channels of the joint space.
    """

    def __init__(self, state: Mapping[str, Tensor], heads: int, *, gelu: Gelu) -> None:
        build = Build(heads=heads, gelu=gelu)
        self.width = int(state["text_projection"].shape[1])
        self._tokens = state["token_embedding.weight"].detach()
        self._table = state["positional_embedding"].detach().float()
        self._blocks = blocks(state, build)
        self._ln_final = LayerNorm(state, "ln_final", build)
        self._proj = build.product(state["text_projection"].float().T)

    @torch.no_grad()
    def __call__(self, tokens: Tensor) -> Tensor:
        """Encode sentences.

        Args:
            tokens: ``[N, context]`` token numbers, zeros behind the end.

        Returns:
            ``[N, C]`` float32, not normalised.
        """
        ends = tokens.argmax(dim=-1)  # the end token has the highest number
        length = int(ends.max()) + 1  # attention is causal: what follows the last end changes nothing before it
        x = self._tokens[tokens[:, :length]].float() + self._table[:length]
        for block in self._blocks:
            x = block(x, causal=True)
        return self._proj(self._ln_final(x[torch.arange(len(x)), ends]))


def embed(model: ResolvedModel, names: Sequence[str], templates: Sequence[str]) -> NDArray[np.float32]:
    """Embed names, each as the mean of its sentences.

    Embeddings of the same weights are read from the cache folder. A name's vector depends on its own sentences only,
    so that it is the same whatever the names beside it.

    Args:
        model: Whose text tower.
        names: Such as ``building``; no two need differ.
        templates: Sentences with ``{}`` where the name goes.

    Returns:
        ``[len(names), C]`` float32, unit rows.

    Raises:
        SpecError: No name, an empty one, a template without ``{}``, or a sentence too long for the tower.
        WeightsError: The file has no text tower of the model's architecture.
    """
    _must_be_sentences(names, templates)
    keys = {name: cache.key_of(_depends_on(model, name, templates)) for name in names}
    vectors: dict[str, NDArray[np.float32]] = {}
    tower: TextTower | None = None
    for name, key in keys.items():
        vector = cache.read(key, model.architecture.width)
        if vector is None:
            tower = tower or load_text_tower(model)
            vector = embed_name(tower, tokenise(name, templates, model.architecture.context))
            cache.keep(key, vector)
        vectors[name] = vector
    return np.stack([vectors[name] for name in names])


def embed_name(tower: TextTower, tokens: Tensor) -> NDArray[np.float32]:
    """One name's unit vector ``[C]`` from its sentences' tokens ``[templates, context]``."""
    sentences = functional.normalize(tower(tokens), dim=-1)
    return functional.normalize(sentences.mean(dim=0), dim=-1).numpy()


def tokenise(name: str, templates: Sequence[str], context: int = 77) -> Tensor:
    """Put a name into templates and both into CLIP's tokens.

    Returns:
        ``[len(templates), context]`` token numbers.

    Raises:
        SpecError: A sentence has more tokens than the tower can read.
    """
    sentences = [template.replace(PLACE, name) for template in templates]
    tokeniser = _tokeniser(context)
    for sentence in sentences:
        length = len(tokeniser.encode(sentence)) + 2
        if length > context:
            raise SpecError(f"prompt {sentence!r} has {length} tokens, the model reads {context}: shorten it")
    tokens: Tensor = tokeniser(sentences)
    return tokens


@lru_cache(maxsize=4)
def _tokeniser(context: int) -> Any:
    """CLIP's; to make one takes a quarter of a second."""
    from open_clip.tokenizer import SimpleTokenizer  # noqa: PLC0415  (heavy)

    return SimpleTokenizer(context_length=context)


def load_text_tower(model: ResolvedModel) -> TextTower:
    """Read a model's text tower.

    Raises:
        WeightsError: As `eopipe.models.checkpoints.open_checkpoint` and `eopipe.models.clip.state_dicts.take_tower`.
    """
    state = take_tower(open_weights(model), "text", model.architecture, model.path)
    return TextTower(state, model.architecture.text.heads, gelu=model.gelu)


def _depends_on(model: ResolvedModel, name: str, templates: Sequence[str]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "sha256": model.sha256,
        "architecture": asdict(model.architecture),
        "gelu": model.gelu,
        "templates": list(templates),
        "name": name,
    }


def _must_be_sentences(names: Sequence[str], templates: Sequence[str]) -> None:
    if not names or not all(name.strip() for name in names):
        raise SpecError(f"prompts: {list(names)}; give at least one name, and no empty one")
    if not templates:
        raise SpecError("templates: none; give sentences such as 'a photo of a {}.'")
    for template in templates:
        if PLACE not in template:
            raise SpecError(f"templates: {template!r} has no {PLACE} for the name; write one in it")


@lru_cache(maxsize=1)
def imagenet_templates() -> tuple[str, ...]:
    """The 80 sentences of OpenAI's ImageNet classifier, ``{}`` where the name goes; open_clip has them."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES  # noqa: PLC0415  (slow to import)

    return tuple(template(PLACE) for template in OPENAI_IMAGENET_TEMPLATES)
