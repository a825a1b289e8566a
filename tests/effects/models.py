"""Tiny models of every adapter family, with weights large enough that nothing about them is nearly linear."""

import warnings
from functools import cache

import torch
import transformers as T

from interp.adapters.transformers import hook
from interp.hooks import HookedModel

V = 50  # vocabulary


def _llama_like(**more):
    return dict(vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, pad_token_id=0) | more


def _encoder(**more):
    return dict(vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                max_position_embeddings=32) | more


def _image(**more):
    return dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=16,
                patch_size=4) | more


# Mamba's heads round their logits to float32, so its base models are tested; Gemma-2's softcap is kept.
FAMILIES = {
    "gpt2": (T.GPT2LMHeadModel, lambda: T.GPT2Config(vocab_size=V, n_positions=32, n_embd=32, n_layer=2, n_head=4)),
    "llama": (T.LlamaForCausalLM, lambda: T.LlamaConfig(**_llama_like())),
    "gemma2": (T.Gemma2ForCausalLM, lambda: T.Gemma2Config(**_llama_like(head_dim=8, sliding_window=4))),
    "olmo2": (T.Olmo2ForCausalLM, lambda: T.Olmo2Config(**_llama_like())),
    "neox": (T.GPTNeoXForCausalLM, lambda: T.GPTNeoXConfig(**_encoder())),
    "bert": (T.BertForMaskedLM, lambda: T.BertConfig(**_encoder())),
    "albert": (T.AlbertForMaskedLM, lambda: T.AlbertConfig(**_encoder(embedding_size=16, num_hidden_layers=4))),
    "t5": (T.T5ForConditionalGeneration,
           lambda: T.T5Config(vocab_size=V, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)),
    "mamba": (T.MambaModel, lambda: T.MambaConfig(vocab_size=V, hidden_size=32, num_hidden_layers=2, state_size=4)),
    "mamba2": (T.Mamba2Model, lambda: T.Mamba2Config(vocab_size=V, hidden_size=32, num_hidden_layers=2, state_size=4,
                                                     num_heads=8, head_dim=8, n_groups=2, chunk_size=4)),
    "vit": (T.ViTForImageClassification, lambda: T.ViTConfig(**_image())),
    "dinov2": (T.Dinov2Model, lambda: T.Dinov2Config(**_image(layerscale_value=0.7))),
    "swin": (T.SwinForImageClassification,
             lambda: T.SwinConfig(embed_dim=16, depths=[2, 2], num_heads=[2, 4], image_size=32, patch_size=2,
                                  window_size=4)),
    "convnext": (T.ConvNextForImageClassification,
                 lambda: T.ConvNextConfig(hidden_sizes=[8, 16], depths=[2, 2], num_stages=2, image_size=32,
                                          layer_scale_init_value=0.5)),
    "poolformer": (T.PoolFormerForImageClassification,
                   lambda: T.PoolFormerConfig(hidden_sizes=[8, 16, 16, 16], depths=[2, 1, 1, 1],
                                              layer_scale_init_value=0.5)),
}
# The same with outputs that are linear in the final stream: `direct` stops there.
LINEAR_HEADS = {
    "gemma2": (T.Gemma2ForCausalLM,
               lambda: T.Gemma2Config(**_llama_like(head_dim=8, sliding_window=4, final_logit_softcapping=None))),
    "bert": (T.BertModel, FAMILIES["bert"][1]),
    "albert": (T.AlbertModel, FAMILIES["albert"][1]),
}
IMAGES = {"vit": 16, "dinov2": 16, "swin": 32, "convnext": 32, "poolformer": 64}
NAMES = list(FAMILIES)


@cache
def tiny(name: str, dtype: torch.dtype = torch.float64, linear_head: bool = False) -> HookedModel:
    """The tiny model of a family; the same object each time, so tests leave it as it was."""
    kind, config = (LINEAR_HEADS if linear_head else FAMILIES).get(name, FAMILIES[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = kind(config())
    return hook(randomise(module.eval().to(dtype)), name=name)


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights of unit gain, gains near 1, biases near 0: drawn in float64, so that all dtypes share a model."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, p in module.named_parameters():
            drawn = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            if p.dim() >= 2 and not path.endswith("A_log"):
                embeds = "embed" in path or "wte" in path or "wpe" in path
                fan_in = 1.0 if embeds else p[0].numel()
                p.copy_((0.7 if embeds else 1.0) * drawn / fan_in**0.5)
            elif p.dim() == 1:
                mean = 1.0 if path.endswith("weight") or "scale" in path or "lambda" in path else 0.0
                p.copy_(mean + 0.2 * drawn)
    return module


def inputs(name: str, batch: int = 2, seed: int = 0, dtype: torch.dtype = torch.float64, n_pos: int = 6):
    """Ids, pixels, or for T5 a mapping of both streams."""
    generator = torch.Generator().manual_seed(seed)
    if name in IMAGES:
        return torch.randn(batch, 3, IMAGES[name], IMAGES[name], generator=generator, dtype=torch.float64).to(dtype)
    ids = torch.randint(1, V, (batch, n_pos), generator=generator)
    return {"input_ids": ids, "decoder_input_ids": ids[:, 1:].flip(1)} if name == "t5" else ids


def weights_of(output: torch.Tensor, seed: int = 5) -> torch.Tensor:
    """One fixed random direction for all outputs of a shape."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(output.shape[1:], generator=generator, dtype=torch.float64)
    return drawn.to(output) / drawn.numel() ** 0.5


def linear_metric(output: torch.Tensor) -> torch.Tensor:
    """A linear reading of the whole output, [batch]."""
    return (output * weights_of(output)).flatten(1).sum(1)


def curved_metric(output: torch.Tensor) -> torch.Tensor:
    """A user's metric that is not linear, [batch]."""
    return linear_metric(output) + torch.tanh((output * weights_of(output, 6)).flatten(1).sum(1))
