"""timm models as `HookedModel`s: a table from class to site map, by name, so that timm need not be imported."""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor, nn

from interp.adapters._torchvision import mend
from interp.adapters.declare import Declare
from interp.adapters.language import _final_norm
from interp.hooks import semantic
from interp.hooks.model import HookedModel
from interp.hooks.roles import Activation, Forward, Norm
from interp.hooks.sitemap import Add, SiteMap
from interp.hooks.tap import IN, Columns, Heads, Output, Tap, mark
from interp.results.errors import BadInput


def library() -> ModuleType:
    """timm itself, importable beside any build of torch. Raises ImportError where it is not installed."""
    mend()
    return import_module("timm")


# -- attention with its inside marked --------------------------------------------------------------------------------


def _split(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _join(z: Tensor) -> Tensor:
    return z.transpose(1, 2).flatten(2)


def _no_dropout(module: nn.Module) -> None:
    if module.training and module.attn_drop.p:
        raise BadInput("attention dropout is on; call model.eval() before reading inside attention")


def attention(module, x, attn_mask=None, is_causal=False):
    """timm's `Attention`: softmax attention with a fused projection and, if asked, normed queries and keys."""
    _no_dropout(module)
    if is_causal or (attn_mask is not None and attn_mask.dtype == torch.bool):
        raise BadInput("interp reads timm's attention with additive masks only")
    qkv = module.qkv(x).unflatten(-1, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4)
    q, k, v = module.q_norm(qkv[0]), module.k_norm(qkv[1]), qkv[2]
    z = semantic.attention(q, k, v, bias=attn_mask, scale=module.scale, mark=_marks(module))
    return module.proj_drop(module.proj(_join(z)))


def class_attention(module, x):
    """CaiT's class attention (Touvron 2021, 2103.17239, section 3): the class token alone asks."""
    _no_dropout(module)
    q = _split(module.q(x[:, 0])[:, None], module.num_heads)
    k, v = (_split(proj(x), module.num_heads) for proj in (module.k, module.v))
    z = semantic.attention(q, k, v, scale=module.scale, mark=_marks(module))
    return module.proj_drop(module.proj(_join(z)))


def talking_heads(module, x):
    """CaiT's self-attention: heads are mixed before and after the softmax (Shazeer 2020, 2003.02436)."""
    _no_dropout(module)
    qkv = module.qkv(x).unflatten(-1, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4)
    scores = qkv[0] * module.scale @ qkv[1].transpose(-2, -1)
    scores = mark(module, "attn_scores", module.proj_l(scores.movedim(1, -1)).movedim(-1, 1))
    pattern = module.proj_w(scores.softmax(-1).movedim(1, -1)).movedim(-1, 1)
    pattern = mark(module, "pattern", pattern)
    return module.proj_drop(module.proj(_join(pattern @ qkv[2])))


def _marks(module: nn.Module):
    return lambda point, value: mark(module, point, value)


# -- site maps -------------------------------------------------------------------------------------------------------


def vit(module: nn.Module) -> SiteMap:
    """x += s1 * attn(ln1 x); x += s2 * mlp(ln2 x) (ViT; DeiT-III with LayerScale s), or with the norms on the writes
    (`ResPostBlock`). `hook_embed` is the stream that enters: patches, class token and positions together."""
    m = _start("norm_pre")
    for i, block in enumerate(module.blocks):
        _vit_block(Declare(m, f"blocks.{i}", f"blocks.{i}", i), block)
    if isinstance(module.norm, nn.Module) and not isinstance(module.norm, nn.Identity):
        _final_norm(m, "norm", _norm(module.norm))
    return m


def _vit_block(d: Declare, block: nn.Module) -> None:
    kind, attn = type(block).__name__, getattr(block, "attn", None)
    if kind not in ("Block", "ResPostBlock") or type(attn).__name__ != "Attention":
        raise BadInput(
            f"timm block {kind} with {type(attn).__name__} has no site map; there are Block and "
            "ResPostBlock with Attention. Give your own: interp.hook(module, sites={...})"
        )
    if not isinstance(attn.norm, nn.Identity) or getattr(attn, "gate", None) is not None:
        raise BadInput("timm's Attention with a norm or gate behind its values has no site map")
    post = kind == "ResPostBlock"
    d.resid_pre()
    if not post:
        d.norm("ln1", "norm1", _norm(block.norm1))
    qkv = {letter: ("attn.qkv", Heads(attn.num_heads, part, 3)) for part, letter in enumerate("qkv")}
    normed = not isinstance(attn.q_norm, nn.Identity)
    d.attention("attn", **qkv, out="attn.proj", heads=attn.num_heads, rotary=normed, role=Forward(attention))
    if post:
        d.norm("ln1_post", "norm1", _norm(block.norm1))
    d.site("hook_attn_out", "drop_path1")  # behind LayerScale
    d.after("hook_resid_mid", "drop_path1")
    if not post:
        d.norm("ln2", "norm2", _norm(block.norm2))
    _mlp(d, "mlp", block.mlp)
    if post:
        d.norm("ln2_post", "norm2", _norm(block.norm2))
    d.site("hook_mlp_out", "drop_path2")
    d.site("hook_resid_post", "")
    d.pre_norm()


def cait(module: nn.Module) -> SiteMap:
    """x += g1 * talking-heads(ln1 x); x += g2 * mlp(ln2 x) on patches; then, on the class token c alone, blocks
    c += g1 * attn(ln1 [c, x]); c += g2 * mlp(ln2 c). Both branches of a block leave through one module."""
    m = _start("pos_drop")
    blocks = [(f"blocks.{i}", b) for i, b in enumerate(module.blocks)]
    blocks += [(f"blocks_token_only.{i}", b) for i, b in enumerate(module.blocks_token_only)]
    for depth, (path, block) in enumerate(blocks):
        d = Declare(m, f"blocks.{depth}", path, depth)
        on_class = path.startswith("blocks_token_only")
        d.site("hook_resid_pre", "", IN, arg=1 if on_class else 0)
        d.norm("ln1", "norm1")
        (_class_attention if on_class else _talking_heads)(d, block.attn.num_heads)
        d.site("hook_attn_out", "drop_path")
        d.after("hook_resid_mid", "drop_path")
        d.norm("ln2", "norm2")
        _mlp(d, "mlp", block.mlp)
        d.site("hook_mlp_out", "drop_path", visit=1)
        d.site("hook_resid_post", "")
        _two_steps(d, "hook_attn_out", continues=path != "blocks_token_only.0")
    _final_norm(m, "norm", Norm())
    return m


def _talking_heads(d: Declare, heads: int) -> None:
    qkv = {letter: ("attn.qkv", Heads(heads, part, 3)) for part, letter in enumerate("qkv")}
    d.attention(
        "attn", **qkv, out="attn.proj", heads=heads, role=Forward(talking_heads), pattern="unnormalised"
    )


def _class_attention(d: Declare, heads: int) -> None:
    d.role("attn", Forward(class_attention))
    for letter in "qkv":
        axes = {"axes": ("batch", "head", "d_head")} if letter == "q" else {}
        d.site(f"attn.hook_{letter}", f"attn.{letter}", view=Heads(heads), heads=heads, **axes)
    d.site("attn.hook_attn_scores", "attn", "attn_scores", heads=heads)
    d.site("attn.hook_pattern", "attn", "pattern", heads=heads, pattern="softmax")
    d.site("attn.hook_z", "attn.proj", IN, Heads(heads), heads=heads)


def mixer(module: nn.Module) -> SiteMap:
    """x += (W2 gelu(W1 (ln1 x)^T))^T; x += mlp(ln2 x): an MLP over positions in place of attention. It is not linear
    in what it mixes, so there is no mixing matrix."""
    m = _start("stem")
    for i, block in enumerate(module.blocks):
        if type(block).__name__ != "MixerBlock":
            raise BadInput(f"timm's MlpMixer with {type(block).__name__} has no site map; MixerBlock has")
        d = Declare(m, f"blocks.{i}", f"blocks.{i}", i)
        d.resid_pre()
        d.norm("ln1", "norm1", _norm(block.norm1))
        d.role("mlp_tokens.act", Activation())
        d.site("hook_mixer_out", "drop_path")
        d.after("hook_resid_mid", "drop_path")
        d.norm("ln2", "norm2", _norm(block.norm2))
        _mlp(d, "mlp_channels", block.mlp_channels)
        d.site("hook_mlp_out", "drop_path", visit=1)
        d.site("hook_resid_post", "")
        _two_steps(d, "hook_mixer_out")
    _final_norm(m, "norm", _norm(module.norm))
    return m


def _start(entry: str) -> SiteMap:
    m = SiteMap()
    m.add("hook_embed", Tap(entry))
    m.stem = Add("", ("hook_embed",), "blocks.0.hook_resid_pre")
    return m


def _two_steps(d: Declare, write: str, continues: bool = True) -> None:
    d.done(
        d.add("hook_resid_pre", (write,), "hook_resid_mid"),
        d.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post"),
        continues=continues,
    )


def _mlp(d: Declare, path: str, module: nn.Module) -> None:
    """Sites of timm's MLPs: plain, gated with two projections, gated with one fused projection."""
    kind = type(module).__name__
    if kind == "Mlp":
        d.mlp(pre=f"{path}.fc1", act=f"{path}.act", out=f"{path}.fc2")
    elif kind == "SwiGLU":
        d.mlp(pre=f"{path}.fc1_g", act=f"{path}.act", linear=f"{path}.fc1_x", out=f"{path}.fc2")
    elif kind == "GluMlp":
        half = module.fc1.out_features // 2
        gate, linear = Columns(0, half), Columns(half, 2 * half)
        if module.gate_last:
            gate, linear = linear, gate
        d.role(f"{path}.act", Activation())
        d.site("mlp.hook_pre", f"{path}.fc1", view=gate)
        d.site("mlp.hook_pre_linear", f"{path}.fc1", view=linear)
        d.site("mlp.hook_post", f"{path}.fc2", IN)
    else:
        raise BadInput(f"timm's {kind} has no site map; there are Mlp, SwiGLU and GluMlp")


def _norm(module: nn.Module) -> Norm:
    if isinstance(module, nn.LayerNorm):
        return Norm()
    if type(module).__name__ in ("RmsNorm", "RMSNorm"):
        return Norm(center=False)
    raise BadInput(f"timm norm {type(module).__name__} has no role; there are LayerNorm and RmsNorm")


FAMILIES: dict[str, Callable[[nn.Module], SiteMap]] = {
    "VisionTransformer": vit,
    "Cait": cait,
    "MlpMixer": mixer,
}


def site_map(module: nn.Module) -> SiteMap:
    """The site map of a timm model. Raises BadInput for a class without one, naming those that have."""
    for kind in type(module).__mro__:
        if kind.__name__ in FAMILIES:
            m = FAMILIES[kind.__name__](module)
            m.add("output", Tap("", view=Output()))
            return m
    raise BadInput(
        f"timm model {type(module).__name__} has no site map. There are: {', '.join(FAMILIES)}. "
        "Give your own: interp.hook(module, sites={...})"
    )


def hook(module: nn.Module, *, name: str = "", tokenizer=None) -> HookedModel:
    """Wrap an already constructed timm model. The module stays as it is."""
    config = getattr(module, "pretrained_cfg", None) or {}
    architecture = (
        config.get("architecture") if hasattr(config, "get") else getattr(config, "architecture", None)
    )
    recipe = {"source": "timm", "class": type(module).__name__, "architecture": architecture}
    return HookedModel(
        module,
        site_map(module),
        name=name or architecture or type(module).__name__,
        recipe=recipe,
        tokenizer=tokenizer,
    )
