"""Site maps of `transformers` state-space models, whose mixers are opened by a role: their kernels hide the inside."""

from functools import partial

import torch
from torch import Tensor

from interp.adapters.attention import REGISTRY
from interp.adapters.declare import Declare
from interp.adapters.language import RMS, _final_norm, _start, _stem
from interp.hooks import semantic
from interp.hooks.roles import Attribute, Forward
from interp.hooks.sitemap import SiteMap
from interp.hooks.tap import mark
from interp.results.errors import BadInput


def _masked(x: Tensor, attention_mask) -> Tensor:
    return x if attention_mask is None or 1 in attention_mask.shape else x * attention_mask[:, :, None].to(x.dtype)


def _convolve(module, x: Tensor, n_pos: int) -> Tensor:
    """Causal depthwise convolution and activation; x [batch, channel, pos]."""
    conv = module.conv1d
    y = torch.nn.functional.conv1d(x, conv.weight, conv.bias, padding=conv.kernel_size[0] - 1, groups=conv.groups)
    return semantic.activation(module.act, y[..., :n_pos])


def _no_past(cache_params) -> None:
    if cache_params is not None:
        raise BadInput("a state cache was given; runs with hooks start from an empty state")


def mamba_mixer(module, hidden_states, cache_params=None, attention_mask=None, **kwargs):
    """Mamba's mixer in plain torch (Gu & Dao 2023, 2312.00752, section 3): y = scan(x) + D x, out = W (y silu(z))."""
    _no_past(cache_params)
    x, z = module.in_proj(_masked(hidden_states, attention_mask)).chunk(2, dim=-1)
    z = mark(module, "z", z)
    x = _masked(_convolve(module, x.transpose(1, 2), x.shape[1]).transpose(1, 2), attention_mask)
    x = mark(module, "x", x)
    n = module.ssm_state_size
    dt, B, C = module.x_proj(x).split([module.time_step_rank, n, n], -1)
    dt = mark(module, "dt", torch.nn.functional.softplus(module.dt_proj(dt)))
    B, C = mark(module, "B", B), mark(module, "C", C)
    y = semantic.scan(x, dt, -torch.exp(module.A_log), B, C, mark=partial(mark, module)) + x * module.D
    y = mark(module, "y", y)
    return module.out_proj(y * semantic.activation(module.act, z))


def mamba2_mixer(module, hidden_states, cache_params=None, attention_mask=None, **kwargs):
    """Mamba-2's mixer in plain torch (Dao & Gu 2024, 2405.21060): one step size and decay a head, gated norm."""
    _no_past(cache_params)
    inner, heads, n = module.intermediate_size, module.num_heads, module.n_groups * module.ssm_state_size
    z, xBC, dt = module.in_proj(_masked(hidden_states, attention_mask)).split([inner, module.conv_dim, heads], -1)
    z = mark(module, "z", z)
    xBC = _masked(_convolve(module, xBC.transpose(1, 2), xBC.shape[1]).transpose(1, 2), attention_mask)
    x, B, C = xBC.split([inner, n, n], -1)
    x, B, C = mark(module, "x", x), mark(module, "B", B), mark(module, "C", C)
    dt = torch.nn.functional.softplus(dt + module.dt_bias).clamp(*module.time_step_limit)
    dt = mark(module, "dt", dt)

    def per_channel(t: Tensor) -> Tensor:  # [batch, pos, groups * state] -> [batch, pos, inner, state]
        t = t.reshape(*t.shape[:2], module.n_groups, -1)
        return t.repeat_interleave(inner // module.n_groups, 2)

    wide = dt.repeat_interleave(module.head_dim, -1)
    A = -torch.exp(module.A_log).repeat_interleave(module.head_dim)[:, None]
    y = semantic.scan(x, wide, A, per_channel(B), per_channel(C), mark=partial(mark, module))
    y = mark(module, "y", y + x * module.D.repeat_interleave(module.head_dim))
    norm = module.norm
    gated = (y * semantic.activation(torch.nn.functional.silu, z)).reshape(*y.shape[:2], -1, norm.group_size)
    weight = norm.weight.reshape(-1, norm.group_size)
    y = semantic.norm(gated, weight, None, eps=norm.variance_epsilon, center=False)
    return module.out_proj(y.reshape(*y.shape[:2], inner))


def _mixing(module, cache, prefix: str) -> Tensor:
    """[batch, channel, query, key]: the matrix that takes `ssm.hook_x` to `ssm.hook_y`, the skip included."""
    mixer = module.mixer
    dt, B, C = (cache[f"{prefix}.ssm.hook_{letter}"] for letter in ("dt", "B", "C"))
    A = -torch.exp(mixer.A_log)
    if A.dim() == 1:  # Mamba-2: one dt and decay a head, one B and C a group
        head_dim = mixer.head_dim
        dt, A = dt.repeat_interleave(head_dim, -1), A.repeat_interleave(head_dim)[:, None]
    groups = getattr(mixer, "n_groups", 1)
    B, C = (t.reshape(*t.shape[:2], groups, -1).repeat_interleave(dt.shape[-1] // groups, 2) for t in (B, C))
    total = dt.cumsum(1)
    gap = (total[:, :, None] - total[:, None, :]).clamp(min=0)  # [batch, query, key, channel]
    decay = torch.exp(gap[..., None] * A)
    matrix = torch.einsum("bqcn,bqkcn,bkcn->bcqk", C, decay, dt[..., None] * B)
    matrix = matrix * torch.ones_like(matrix[0, 0]).tril()
    skip = mixer.D if mixer.D.shape[0] == matrix.shape[1] else mixer.D.repeat_interleave(mixer.head_dim)
    return matrix + torch.diag_embed(skip[None, :, None].expand(*matrix.shape[:3]))


def _ssm(base, config, forward, dt_axes: dict) -> SiteMap:
    m = _start(config, ("hook_embed", "embeddings"), causal=True)
    _stem(m, "hook_embed")
    for i in range(config.num_hidden_layers):
        d = Declare(m, f"blocks.{i}", f"layers.{i}", i)
        d.role("", Attribute("residual_in_fp32", False))  # in float64 the library rounds the stream
        d.resid_pre()
        d.norm("ln1", "norm", RMS)
        _scan_branch(d, forward, dt_axes)
    _final_norm(m, "norm_f", RMS)
    return m


def _scan_branch(d: Declare, forward, dt_axes: dict) -> None:
    """Sites and equation of a block that adds its scan, and nothing else."""
    d.role("mixer", Forward(forward))
    for point in ("z", "x", "dt", "B", "C", "state", "y"):
        d.site(f"ssm.hook_{point}", "mixer", point, **(dt_axes if point == "dt" else {}))
    d.site("hook_mixer_out", "mixer")
    d.site("hook_resid_post", "")
    d.done(d.add("hook_resid_pre", ("hook_mixer_out",), "hook_resid_post"), mixing=_mixing,
           mixes=("ssm.hook_x", "ssm.hook_y"))


def mamba(base, config) -> SiteMap:
    """x += mamba(rms x): one sublayer a block, no MLP."""
    return _ssm(base, config, mamba_mixer, {})


def mamba2(base, config) -> SiteMap:
    """x += mamba2(rms x); step sizes per head."""
    heads = {"axes": ("batch", "pos", "head"), "heads": config.num_heads}
    return _ssm(base, config, mamba2_mixer, heads)


def nemotron_h(base, config) -> SiteMap:
    """x += branch(rms x), one branch a block: Mamba-2 (M), attention (*) or an MLP (-), by the config's pattern."""
    m = _start(config, ("hook_embed", "embeddings"), causal=True)
    _stem(m, "hook_embed")
    heads = {"axes": ("batch", "pos", "head"), "heads": config.mamba_num_heads}
    for i, kind in enumerate(config.layers_block_type):
        d = Declare(m, f"blocks.{i}", f"layers.{i}", i)
        d.resid_pre()
        d.norm("ln1", "norm", RMS)
        if kind == "linear_attention":
            _scan_branch(d, mamba2_mixer, heads)
        elif kind == "full_attention":
            d.attention("mixer", q="mixer.q_proj", k="mixer.k_proj", v="mixer.v_proj", out="mixer.o_proj",
                        heads=config.num_attention_heads, kv_heads=config.num_key_value_heads, role=REGISTRY)
            _branch(d, "hook_attn_out")
        elif kind == "mlp":
            d.mlp(pre="mixer.up_proj", act="mixer.act_fn", out="mixer.down_proj")
            _branch(d, "hook_mlp_out")
        else:
            raise BadInput(f"block {i} of this hybrid is {kind!r}, whose inside has no site map; known are "
                           "linear_attention, full_attention and mlp")
    _final_norm(m, "norm_f", RMS)
    return m


def _branch(d: Declare, write: str) -> None:
    d.site(write, "mixer")
    d.site("hook_resid_post", "")
    d.done(d.add("hook_resid_pre", (write,), "hook_resid_post"))
