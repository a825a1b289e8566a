"""`gpt` against a single file that anybody can read, `llama` against transformers, and GPT-2 against both."""

import torch
from torch import nn

from interp.architectures import build
from tests.architectures.nanogpt import GPT, Config

SIZES = dict(d_model=32, n_layers=3, n_heads=4, d_vocab=50, n_ctx=16)


def _tokens(n_pos: int = 16) -> torch.Tensor:
    return torch.randint(0, 50, (3, n_pos), generator=torch.Generator().manual_seed(1))


def _shaken(model):
    """Random gains and biases too: 1 and 0 would hide a swapped or forgotten one."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def _copy(target: nn.Module, source: nn.Module) -> None:
    target.load_state_dict(source.state_dict())


def test_gpt_equals_nanogpt():
    model = _shaken(build("gpt", seed=0, **SIZES))
    ours = model.module
    nano = GPT(Config(block_size=16, vocab_size=50, n_layer=3, n_head=4, n_embd=32))
    for theirs, mine in ((nano.wte, ours.embed), (nano.wpe, ours.pos_embed), (nano.ln_f, ours.ln_final)):
        _copy(theirs, mine)
    for theirs, mine in zip(nano.h, ours.blocks):
        for a, b in ((theirs.ln_1, mine.ln1), (theirs.ln_2, mine.ln2), (theirs.attn.c_proj, mine.attn.o),
                     (theirs.mlp.c_fc, mine.mlp.up), (theirs.mlp.c_proj, mine.mlp.down)):
            _copy(a, b)
        with torch.no_grad():
            for kind in ("weight", "bias"):
                fused = torch.cat([getattr(part, kind) for part in (mine.attn.q, mine.attn.k, mine.attn.v)])
                getattr(theirs.attn.c_attn, kind).copy_(fused)
    with torch.no_grad():
        wanted, found = nano(_tokens()), model(_tokens())
    assert wanted.std() > 0.1
    assert (wanted - found).abs().max() / wanted.abs().max() < 1e-6


def test_gpt_has_as_many_parameters_as_nanogpt():
    nano = GPT(Config(block_size=16, vocab_size=50, n_layer=3, n_head=4, n_embd=32))
    model = build("gpt", seed=0, **SIZES)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in nano.parameters())


def test_llama_equals_transformers():
    from transformers import LlamaConfig, LlamaForCausalLM

    model = _shaken(build("llama", seed=0, n_kv_heads=2, d_mlp=48, **SIZES))
    ours = model.module
    theirs = LlamaForCausalLM(LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-6, max_position_embeddings=16, bos_token_id=0, eos_token_id=1,
    )).eval()
    _copy(theirs.model.embed_tokens, ours.embed)
    _copy(theirs.model.norm, ours.ln_final)
    _copy(theirs.lm_head, ours.unembed)
    for block, mine in zip(theirs.model.layers, ours.blocks):
        for a, b in ((block.input_layernorm, mine.ln1), (block.post_attention_layernorm, mine.ln2),
                     (block.self_attn.q_proj, mine.attn.q), (block.self_attn.k_proj, mine.attn.k),
                     (block.self_attn.v_proj, mine.attn.v), (block.self_attn.o_proj, mine.attn.o),
                     (block.mlp.gate_proj, mine.mlp.gate), (block.mlp.up_proj, mine.mlp.up),
                     (block.mlp.down_proj, mine.mlp.down)):
            _copy(a, b)
    with torch.no_grad():
        wanted, found = theirs(_tokens()).logits, model(_tokens())
    assert wanted.std() > 0.1
    assert (wanted - found).abs().max() / wanted.abs().max() < 1e-5
