"""SegEarth-OV (arXiv 2410.01768) as the identifier, with any tower of words, as DynamicEarth runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import SpecError
from eopipe.kernels.change.stages.compare.encoders import TOKEN_COLUMNS
from eopipe.kernels.change.stages.pair import RGB
from eopipe.kernels.change.stages.preprocess import identifier_picture
from eopipe.kernels.change.stages.protocols import ChangeStage, Identifier, refused_prompts
from eopipe.kernels.change.stages.settings import BACKGROUND, SEGEARTH_OV
from eopipe.kernels.ovss.class_scores import class_scores
from eopipe.kernels.ovss.model import OvssModel
from eopipe.kernels.ovss.options import OvssOptions
from eopipe.kernels.ovss.segmentor import segment_image
from eopipe.models.foundation.resolve import is_foundation

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from eopipe.kernels.change.stages.pair import BandStretch, DatePair
    from eopipe.kernels.ovss.options import Prompts


@dataclass(frozen=True, kw_only=True)
class SegEarthIdentifier(ChangeStage[Identifier]):
    """SegEarth-OV on the whole picture, resized to a square.

    Args:
        model: Tower, upsampler and embedded words.
        size: Side of the square.
    """

    model: OvssModel
    size: int

    @classmethod
    def resolve(
        cls, name: str, *, prompts: Prompts, background: tuple[str, ...], size: int, **upsampler: Any
    ) -> SegEarthIdentifier:
        """Find and check the files, and embed the words.

        Args:
            name: A model of words, as a spec gives it.
            prompts: What may have changed.
            background: Phrases of everything else.
            size: Side of the square.
            upsampler: The options ``upsampler`` and ``upsampler_checkpoint``.

        Raises:
            SpecError: The model knows no words, or does not take these.
            WeightsError: There is no such model, or its files are not on this machine.
        """
        if is_foundation(name):
            raise SpecError(f"kernel.identifier: {name} knows no words; name such as ViT-B-16/openai, mini or none")
        with refused_prompts(name):
            options = OvssOptions(
                model=name,
                prompts=((BACKGROUND, background), *prompts),
                bias=SEGEARTH_OV.bias,
                scale=SEGEARTH_OV.scale,
                **upsampler,
            )
        model = OvssModel.resolve(options)
        renamed = {"model": "identifier", "checkpoint": None}
        options_of_files = [renamed.get(option, option) for option in model.places]
        return cls(
            model=model,
            size=size,
            bands=RGB,
            weights=model.weights,
            provenance={"identifier": model.provenance},
            notes=model.notes,
            path_options=tuple(option for option in options_of_files if option is not None),
        )

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Identifier:
        """See `ChangeStage.load`; probabilities ``[1 + prompts, size, size]``."""
        segmentor = self.model.load(device=device, threads=threads)
        entry, size = self.model.clip.entry, self.size
        query_class = tuple(self.model.options.vocabulary.query_class)

        def identify(pair: DatePair, date: int) -> NDArray[np.float32]:
            picture = identifier_picture(stretch.picture(pair, date), size=size, mean=entry.mean, std=entry.std)
            logits = segment_image(
                segmentor, picture.to(segmentor.text.device), crop=SEGEARTH_OV.crop, stride=SEGEARTH_OV.stride,
                size=(size, size),
            )  # fmt: skip
            scores = class_scores(logits.permute(1, 2, 0), query_class, SEGEARTH_OV.scale)
            return np.ascontiguousarray(scores.permute(2, 0, 1).cpu().numpy())

        return identify

    def memory(self, side: int) -> int:
        """Four windows at once: the tower, the upsampler, and the square's logits, twice."""
        clip, queries = self.model.clip, len(self.model.text)
        tokens = 4 * ((SEGEARTH_OV.crop // clip.entry.patch) ** 2 + 1)
        tower = 4 * tokens * TOKEN_COLUMNS * clip.architecture.image.width
        upsampling = self.model.upsampling_memory(4, SEGEARTH_OV.crop)
        return int(tower + upsampling + 4 * 3 * queries * self.size * self.size + 16 * side * side)
