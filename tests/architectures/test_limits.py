"""Limiting cases: at one end of its own dial every member is something that is known already.

Here: what the tests of the papers (`test_works_when_*`) do not hold already.
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from interp.architectures import build
from interp.architectures.attention import filtered
from interp.architectures.gpt import ATTN_ONLY, GPT
from interp.architectures.memory import ATLAS_LINEAR
from interp.architectures.ssm import hybrid
from interp.hooks import HookedModel
from interp.parts import hook
from interp.parts.cross_scale import Groups
from interp.parts.filters import Momentum, ShortConv, Smear, TokenShift
from interp.parts.grid_attention import GridAttention
from interp.parts.ladder import LadderBlock
from interp.parts.model import build_model
from interp.parts.norms import RMSNorm
from interp.parts.omega_memory import OmegaMemory
from interp.parts.ssd import GATE_OF_ONE
from interp.parts.stripes import Stripes

SIZES = dict(d_model=32, n_layers=3, n_heads=4, d_vocab=50, n_ctx=16)


def _tokens() -> torch.Tensor:
    return torch.randint(0, 50, (3, 11), generator=torch.Generator().manual_seed(3))


def _shaken(model: HookedModel) -> HookedModel:
    model = model.to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def _same_with_its_weights(model: HookedModel, other: HookedModel) -> None:
    """`other` with whatever weights of `model` it knows gives the same logits."""
    other = other.to(torch.float64)
    other.module.load_state_dict({key: value for key, value in model.state_dict().items() if key in other.state_dict()})
    with torch.no_grad():
        assert torch.allclose(model(_tokens()), other(_tokens()), atol=1e-10)


def test_a_ladder_without_lag_is_pre_norm():
    ladder = _shaken(hook(build_model(replace(GPT, block=partial(LadderBlock, lag=0), **SIZES), 0)))
    _same_with_its_weights(ladder, build("gpt", **SIZES))
    assert [row for row in ladder.module.blocks[0].equations() if "ln2" in row[0]][0][0] == "u = ln2(resid_mid)"


@pytest.mark.parametrize("options", [
    {"filter": partial(Momentum, gamma=0.0)}, {"filter": Smear}, {"filter": ShortConv}, {"shift": TokenShift},
], ids=["momentum", "smeared-keys", "short-conv-keys", "token-shift"])
def test_filters_that_take_nothing_from_the_token_before_are_plain_attention(options):
    model = _shaken(hook(build_model(replace(filtered(**options), **SIZES), 0)))
    with torch.no_grad():
        for block in model.module.blocks:
            if isinstance(part := block.attn.filter, Smear):
                part.logit.fill_(1e3)
            elif isinstance(part, ShortConv):
                part.weight.zero_()
                part.weight[0] = 1.0
            if block.attn.shift is not None:
                block.attn.shift.share.fill_(1.0)
    _same_with_its_weights(model, build("attn-only-rotary", **SIZES))


def test_layer_scale_of_one_is_gpt():
    model = _shaken(build("layerscale", **SIZES))
    with torch.no_grad():
        for block in model.module.blocks:
            block.attn_gate.scale.fill_(1.0), block.mlp_gate.scale.fill_(1.0)
    _same_with_its_weights(model, build("gpt", **SIZES))


def test_a_hybrid_of_attention_alone_is_a_model_of_attention_without_positions():
    library = _shaken(hybrid("***", d_model=32, n_heads=4, d_vocab=50))
    norm = partial(RMSNorm, eps=1e-5)
    block = (replace(ATTN_ONLY.block[0], op=partial(ATTN_ONLY.block[0].op, bias=False)),)
    ours = hook(build_model(replace(ATTN_ONLY, block=block, norm=norm, position=None, **SIZES), 0)).to(torch.float64)
    base = library.module.model
    pairs = [(ours.module.embed, base.embeddings), (ours.module.ln_final, base.norm_f),
             (ours.module.unembed, library.module.lm_head)]
    for mine, theirs in zip(ours.module.blocks, base.layers):
        pairs.append((mine.ln1, theirs.norm))
        pairs += [(getattr(mine.attn, x), getattr(theirs.mixer, f"{x}_proj")) for x in "qkvo"]
    with torch.no_grad():
        for to, source in pairs:
            to.load_state_dict(source.state_dict())
        wanted = library(_tokens())
        assert (ours(_tokens()) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_phi_mamba_that_never_forgets_is_linear_attention():
    """No convolution, no skip, gate and decay held at 1: z_t = q_t sum_{s <= t} k_s v_s^T."""
    model = _shaken(build("phi-mamba", **SIZES))
    with torch.no_grad():
        for block in model.module.blocks:
            mixer = block.mixer
            for weight in mixer.filters.values():
                weight.zero_()
                weight[0] = 1.0
            mixer.decay.weight.zero_(), mixer.decay_bias.fill_(1e3), mixer.skip.zero_()
            mixer.gate.weight.zero_(), mixer.gate_bias.fill_(GATE_OF_ONE)
    _, cache = model.run_with_cache(_tokens())
    mixer, x = model.module.blocks[1].mixer, cache["blocks.1.ln1.hook_normalized"]
    with torch.no_grad():
        x = x * model.module.blocks[1].ln1.weight + model.module.blocks[1].ln1.bias
        q, k, v = (project(x).unflatten(-1, (4, 8)).transpose(1, 2) for project in (mixer.q, mixer.k, mixer.v))
        wanted = mixer.o(((q @ k.transpose(-1, -2)).tril() @ v).transpose(1, 2).flatten(2))
    assert torch.allclose(wanted, cache["blocks.1.hook_mixer_out"], atol=1e-10)


def test_a_linear_memory_of_keys_that_never_meet_is_linear_attention():
    """With orthogonal keys a memory's own answer is 0 when it learns, so what it learns is all of the value: with
    nothing forgotten the mixing matrix is 2 w_s e_s (phi(q_t) . phi(k_s)), and phi is the identity here."""
    spec = replace(ATLAS_LINEAR, d_model=16, n_layers=1, n_heads=1, d_vocab=50, n_ctx=16)
    memory = partial(OmegaMemory, window=1, degree=1, hidden=None, muon=False)
    block = (replace(spec.block[0], op=memory), spec.block[1])
    model = _shaken(hook(build_model(replace(spec, block=block), 0)))
    mixer = model.module.blocks[0].mixer
    with torch.no_grad():
        mixer.coefficients.copy_(torch.tensor([0.0, 1.0]))
    keys = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64))[0][:11].expand(3, 11, 16).unsqueeze(2)
    hooks = [("blocks.0.mixer.hook_k", lambda value, site: keys),
             ("blocks.0.memory.hook_retain", lambda value, site: torch.ones_like(value)),
             ("blocks.0.memory.hook_momentum", lambda value, site: torch.zeros_like(value))]
    with model.firing(hooks):
        cache = model.run_with_cache(_tokens())[1]
    q = F.normalize(cache["blocks.0.mixer.hook_q"][:, :, 0], dim=-1)
    w, e = (cache[f"blocks.0.memory.hook_{name}"][:, None, :, 0] for name in ("weight", "step"))
    wanted = (q @ keys[:, :, 0].transpose(1, 2)).tril() * 2 * w * e
    assert torch.allclose(model.mixing_matrix(cache, 0)[:, 0], wanted, atol=1e-12)
    z = cache["blocks.0.mixer.hook_z"][:, :, 0]
    assert torch.allclose(z, wanted @ cache["blocks.0.mixer.hook_v"][:, :, 0], atol=1e-12)


def test_distance_that_takes_nothing_off_leaves_full_attention():
    """gamma = 1 in RMT: its bias held at 0, beside the convolution of the values."""
    model = _shaken(build("rmt"))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with model.firing([("blocks.2.attn.hook_bias", lambda value, site: torch.zeros_like(value))]):
        cache = model.run_with_cache(images)[1]
    q, k, v = (cache[f"blocks.2.attn.hook_{letter}"].transpose(1, 2) for letter in "qkv")
    z = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    assert torch.allclose(z, cache["blocks.2.attn.hook_z"], atol=1e-12)


@pytest.mark.parametrize("places", [
    lambda: Stripes(2, 8), lambda: Groups(2, 8, far=False), lambda: Groups(2, 1, far=True),
], ids=["cswin", "crossformer-squares", "crossformer-combs"])
def test_windows_as_large_as_the_image_are_full_attention(places):
    attn = GridAttention(8, 2, places()).double()
    x = torch.randn(1, 64, 8, dtype=torch.float64)
    with torch.no_grad():
        bias = attn.places(*[torch.zeros(1, 2, 64, 4, dtype=torch.float64)] * 2)
        assert bias.min() > -1e3  # nobody is hidden; what is left is the bias of distances
        q, k, v = (project(x).unflatten(-1, (2, 4)).transpose(1, 2) for project in (attn.q, attn.k, attn.v))
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(1, 2, 64, 64))
        assert torch.allclose(attn(x, None), attn.o(z.transpose(1, 2).flatten(2)), atol=1e-10)
