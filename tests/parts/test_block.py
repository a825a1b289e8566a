"""Blocks as data: each placement against its equation written out, gates, and a placement that cannot be named."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from interp.architectures import gpt
from interp.parts import GatedMlp, Mlp, Spec, Sublayer, hook
from interp.parts.context import Context
from interp.parts.model import build_model
from interp.results.errors import BadInput


def _block(spec: Spec):
    block = build_model(replace(spec, d_model=16, n_heads=2, n_kv_heads=None), seed=0).blocks[0].double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return block


X = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
AT = Context(torch.zeros(2, 5, dtype=torch.long))


def pre(b, x):
    x = x + b.attn(b.ln1(x), AT)
    return x + b.mlp(b.ln2(x))


def attn_only(b, x):
    return x + b.attn(b.ln1(x), AT)


def post(b, x):
    x = b.ln1(x + b.attn(x, AT))
    return b.ln2(x + b.mlp(x))


def peri(b, x):
    x = x + b.ln1_post(b.attn(b.ln1(x), AT))
    return x + b.ln2_post(b.mlp(b.ln2(x)))


def parallel(b, x):
    return x + b.attn(b.ln1(x), AT) + b.mlp(b.ln2(x))


def scaled(b, x):
    x = x + b.attn_gate.scale * b.attn(b.ln1(x), AT)
    return x + b.mlp_gate.scale * b.mlp(b.ln2(x))


@pytest.mark.parametrize("spec, equation", [
    (gpt.GPT, pre), (gpt.ATTN_ONLY, attn_only), (gpt.POST_NORM, post), (gpt.PERI_LN, peri), (gpt.PARALLEL, parallel),
    (gpt.LAYERSCALE, scaled), (gpt.LLAMA, pre),
])
def test_a_block_is_its_equation(spec, equation):
    block = _block(spec)
    assert torch.allclose(block(X, AT), equation(block, X), atol=1e-13)


def test_layerscale_reaches_what_a_branch_contributes():
    spec = replace(gpt.LAYERSCALE, n_layers=1)
    module = build_model(spec, seed=0)
    model = hook(module)
    _, cache = model.run_with_cache(torch.zeros(1, 3, dtype=torch.long))
    branch = {}
    handle = module.blocks[0].attn.register_forward_hook(lambda m, a, out: branch.update(out=out))
    model(torch.zeros(1, 3, dtype=torch.long))
    handle.remove()
    assert torch.allclose(cache["blocks.0.hook_attn_out"], 0.1 * branch["out"], atol=1e-8)


def test_a_named_point_behind_parallel_branches_is_refused():
    block = (replace(gpt.ATTN, writes=None), replace(gpt.MLP, reads="resid_pre", writes="resid_mid"))
    with pytest.raises(BadInput, match="ends parallel branches"):
        hook(build_model(replace(gpt.GPT, block=block), seed=0))


def test_a_bidirectional_model_says_so():
    from functools import partial

    from interp.parts import Attention

    block = (replace(gpt.ATTN, op=partial(Attention.of, causal=False)), gpt.MLP)
    model = hook(build_model(replace(gpt.GPT, block=block), seed=0))
    assert model.map.causal is False
    tokens = torch.arange(6)[None]
    with torch.no_grad():
        assert (model(tokens)[:, 0] - model(tokens.flip(1).roll(1, 1))[:, 0]).abs().max() > 0


def test_a_model_without_norms_needs_none():
    block = (Sublayer(name="attn", op=gpt.ATTN.op, writes="resid_mid"), replace(gpt.MLP, norm_in=None))
    model = hook(build_model(replace(gpt.GPT, block=block, norm=None), seed=0))
    _, cache = model.run_with_cache(torch.arange(5)[None])
    total = sum(model.contributions(cache).values())
    assert torch.allclose(total @ model.module.unembed.weight.T, cache["output"],
                          atol=1e-5)


def test_mlps_are_their_formulas():
    torch.manual_seed(0)
    mlp, gated = Mlp(4, 7), GatedMlp(4, 7)
    x = torch.randn(3, 4)
    up = x @ mlp.up.weight.T + mlp.up.bias
    act = 0.5 * up * (1 + torch.erf(up / 2**0.5))
    assert torch.allclose(mlp(x), act @ mlp.down.weight.T + mlp.down.bias, atol=1e-6)
    gate = x @ gated.gate.weight.T
    assert torch.allclose(gated(x), (gate * gate.sigmoid() * (x @ gated.up.weight.T)) @ gated.down.weight.T, atol=1e-6)


def test_an_unset_hook_leaves_the_forward_as_it_is():
    """No forward hook, no replaced method, no mark table is left behind: what runs is the module itself."""
    module = build_model(replace(gpt.PERI_LN, n_layers=1), seed=0)
    model = hook(module)
    model.run_with_cache(torch.arange(4)[None])
    for part in module.modules():
        assert not part._forward_hooks and not part._forward_pre_hooks
        assert "forward" not in part.__dict__ and "_interp_taps" not in part.__dict__
    assert isinstance(module.ln_final, nn.LayerNorm)
