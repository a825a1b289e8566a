"""Attention to parameters in the place of a linear map (TokenFormer; Wang et al. 2024, 2410.23168, section 3).

    a = x K^T        s = gelu(a sqrt(n) / |a|)        out = s V                       K [n, d_in], V [n, d_out]

Shapes: x [batch, pos, d_in], a and s [batch, pos, param], out [batch, pos, d_out]. The n pairs are "parameter tokens";
s says how much each is used, as neurons say in an MLP, and one such layer is the whole feed-forward network. `grow`
appends pairs whose keys are 0: they change neither |a| nor, by gelu(0) = 0, the output, if the scale sqrt(n) is held at
what it was. Surprises: the size of x cancels, so that the denominator of a norm in front of it changes nothing; with
the new scale growth is *not* exact; and if new values were 0 as well, no gradient would ever reach key or value, so
they are drawn.
"""

from copy import deepcopy
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import mark
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.parts.positions import Rotary
from interp.parts.spec import Spec
from interp.results.errors import BadInput

EPS = 1e-12


class Pattention(nn.Module):
    """A layer from `d_in` to `d_out` through `n` parameter tokens; `scale` is sqrt(n) unless it is held."""

    bias = None

    def __init__(self, d_in: int, d_out: int, n: int, scale: float | None = None):
        super().__init__()
        self.keys, self.values = nn.Parameter(torch.empty(n, d_in)), nn.Parameter(torch.empty(n, d_out))
        self.scale = n**0.5 if scale is None else scale

    def initialise(self, std: float, generator: torch.Generator) -> None:
        for parameter in (self.keys, self.values):
            parameter.normal_(0.0, std, generator=generator)

    def forward(self, x: Float[Tensor, "batch pos d_in"], context: Context | None = None) -> Tensor:
        a = x @ self.keys.T
        # a root mean square norm times sqrt(n) is a division by the length: one rule of the engines for both
        n = len(self.keys)
        normed = semantic.norm(a, None, None, eps=EPS / n, center=False) * (self.scale / n**0.5)
        scores = semantic.activation(nn.functional.gelu, mark(self, "pre", normed))
        return mark(self, "post", scores) @ self.values

    def declare(self, d, path: str) -> None:
        """Its sites as the MLP of a block, at `path`."""
        _forgets_size(d)
        d.site("mlp.hook_pre", path, "pre")
        d.site("mlp.hook_post", path, "post")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [(f"pre = {x} K^T {self.scale:.3g} / |{x} K^T|", "mlp.hook_pre"), ("post = gelu(pre)", "mlp.hook_post"),
                (f"{y} = post V", "")]


def _forgets_size(d) -> None:
    """Declare that the denominator of the norm in front, the last one declared, is for nothing."""
    scales = [name for name in d.map.sites if name.startswith(f"{d.prefix}.") and name.endswith("hook_scale")]
    for name in scales[-1:]:
        d.map.inert_sites[name] = "what reads the norm divides by the length of its scores, so that its size cancels"


def feed_forward(spec: Spec) -> Pattention:
    """The feed-forward network of a spec: as many parameter tokens as an MLP has neurons."""
    return Pattention(spec.d_model, spec.d_model, spec.d_mlp or 4 * spec.d_model)


class TokenAttention(Attention):
    """Causal rotary attention whose four projections are Pattention layers with d_model parameter tokens each."""

    def __init__(self, spec: Spec):
        rotary = Rotary() if spec.position is Rotary else None
        super().__init__(spec.d_model, spec.n_heads, bias=False, rotary=rotary)
        for name in "qkvo":
            setattr(self, name, Pattention(spec.d_model, spec.d_model, spec.d_model))

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block. Heads do not write separately: the output layer is not linear in them."""
        _forgets_size(d)
        for name in "qkv":
            d.site(f"attn.hook_param_{name}", f"{path}.{name}", "post")
        d.attention(path, q=f"{path}.q", k=f"{path}.k", v=f"{path}.v", out=f"{path}.o", heads=self.n_heads,
                    rotary=self.rotary is not None, result=False)
        d.site("attn.hook_param_o", f"{path}.o", "post")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        rows = super().equations(x, y)
        layer = "P(x) = gelu(x K^T sqrt(n) / |x K^T|) V"
        return [(f"q_h, k_h, v_h = P_q({x}), P_k({x}), P_v({x}), {layer}",
                 "attn.hook_q|k|v, attn.hook_param_q|param_k|param_v"), *rows[1:-1],
                (f"{y} = P_o(z)", "attn.hook_param_o")]


def grow(module: nn.Module, extra: int, seed: int = 0, std: float = 0.02) -> nn.Module:
    """A copy of a model whose Pattention layers have `extra` more parameter tokens each, and which computes the same.

    New keys are 0, new values normal with deviation `std`; scales are held. Raises BadInput where there is nothing to
    grow or `extra` is below 1.
    """
    if extra < 1:
        raise BadInput(f"{extra} parameter tokens cannot be appended; give 1 or more")
    grown, generator = deepcopy(module), torch.Generator().manual_seed(seed)
    layers = [part for part in grown.modules() if isinstance(part, Pattention)]
    if not layers:
        raise BadInput(f"{type(module).__name__} has no Pattention layer to grow; build 'tokenformer'")
    for layer in layers:
        draw = partial(torch.randn, extra, layer.values.shape[1], generator=generator)
        more = draw().mul(std).to(layer.values)
        layer.keys = nn.Parameter(torch.cat([layer.keys.detach(), layer.keys.new_zeros(extra, layer.keys.shape[1])]))
        layer.values = nn.Parameter(torch.cat([layer.values.detach(), more]))
    return grown
