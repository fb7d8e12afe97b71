"""Grounding DINO and MM-Grounding-DINO: boxes of what is named, as DynamicEarth uses them (arXiv 2501.12931).

The caption is the names joined by ". ", with a last full stop, as both libraries make it; names are separate from
one another in the text encoder, by its full stops. What a box scores:

* **MM-Grounding-DINO**, as mmdet does with given names ("custom entities"): for each name the mean of its tokens'
  scores, and of a box the best name's. mmdet keeps the 300 best pairs of box and name, so a box of several good names
  takes several of those pairs; so does this. (The library's own post-processing takes the best
  token instead, full stops and ends included; the two differ for a name of several tokens, such as "rooftop".)
* **Grounding DINO**, as its own code does: the best token of the caption.

Known differences to mmdet: its picture's sides are rounded, and the library's are cut, so that one side of a picture
that is not square may differ by a pixel; mmdet's swin can run in mixed precision. Pictures
are shrunk and grown by Pillow, as in mmdet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from eopipe.errors import SpecError, WeightsError
from eopipe.models.foundation.inputs import caption_of, detector_shape
from eopipe.models.foundation.picture import check_picture, normalised, resized
from eopipe.models.foundation.transformers_net import Net, NetModel
from eopipe.models.foundation.weights_folder import TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

PAIRS = 300
"""Of box and name that mmdet keeps."""


class BoxDetector(NetModel):
    """An open-vocabulary detector.

    Args:
        net: With its weights.

    Raises:
        WeightsError: Its ``tokenizer.json`` is damaged.
    """

    task = "boxes"

    def __init__(self, net: Net) -> None:
        from tokenizers import Tokenizer  # noqa: PLC0415  (it comes with transformers, of an extra)

        super().__init__(net)
        path = net.model.folder.path / TOKENS
        try:
            self._tokeniser = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare exceptions
            raise WeightsError(f"{path} is damaged ({error}); get the file again") from error
        self._tokeniser.no_padding()
        self._tokeniser.no_truncation()

    def __call__(
        self, picture: NDArray[np.uint8], names: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Find what is named.

        Args:
            picture: uint8 ``[H, W, 3]``, red, green, blue.
            names: What to find; a box scores as its best name does.

        Returns:
            ``[N, 4]`` x, y of two corners in pixels, within the picture, and ``[N]`` scores in 0-1, in the order of
            the net's queries; nothing is left out for a low score.

        Raises:
            SpecError: A name is empty or holds a full stop or a question mark, or the names are too long for the net.
            ValueError: It is no picture.
        """
        shape, model = check_picture(picture), self._net.model
        caption, spans = caption_of(names)
        encoding = self._tokeniser.encode(caption)
        self._must_be_read(encoding.ids, names)
        with self._net.running():
            small = resized(picture, detector_shape(shape, model.sides))
            output = self._net.module(
                pixel_values=normalised(small, model.entry.mean, model.entry.std, self._net.device),
                input_ids=self._row(encoding.ids),
                token_type_ids=self._row(encoding.type_ids),
                attention_mask=self._row(encoding.attention_mask),
            )
            boxes, tokens = _corners(output.pred_boxes[0], shape), output.logits[0].sigmoid()
            if model.entry.model_type == "grounding-dino":
                return boxes.cpu().numpy(), tokens.max(dim=1).values.cpu().numpy()
            queries, scores = _by_name(tokens, [_tokens_of(span, encoding.offsets) for span in spans])
            return boxes[queries].cpu().numpy(), scores[queries].cpu().numpy()

    def _row(self, values: list[int]) -> Tensor:
        return torch.tensor([values], device=self._net.device)

    def _must_be_read(self, ids: list[int], names: Sequence[str]) -> None:
        most = int(self._net.module.config.max_text_len)
        if len(ids) > most:
            raise SpecError(
                f"{len(names)} names are {len(ids)} tokens, and {self._net.model.name} reads {most}: name fewer"
            )


def _tokens_of(span: tuple[int, int], offsets: list[tuple[int, int]]) -> list[int]:
    """Tokens that overlap a span; those at the ends of a caption overlap none."""
    return [number for number, (start, end) in enumerate(offsets) if start < span[1] and end > span[0]]


def _by_name(tokens: Tensor, names: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Queries that have one of mmdet's best pairs, ascending, and every query's best score."""
    scores = torch.stack([tokens[:, numbers].mean(dim=1) for numbers in names], dim=1)
    best = scores.flatten().topk(min(PAIRS, scores.numel())).indices
    return torch.unique(best // len(names)), scores.max(dim=1).values


def _corners(boxes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Middles and sides in 0-1 to corners in pixels, within the picture."""
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    scale: Any = torch.tensor([shape[1], shape[0]] * 2, device=boxes.device)
    corners = torch.cat([middle - half, middle + half], dim=1) * scale
    return torch.minimum(corners.clamp(min=0), scale.to(corners.dtype))
