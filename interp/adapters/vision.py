"""Site maps of `transformers` vision models. Positions are patches (class and register tokens first)."""

import math

import torch
from torch import Tensor

from interp.adapters.attention import REGISTRY
from interp.adapters.declare import Declare
from interp.adapters.language import _final_norm
from interp.hooks.roles import Activation, Norm
from interp.hooks.sitemap import Add, SiteMap
from interp.hooks.tap import IN, Image, Plus, Tap, View, Whole
from interp.results.errors import BadInput


def _start(embed: str, view: View = Whole()) -> SiteMap:
    m = SiteMap(input_name="pixel_values")
    m.add("hook_embed", Tap(embed, view=view))
    m.stem = Add("", ("hook_embed",), "blocks.0.hook_resid_pre")
    return m


def vit(base, config) -> SiteMap:
    """x += attn(ln1 x); x += mlp(ln2 x), class token first."""
    m = _start("embeddings")
    for i in range(config.num_hidden_layers):
        d = Declare(m, f"blocks.{i}", f"layers.{i}" if hasattr(base, "layers") else f"encoder.layer.{i}", i)
        _vit_block(d, config.num_attention_heads, "layernorm_before", "layernorm_after")
    _final_norm(m, "layernorm", Norm())
    return m


def dinov2(base, config) -> SiteMap:
    """x += s1 * attn(ln1 x); x += s2 * mlp(ln2 x): LayerScale, so a branch's write is what leaves its scale."""
    m = _start("embeddings")
    m.unused_parameters["embeddings.mask_token"] = "only masked pre-training reads it"
    gated = getattr(config, "use_swiglu_ffn", False)
    for i in range(config.num_hidden_layers):
        d = Declare(m, f"blocks.{i}", f"layers.{i}" if hasattr(base, "layers") else f"encoder.layer.{i}", i)
        _vit_block(d, config.num_attention_heads, "norm1", "norm2", scales=("layer_scale1", "layer_scale2"),
                   gated=gated)
    _final_norm(m, "layernorm", Norm())
    return m


def _vit_block(d: Declare, heads: int, norm1: str, norm2: str, scales=None, gated: bool = False) -> None:
    write1, write2 = scales or ("attention", "mlp")
    d.resid_pre()
    d.norm("ln1", norm1)
    q, k, v = (f"attention.{x}_proj" for x in "qkv")
    d.attention("attention", q=q, k=k, v=v, out="attention.o_proj", heads=heads, role=REGISTRY)
    d.site("hook_attn_out", write1)
    d.after("hook_resid_mid", write1)
    d.norm("ln2", norm2)
    if gated:
        d.mlp(pre="mlp.gate_proj", act="mlp.act_fn", linear="mlp.up_proj", out="mlp.down_proj")
    else:
        d.mlp(pre="mlp.fc1", act="mlp.activation_fn", out="mlp.fc2")
    d.site("hook_mlp_out", write2)
    d.site("hook_resid_post", "")
    d.pre_norm()


def swin(base, config) -> SiteMap:
    """x += attn in (shifted) windows; x += mlp; patches merge between stages. Inside attention the batch axis
    counts windows (image major) and positions are those of one window; the mixing matrix is of the whole image."""
    m = _start("embeddings")
    depth = 0
    for s, n_blocks in enumerate(config.depths):
        heads = config.num_heads[s]
        m.add(f"stage.{s}.hook_in", Tap(f"encoder.layers.{s}", IN))
        for b in range(n_blocks):
            d = Declare(m, f"blocks.{depth}", f"encoder.layers.{s}.blocks.{b}", depth)
            d.resid_pre()
            d.norm("ln1", "layernorm_before")
            q, k, v = (f"attention.{x}_proj" for x in "qkv")
            d.attention("attention", q=q, k=k, v=v, out="attention.o_proj", heads=heads, role=REGISTRY,
                        pattern_axes=("window", "head", "query", "key"))
            d.site("hook_attn_out", "drop_path")
            d.after("hook_resid_mid", "drop_path")
            d.norm("ln2", "layernorm_after")
            d.mlp(pre="mlp.fc1", act="mlp.activation_fn", out="mlp.fc2")
            d.site("hook_mlp_out", "mlp")
            d.site("hook_resid_post", "")
            d.done(
                d.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_mid"),
                d.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post"),
                continues=b > 0 or s == 0, mixing=window_matrix,
            )
            depth += 1
        m.add(f"stage.{s}.hook_out", Tap(f"encoder.layers.{s}"))
    _final_norm(m, "layernorm", Norm())
    return m


def convnext(base, config) -> SiteMap:
    """x += s * W2 gelu(W1 ln(dwconv x)): one branch a block; the depthwise convolution mixes positions."""
    m = _start("embeddings", Image())
    depth = 0
    for s, n_blocks in enumerate(config.depths):
        m.add(f"stage.{s}.hook_in", Tap(f"encoder.stages.{s}", IN, Image()))
        for b in range(n_blocks):
            d = Declare(m, f"blocks.{depth}", f"encoder.stages.{s}.layers.{b}", depth)
            d.resid_pre(Image())
            d.site("mixer.hook_z", "dwconv", view=Image(), axes=("batch", "pos", "d_model"))
            d.role("act", Activation())
            d.site("mlp.hook_pre", "pwconv1", view=Image(channels_last=True))
            d.site("mlp.hook_post", "pwconv2", IN, Image(channels_last=True))
            d.site("hook_mixer_out", "drop_path", view=Image())
            d.site("hook_resid_post", "", view=Image())
            d.done(d.add("hook_resid_pre", ("hook_mixer_out",), "hook_resid_post"), continues=b > 0,
                   mixing=conv_matrix)
            depth += 1
        m.add(f"stage.{s}.hook_out", Tap(f"encoder.stages.{s}", view=Image()))
    return m


def poolformer(base, config) -> SiteMap:
    """x += s1 * (pool - 1)(norm x); x += s2 * mlp(norm x): average pooling in place of attention."""
    m = _start("encoder.patch_embeddings.0", Image())
    depth = 0
    for s, n_blocks in enumerate(config.depths):
        for b in range(n_blocks):
            d = Declare(m, f"blocks.{depth}", f"encoder.block.{s}.{b}", depth)
            d.resid_pre(Image())
            # both branches leave through one drop_path module: its first and its second visit
            d.site("hook_mixer_out", "drop_path", view=Image())
            d.site("hook_resid_mid", "drop_path", view=Plus(d.name("hook_resid_pre"), Image()))
            d.role("output.act_fn", Activation())
            d.site("mlp.hook_pre", "output.conv1", view=Image())
            d.site("mlp.hook_post", "output.conv2", IN, Image())
            d.site("hook_mlp_out", "drop_path", view=Image(), visit=1)
            d.site("hook_resid_post", "", view=Image())
            d.done(
                d.add("hook_resid_pre", ("hook_mixer_out",), "hook_resid_mid"),
                d.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post"),
                continues=b > 0, mixing=pool_matrix,
            )
            depth += 1
    return m


def window_matrix(block, cache, prefix: str) -> Tensor:
    """[batch, head, query, key]: the patterns of Swin's windows, shifted back, as rows of the whole image.

    Raises BadInput for images that are not square, or that windows do not divide (keys would be padding).
    """
    side, window = _side(cache, prefix), block.window_size
    if side % window:
        raise BadInput(f"{prefix}: windows of {window} do not divide its {side} x {side} positions, so some keys are "
                       "padding and have no place in the image")
    place = block.cyclic_shift(torch.arange(side * side).view(1, side, side, 1))
    place = place.view(side // window, window, side // window, window).transpose(1, 2).reshape(-1, window * window)
    pattern = cache[f"{prefix}.attn.hook_pattern"].unflatten(0, (-1, len(place))).transpose(1, 2)
    matrix = pattern.new_zeros(*pattern.shape[:2], side * side, side * side)
    matrix[:, :, place[:, :, None], place[:, None, :]] = pattern
    return matrix


def pool_matrix(block, cache, prefix: str) -> Tensor:
    """[1, 1, query, key]: average over the 3x3 neighbourhood minus the position itself, the same for all inputs."""
    side = _side(cache, prefix)
    eye = torch.eye(side * side).to(cache[f"{prefix}.hook_resid_pre"]).view(-1, 1, side, side)
    return block.pooling(eye).flatten(1).T[None, None]


def conv_matrix(block, cache, prefix: str) -> Tensor:
    """[1, channel, query, key]: the depthwise convolution without its bias, the same for all inputs."""
    side, conv = _side(cache, prefix), block.dwconv
    eye = torch.eye(side * side).to(conv.weight).view(-1, 1, side, side).expand(-1, conv.in_channels, -1, -1)
    out = torch.nn.functional.conv2d(eye, conv.weight, None, conv.stride, conv.padding, groups=conv.groups)
    return out.flatten(2).permute(1, 2, 0)[None]


def _side(cache, prefix: str) -> int:
    n = cache[f"{prefix}.hook_resid_pre"].shape[1]
    if math.isqrt(n) ** 2 != n:
        raise BadInput(f"{prefix} has {n} positions, not a square grid; its mixing matrix cannot be laid out")
    return math.isqrt(n)
