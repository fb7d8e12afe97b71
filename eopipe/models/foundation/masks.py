"""SAM and SAM 2: masks of points and of boxes, as DynamicEarth uses them (arXiv 2501.12931).

The picture is encoded once; prompts are decoded in batches, and the logits of a batch are brought to the picture a
few points at a time: at 1024 by 1024 those of 64 points would be 800 MB. No mask is judged.

* **SAM**: the long side becomes the encoder's (1024) by Pillow, as its own code does, the rest is padding; logits go
  to the encoder's side, lose the padding, and go to the picture.
* **SAM 2**: the picture becomes a square of that side, as float, smoothed where it shrinks (its own code, with
  torchvision from 0.17 on; the library's processor rounds to 8 bits); logits go to the picture at once. Its memory
  of earlier frames is not used. A box has one mask; where that is not stable under a shift of its threshold, the
  best of the other three replaces it, which SAM 2 calls post-processing and has on by default
  (``dynamic_multimask_via_stability`` of the folder's configuration; it does not affect masks of points). The paper
  ran boxes under bfloat16 autocast; this is float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from eopipe.models.foundation.inputs import BATCH, PIECE_BYTES, encoder_side
from eopipe.models.foundation.picture import check_picture, coloured, normalised, resized
from eopipe.models.foundation.transformers_net import Net, NetModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class _Frame:
    """The position of a picture in the encoder's square.

    Args:
        picture: Rows and columns of the picture.
        inside: Rows and columns that it takes up in the square.
        side: Of the square.
        stretched: Whether the picture fills the square; else its logits go through the whole square, padding and all.
    """

    picture: tuple[int, int]
    inside: tuple[int, int]
    side: int
    stretched: bool

    @classmethod
    def of(cls, shape: tuple[int, int], side: int, *, stretched: bool) -> _Frame:
        """Stretched to the square, or its long side to the square's."""
        if stretched:
            return cls(shape, (side, side), side, stretched=True)
        scale = side / max(shape)
        return cls(shape, (int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5)), side, stretched=False)

    def prompts(self, coordinates: NDArray[Any]) -> Tensor:
        """x, y in pairs on the picture, to x, y in the square, float32."""
        scale = np.array([self.inside[1] / self.picture[1], self.inside[0] / self.picture[0]])
        pairs = np.asarray(coordinates, np.float64).reshape(len(coordinates), -1, 2) * scale
        return torch.from_numpy(pairs.astype(np.float32))

    def on_picture(self, logits: Tensor) -> Tensor:
        """Logits ``[N, h, w]`` of the square, on the picture ``[N, H, W]``."""
        values = logits[:, None]
        if not self.stretched:
            values = _stretched(values, (self.side, self.side))[..., : self.inside[0], : self.inside[1]]
        return _stretched(values, self.picture)[:, 0]

    def piece(self, masks: int) -> int:
        """Prompts whose logits are handed over at once."""
        pixels = max(self.picture[0] * self.picture[1], self.side**2)
        return max(1, PIECE_BYTES // (4 * masks * pixels))


class _Segmenter(NetModel):
    """What points and boxes share: the encoded picture, and the decoder."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self._stretched = net.model.entry.model_type == "sam2"
        self._side = encoder_side(net.model)

    def encode(self, picture: NDArray[np.uint8]) -> tuple[_Frame, Any]:
        """The picture's position in the square, and its embedding."""
        frame = _Frame.of(check_picture(picture), self._side, stretched=self._stretched)
        with self._net.running():
            return frame, self._net.module.get_image_embeddings(self._pixels(picture, frame))

    def decode(self, embedding: Any, *, multimask: bool, **prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Low logits ``[P, M, h, w]`` and predicted intersections over union ``[P, M]``."""
        on_device = {name: tensor.to(self._net.device) for name, tensor in prompts.items()}
        with self._net.running():
            output = self._net.module(image_embeddings=embedding, multimask_output=multimask, **on_device)
            return output.pred_masks[0], output.iou_scores[0]

    def on_picture(self, logits: Tensor, frame: _Frame) -> Tensor:
        """Logits of some prompts ``[P, M, h, w]``, on the picture ``[P * M, H, W]``."""
        with self._net.running():
            return frame.on_picture(logits.flatten(0, 1)).cpu()

    def _pixels(self, picture: NDArray[np.uint8], frame: _Frame) -> Tensor:
        entry, device = self._net.model.entry, self._net.device
        if not self._stretched:
            pixels = normalised(resized(picture, frame.inside), entry.mean, entry.std, device)
            return functional.pad(pixels, (0, frame.side - frame.inside[1], 0, frame.side - frame.inside[0]))
        values = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).to(device).float()[None] / 255
        square = functional.interpolate(values, frame.inside, mode="bilinear", antialias=True)
        return coloured(square, entry.mean, entry.std)


class PointMaskModel(_Segmenter):
    """SAM or SAM 2 with points: three masks each, of a whole, a part, and a part of that.

    Args:
        net: With its weights.
    """

    task = "point-masks"

    def __call__(
        self, picture: NDArray[np.uint8], points: NDArray[Any], batch: int = BATCH
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Masks of points, each decoded alone.

        Args:
            picture: uint8 ``[H, W, 3]``, red, green, blue.
            points: ``[P, 2]``: x, y in pixels of the picture.
            batch: Points that are decoded at once; sums depend on it in their last bits.

        Yields:
            Logits ``[M, H, W]`` on the picture and ``[M]`` predicted intersections over union, of as many whole
            points as `PIECE_BYTES` hold, fewer than ``batch`` where the picture is large; points in their order, a
            point's masks after one another. A piece's size changes no value.

        Raises:
            ValueError: It is no picture.
        """
        frame, embedding = self.encode(picture)
        for start in range(0, len(points), batch):
            coordinates = frame.prompts(points[start : start + batch])[None]
            labels = torch.ones(coordinates.shape[:3], dtype=torch.int64)
            logits, predicted = self.decode(embedding, multimask=True, input_points=coordinates, input_labels=labels)
            step = frame.piece(logits.shape[1])
            for first in range(0, len(logits), step):
                piece = slice(first, first + step)
                masks = self.on_picture(logits[piece], frame).numpy()
                yield masks, predicted[piece].flatten().cpu().numpy()


class BoxMaskModel(_Segmenter):
    """SAM 2 with boxes: one mask each.

    Args:
        net: With its weights.
    """

    task = "box-masks"

    def __call__(self, picture: NDArray[np.uint8], boxes: NDArray[Any], batch: int = BATCH) -> NDArray[np.bool_]:
        """Masks of boxes.

        Args:
            picture: uint8 ``[H, W, 3]``, red, green, blue.
            boxes: ``[N, 4]``: x, y of two corners, pixels of the picture.
            batch: Boxes that are decoded at once; sums depend on it in their last bits.

        Returns:
            ``[N, H, W]``: where the logit is above 0.

        Raises:
            ValueError: It is no picture.
        """
        masks = np.zeros((len(boxes), *check_picture(picture)), np.bool_)
        if not len(boxes):
            return masks
        frame, embedding = self.encode(picture)
        for start in range(0, len(boxes), batch):
            corners = frame.prompts(boxes[start : start + batch]).flatten(1)[None]
            logits, _ = self.decode(embedding, multimask=False, input_boxes=corners)
            step = frame.piece(1)
            for first in range(0, len(logits), step):
                piece = self.on_picture(logits[first : first + step], frame) > 0
                masks[start + first : start + first + len(piece)] = piece.numpy()
        return masks


def _stretched(values: Tensor, shape: tuple[int, int]) -> Tensor:
    return functional.interpolate(values, shape, mode="bilinear", align_corners=False)
