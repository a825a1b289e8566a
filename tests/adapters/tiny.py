"""Tiny randomly initialised models of every family that has a site map, each with an input."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers as T
from torch import nn

from interp.adapters import hook
from interp.adapters.timm import library
from interp.hooks import HookedModel

VOCAB = 50
_STACK = dict(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    bos_token_id=1, eos_token_id=2,
)
_DECODER = _STACK | {"num_key_value_heads": 2, "pad_token_id": 0}
_ENCODER = _STACK | {"max_position_embeddings": 32}
_PATCHES = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=16, patch_size=4
)
_TIMM = dict(img_size=16, patch_size=4, embed_dim=32, num_classes=5)


@dataclass(frozen=True)
class Case:
    """A family: how its module is built, and what goes in ("ids", "pair" for T5, or the side of an image)."""

    build: Callable[[], nn.Module]
    takes: str | int = "ids"

    def module(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            return self.build().to(dtype).eval()

    def inputs(self, dtype: torch.dtype = torch.float32, batch: int = 2, n_pos: int = 7, seed: int = 0) -> Any:
        generator = torch.Generator().manual_seed(seed)
        if isinstance(self.takes, int):
            shape = (batch, 3, self.takes, self.takes)
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        ids = torch.randint(0, VOCAB, (batch, n_pos), generator=generator)
        return {"input_ids": ids, "decoder_input_ids": ids[:, : n_pos - 2]} if self.takes == "pair" else ids

    def hooked(self, dtype: torch.dtype = torch.float32) -> tuple[HookedModel, Any]:
        return hook(self.module(dtype)), self.inputs(dtype)


def of(model: str, config: str, takes: str | int = "ids", **sizes) -> Case:
    """A case of transformers, its classes by name."""
    return Case(lambda: getattr(T, model)(getattr(T, config)(**sizes)), takes)


def _timm(build: Callable[[Any], nn.Module]) -> Case:
    def module() -> nn.Module:
        try:
            library()
        except ImportError as error:
            pytest.skip(f"timm cannot be imported here ({error}); pip install timm torchvision")
        return build(__import__("timm.models", fromlist=["models"]))

    return Case(module, 16)


def _mixer(models) -> nn.Module:
    module = models.mlp_mixer.MlpMixer(num_blocks=2, **_TIMM)
    nn.init.normal_(module.head.weight, std=0.1)  # its own initial head is zero, and nothing would show
    return module


_T5 = dict(vocab_size=VOCAB, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0)
_SWIN = dict(embed_dim=16, depths=[2, 2], num_heads=[2, 4], image_size=32, patch_size=2, window_size=4)
_CONVNEXT = dict(hidden_sizes=[8, 16], depths=[2, 2], num_stages=2, image_size=32, layer_scale_init_value=0.5)
_POOLFORMER = dict(hidden_sizes=[8, 16, 16, 16], depths=[2, 1, 1, 1], layer_scale_init_value=0.5)
_ALBERT = _ENCODER | {"embedding_size": 16, "num_hidden_layers": 4}
_GPT2 = dict(vocab_size=VOCAB, n_positions=32, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2)
_MAMBA = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, state_size=4)
_MAMBA2 = _MAMBA | {"num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 4}

CASES: dict[str, Case] = {
    "gpt2": of("GPT2LMHeadModel", "GPT2Config", **_GPT2),
    "llama": of("LlamaForCausalLM", "LlamaConfig", **_DECODER),
    "gemma2": of("Gemma2ForCausalLM", "Gemma2Config", head_dim=8, sliding_window=4, **_DECODER),
    "olmo2": of("Olmo2ForCausalLM", "Olmo2Config", **_DECODER),
    "gpt_neox": of("GPTNeoXForCausalLM", "GPTNeoXConfig", **_STACK),
    "gpt_neox_serial": of("GPTNeoXForCausalLM", "GPTNeoXConfig", use_parallel_residual=False, **_STACK),
    "bert": of("BertForMaskedLM", "BertConfig", **_ENCODER),
    "albert": of("AlbertForMaskedLM", "AlbertConfig", **_ALBERT),
    "t5": of("T5ForConditionalGeneration", "T5Config", "pair", **_T5),
    "t5_gated": of("T5ForConditionalGeneration", "T5Config", "pair", feed_forward_proj="gated-gelu", **_T5),
    "mamba": of("MambaForCausalLM", "MambaConfig", **_MAMBA),
    "mamba2": of("Mamba2ForCausalLM", "Mamba2Config", **_MAMBA2),
    "vit": of("ViTForImageClassification", "ViTConfig", 16, **_PATCHES),
    "dinov2": of("Dinov2Model", "Dinov2Config", 16, layerscale_value=0.7, **_PATCHES),
    "swin": of("SwinForImageClassification", "SwinConfig", 32, **_SWIN),
    "convnext": of("ConvNextForImageClassification", "ConvNextConfig", 32, **_CONVNEXT),
    "poolformer": of("PoolFormerForImageClassification", "PoolFormerConfig", 64, **_POOLFORMER),
    "timm_vit": _timm(lambda m: m.vision_transformer.VisionTransformer(depth=2, num_heads=4, **_TIMM)),
    "timm_deit3": _timm(lambda m: m.vision_transformer.VisionTransformer(
        depth=2, num_heads=4, init_values=0.5, no_embed_class=True, qk_norm=True, **_TIMM)),
    "timm_res_post": _timm(lambda m: m.vision_transformer.VisionTransformer(
        depth=2, num_heads=4, block_fn=m.vision_transformer.ResPostBlock,
        mlp_layer=m.vision_transformer.SwiGLUPacked, **_TIMM)),
    "timm_cait": _timm(lambda m: m.cait.Cait(depth=2, num_heads=4, init_values=0.5, **_TIMM)),
    "timm_mixer": _timm(_mixer),
}

# Models that TransformerLens 4.3 refuses (peers.md, table 2.3), beside those above.
REFUSED: dict[str, Case] = {
    "GPT2Model": of("GPT2Model", "GPT2Config", **_GPT2),
    "BertModel": of("BertModel", "BertConfig", **_ENCODER),
    "BertForSequenceClassification": of("BertForSequenceClassification", "BertConfig", **_ENCODER),
    "AlbertModel": of("AlbertModel", "AlbertConfig", **_ALBERT),
    "Dinov2ForImageClassification": of(
        "Dinov2ForImageClassification", "Dinov2Config", 16, layerscale_value=0.7, use_swiglu_ffn=True, **_PATCHES),
    "ViTModel": of("ViTModel", "ViTConfig", 16, **_PATCHES),
    "SwinModel": of("SwinModel", "SwinConfig", 32, **_SWIN),
    "ConvNextModel": of("ConvNextModel", "ConvNextConfig", 32, **_CONVNEXT),
    "PoolFormerModel": of("PoolFormerModel", "PoolFormerConfig", 64, **_POOLFORMER),
    "RobertaForMaskedLM": of("RobertaForMaskedLM", "RobertaConfig", pad_token_id=1, **_ENCODER),
    "ElectraForMaskedLM": of("ElectraForMaskedLM", "ElectraConfig", embedding_size=16, **_ENCODER),
    "ElectraModel": of("ElectraModel", "ElectraConfig", embedding_size=32, **_ENCODER),
    "DistilBertForMaskedLM": of(
        "DistilBertForMaskedLM", "DistilBertConfig", vocab_size=VOCAB, dim=32, hidden_dim=48, n_layers=2, n_heads=4,
        max_position_embeddings=32),
    "CLIPVisionModel": of("CLIPVisionModel", "CLIPVisionConfig", 16, **_PATCHES),
    "T5EncoderModel": of("T5EncoderModel", "T5Config", **_T5),
}
