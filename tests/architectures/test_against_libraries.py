"""Members of the catalog against the class of a library that computes the same, at tiny random size, to 1e-5.

Here: post-norm (OpenAI GPT), rotary and parallel (GPT-NeoX), alibi (BLOOM), peri-ln (Gemma 2), matformer (slices of
Gemma 3n), vit and layerscale (timm). Elsewhere: gpt (nanoGPT) and llama in test_gpt.py; looped (ALBERT) in
test_works_when_looped.py; poolformer and metaformer-pooling (PoolFormer), swin in test_works_when_library_vision.py;
mamba, mamba2-hybrid, swin and poolformer are the library's own modules; itransformer (torch's encoder), gtrxl's gate
(torch's GRU cell). The libraries of the other rows of the seed list (flash-linear-attention, natten, titans,
x-transformers, torch-geometric) do not run here.
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import interp
from interp.adapters import At
from interp.adapters.timm import library as timm
from interp.adapters.transformers import library
from interp.architectures.gpt import GPT, LAYERSCALE, LLAMA, PARALLEL, PERI_LN, POST_NORM
from interp.architectures.vit import VIT
from interp.parts import Alibi, Attention, GatedMlp, Mlp, Rotary
from interp.parts import hook as hook_parts
from interp.parts.block import Sublayer
from interp.parts.model import build_model
from interp.parts.nested import NestedMlp
from interp.parts.norms import LayerNorm, RMSNorm
from interp.parts.patch_model import hooked as hook_patches
from interp.parts.spec import Spec

SIZES = dict(d_model=32, n_layers=3, n_heads=4, d_vocab=50, n_ctx=16)
IDS = dict(bos_token_id=0, eos_token_id=1, pad_token_id=0)
TANH = partial(nn.GELU, approximate="tanh")


def _tokens() -> torch.Tensor:
    return torch.randint(0, 50, (3, 16), generator=torch.Generator().manual_seed(1))


def _shaken(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return module.eval()


def _copy(*pairs: tuple[nn.Module, nn.Module]) -> None:
    """Every (to, from)."""
    for to, source in pairs:
        to.load_state_dict({key: value.clone() for key, value in source.state_dict().items()})


def _set(linear: nn.Linear, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)


def _same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.std() > 0.05
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def _branches(spec: Spec, **op) -> tuple[Sublayer, ...]:
    """The block with other makers of its branches."""
    return tuple(replace(sub, op=op.get(sub.name, sub.op)) for sub in spec.block)


def _built(spec: Spec, **sizes):
    return build_model(replace(spec, **SIZES | sizes), 0)


@torch.no_grad()
def test_post_norm_is_the_first_gpt():
    T = library()
    theirs = _shaken(T.OpenAIGPTLMHeadModel(T.OpenAIGPTConfig(
        vocab_size=50, n_positions=16, n_embd=32, n_layer=3, n_head=4)))
    ours = _built(replace(POST_NORM, block=_branches(POST_NORM, mlp=partial(Mlp.of, act=TANH))))
    base = theirs.transformer
    _copy((ours.embed, base.tokens_embed), (ours.pos_embed, base.positions_embed))
    for mine, block in zip(ours.blocks, base.h):
        weights = zip((mine.attn.q, mine.attn.k, mine.attn.v), block.attn.c_attn.weight.T.chunk(3),
                      block.attn.c_attn.bias.chunk(3))
        for linear, weight, bias in (*weights, (mine.attn.o, block.attn.c_proj.weight.T, block.attn.c_proj.bias),
                                     (mine.mlp.up, block.mlp.c_fc.weight.T, block.mlp.c_fc.bias),
                                     (mine.mlp.down, block.mlp.c_proj.weight.T, block.mlp.c_proj.bias)):
            _set(linear, weight, bias)
        _copy((mine.ln1, block.ln_1), (mine.ln2, block.ln_2))
    _same(ours(_tokens()), theirs(_tokens()).logits)


@torch.no_grad()
@pytest.mark.parametrize("spec", [GPT, PARALLEL], ids=["rotary", "parallel"])
def test_rotary_and_parallel_are_gpt_neox(spec):
    T = library()
    theirs = _shaken(T.GPTNeoXForCausalLM(T.GPTNeoXConfig(
        vocab_size=50, hidden_size=32, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=16, use_parallel_residual=spec is PARALLEL, **IDS,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0})))
    ours = _built(replace(spec, position=Rotary, tied=()))
    base = theirs.gpt_neox
    _copy((ours.embed, base.embed_in), (ours.ln_final, base.final_layer_norm), (ours.unembed, theirs.lm_head))
    for mine, block in zip(ours.blocks, base.layers):
        _fused(mine.attn, block.attention.query_key_value)
        _copy((mine.attn.o, block.attention.dense), (mine.ln1, block.input_layernorm),
              (mine.ln2, block.post_attention_layernorm), (mine.mlp.up, block.mlp.dense_h_to_4h),
              (mine.mlp.down, block.mlp.dense_4h_to_h))
    _same(ours(_tokens()), theirs(_tokens()).logits)


def _fused(attn: Attention, fused: nn.Linear) -> None:
    """Queries, keys and values of one head side by side, head after head."""
    weight, bias = fused.weight.view(4, 3, 8, 32), fused.bias.view(4, 3, 8)
    for i, linear in enumerate((attn.q, attn.k, attn.v)):
        _set(linear, weight[:, i].flatten(0, 1), bias[:, i].flatten())


@torch.no_grad()
def test_alibi_is_bloom():
    """BLOOM norms its embeddings too, and adds slope * key where ours takes off slope * |query - key|."""
    T = library()
    theirs = _shaken(T.BloomForCausalLM(T.BloomConfig(vocab_size=50, hidden_size=32, n_layer=3, n_head=4, **IDS)))
    spec = replace(GPT, position=Alibi, embed_norm=True)
    ours = _built(replace(spec, block=_branches(spec, mlp=partial(Mlp.of, act=TANH))))
    base = theirs.transformer
    _copy((ours.embed, base.word_embeddings), (ours.embed_ln, base.word_embeddings_layernorm),
          (ours.ln_final, base.ln_f))
    for mine, block in zip(ours.blocks, base.h):
        _fused(mine.attn, block.self_attention.query_key_value)
        _copy((mine.attn.o, block.self_attention.dense), (mine.ln1, block.input_layernorm),
              (mine.ln2, block.post_attention_layernorm), (mine.mlp.up, block.mlp.dense_h_to_4h),
              (mine.mlp.down, block.mlp.dense_4h_to_h))
    _same(ours(_tokens()), theirs(_tokens()).logits)


@torch.no_grad()
def test_peri_ln_is_gemma_2():
    """With Llama's branches, gains as 1 + w, embeddings times sqrt(d), soft caps and windows off, and no norm of the
    embeddings, which the paper has and Gemma has not."""
    T = library()
    theirs = _shaken(T.Gemma2ForCausalLM(T.Gemma2Config(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=8, attn_logit_softcapping=None,
        final_logit_softcapping=None, sliding_window=64, attn_implementation="eager", **IDS)))
    branches = _branches(PERI_LN, attn=LLAMA.block[0].op, mlp=partial(GatedMlp.of, act=TANH))
    ours = _built(replace(LLAMA, block=branches, norm=RMSNorm), d_mlp=48, n_kv_heads=2)
    base = theirs.model
    ours.embed.weight.copy_(base.embed_tokens.weight * 32**0.5)
    ours.unembed.weight.copy_(theirs.lm_head.weight)
    ours.ln_final.weight.copy_(1 + base.norm.weight)
    for mine, block in zip(ours.blocks, base.layers):
        _copy(*((getattr(mine.attn, x), getattr(block.self_attn, f"{x}_proj")) for x in "qkvo"),
              *((getattr(mine.mlp, x), getattr(block.mlp, f"{x}_proj")) for x in ("gate", "up", "down")))
        for to, source in (("ln1", "input"), ("ln1_post", "post_attention"), ("ln2", "pre_feedforward"),
                           ("ln2_post", "post_feedforward")):
            getattr(mine, to).weight.copy_(1 + getattr(block, f"{source}_layernorm").weight)
    _same(ours(_tokens()), theirs(_tokens()).logits)
    assert [s.norm_out for s in hook_parts(ours).module.spec.block] == ["ln1_post", "ln2_post"]


@torch.no_grad()
@pytest.mark.parametrize("scaled", [False, True], ids=["vit", "layerscale"])
def test_vit_and_layerscale_are_timms(scaled):
    """Without a class token, the mean of the normed patches through a head without bias."""
    timm()
    from timm.models.vision_transformer import VisionTransformer

    theirs = _shaken(VisionTransformer(
        img_size=16, patch_size=4, embed_dim=32, depth=3, num_heads=4, num_classes=10, class_token=False,
        global_pool="avg", fc_norm=False, init_values=0.5 if scaled else None, norm_layer=LayerNorm))
    theirs.head.bias.zero_()
    gates = [sub.gate if scaled else None for sub in LAYERSCALE.block]
    block = tuple(replace(sub, gate=gate) for sub, gate in zip(VIT.block, gates))
    model = hook_patches(replace(VIT, block=block, **SIZES | {"d_vocab": 10}), 0)
    ours = model.module
    _copy((ours.embed.project, theirs.patch_embed.proj), (ours.ln_final, theirs.norm))
    ours.pos_embed.weight.copy_(theirs.pos_embed[0])
    ours.unembed.weight.copy_(theirs.head.weight)
    for mine, block in zip(ours.blocks, theirs.blocks):
        weights = zip((mine.attn.q, mine.attn.k, mine.attn.v), block.attn.qkv.weight.chunk(3),
                      block.attn.qkv.bias.chunk(3))
        for linear, weight, bias in weights:
            _set(linear, weight, bias)
        _copy((mine.attn.o, block.attn.proj), (mine.ln1, block.norm1), (mine.ln2, block.norm2),
              (mine.mlp.up, block.mlp.fc1), (mine.mlp.down, block.mlp.fc2))
        if scaled:
            mine.attn_gate.scale.copy_(block.ls1.gamma)
            mine.mlp_gate.scale.copy_(block.ls2.gamma)
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    _same(model(pixels), theirs(pixels))


def _gemma_3n(widths: list[int]) -> nn.Module:
    """The text model with one MLP width a depth; its streams, low-rank branches and inputs per layer stay."""
    T = library()
    return _shaken(T.Gemma3nForCausalLM(T.Gemma3nTextConfig(
        vocab_size=50, vocab_size_per_layer_input=50, hidden_size=32, hidden_size_per_layer_input=8,
        intermediate_size=widths, activation_sparsity_pattern=[0.0] * 3, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, layer_types=["full_attention"] * 3, num_kv_shared_layers=0, laurel_rank=4,
        **IDS)))


@pytest.mark.parametrize("granularities", [(1, 1, 1), (2, 2, 2), (4, 1, 3)])
@torch.no_grad()
def test_a_slice_of_gemma_3n_is_its_first_units(granularities):
    """Trained as a MatFormer: `matformer`'s rule, units behind the first m off, against a Gemma 3n of m units."""
    full, widths = _gemma_3n([64] * 3), [NestedMlp(32, 64, g).width for g in granularities]
    small = _gemma_3n(widths)
    sizes = {key: value.shape for key, value in small.state_dict().items()}
    small.load_state_dict({key: value[tuple(map(slice, sizes[key]))].clone()
                           for key, value in full.state_dict().items()})
    model = interp.hook(full, {"blocks.{d}.mlp.hook_post": "model.layers.{d}.mlp.down_proj:in"},
                        output=At("", key="logits"))
    off = [(f"blocks.{d}.mlp.hook_post", lambda value, site, m=m: torch.where(torch.arange(64) < m, value, 0))
           for d, m in enumerate(widths)]
    _same(model.run_with_hooks(_tokens(), off), small(_tokens()).logits)
    assert (model(_tokens()) - small(_tokens()).logits).abs().max() > 1e-2
