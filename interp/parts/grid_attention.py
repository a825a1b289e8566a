"""Attention among the places of an image that may see each other; windows as masks (Liu et al. 2021, 2103.14030,
section 3.2), with a convolution of the values beside it (LePE: Dong et al. 2021, 2107.00652, section 3.3).

    s_h = q_h k_h^T / sqrt(d_head) + B_h        z_h = softmax(s_h) v_h        out = sum_h (z_h + local_h(v)) W_o,h

Shapes: places in raster order, x [batch, pos, d_model], pos a square; B [1 or batch, head, query, key], the lowest
number where a query may not look. `places` makes B of (q, k): the members of this family are nothing but a `places`.
Surprise: a partition into windows, stripes, strided groups or neighbourhoods is only a saving; with the whole pattern
laid out (n^2 numbers, which an analysis wants anyway) they are one attention with different masks.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import OUT, Heads, Result, mark
from interp.parts.context import Context
from interp.parts.spec import Spec
from interp.results.errors import BadInput

Stream = Float[Tensor, "batch pos d_model"]
Rows = list[tuple[str, str]]


def side_of(n_pos: int) -> int:
    """Side of the square image that `n_pos` places make. Raises BadInput where they make none."""
    side = math.isqrt(n_pos)
    if side * side != n_pos:
        raise BadInput(f"{n_pos} places make no square image; attention on a grid needs one")
    return side


def rows_and_columns(side: int) -> tuple[Tensor, Tensor]:
    """Row and column of every place, [side^2] each."""
    place = torch.arange(side * side)
    return place // side, place % side


def hide(sees: Bool[Tensor, "... query key"], bias: Tensor) -> Tensor:
    """`bias` where a query may look and the lowest number elsewhere."""
    return torch.where(sees.to(bias.device), bias, torch.finfo(bias.dtype).min)


def image(x: Stream) -> Float[Tensor, "batch d_model side side"]:
    """The stream as an image."""
    return x.transpose(1, 2).unflatten(2, (side_of(x.shape[1]), -1))


def tokens(x: Float[Tensor, "batch d_model height width"]) -> Stream:
    """An image as a stream, row by row."""
    return x.flatten(2).transpose(1, 2)


class LocalConv(nn.Module):
    """A depthwise convolution of a stream: every channel with its own `size` x `size` kernel, zeros around."""

    def __init__(self, d_model: int, size: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(d_model, d_model, size, padding=size // 2, groups=d_model)

    @classmethod
    def of(cls, spec: Spec, size: int = 3) -> "LocalConv":
        return cls(spec.d_model, size)

    def forward(self, x: Stream, context: Context | None = None) -> Stream:
        return tokens(self.conv(image(x)))

    def declare(self, d, path: str) -> None:
        """No sites of its own."""

    def equations(self, x: str, y: str) -> Rows:
        """What it computes from `x` to `y`: (equation, sites)."""
        size = self.conv.kernel_size[0]
        return [(f"{y} = depthwise conv {size} x {size} of {x}", "")]


class GridAttention(nn.Module):
    """One such sublayer. `places(q, k)` is B; `local` maps values [batch, pos, d_model] to what is added beside."""

    causal = False

    def __init__(self, d_model: int, n_heads: int, places: nn.Module, local: nn.Module | None = None):
        super().__init__()
        self.n_heads, self.places, self.local = n_heads, places, local
        self.q, self.k, self.v, self.o = (nn.Linear(d_model, d_model) for _ in range(4))

    @classmethod
    def of(cls, spec: Spec, *, places: Callable[[int], nn.Module], local: Callable[[int], nn.Module] | None = None):
        """That of a spec; `places` is made from the number of heads, `local` from d_model."""
        return cls(spec.d_model, spec.n_heads, places(spec.n_heads), local and local(spec.d_model))

    def forward(self, x: Stream, context: Context) -> Stream:
        q, k, v = (project(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for project in (self.q, self.k, self.v))
        bias = mark(self, "bias", self.places(q, k).expand(-1, self.n_heads, -1, -1))
        z = semantic.attention(q, k, v, bias=bias, scale=q.shape[-1] ** -0.5, mark=partial(mark, self))
        z = mark(self, "z", z.transpose(1, 2)).flatten(2)
        if self.local is not None:
            z = z + self.local(v.transpose(1, 2).flatten(2))
        return self.o(z)

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        site = partial(d.site, heads=self.n_heads)
        for letter in "qkv":
            site(f"attn.hook_{letter}", f"{path}.{letter}", view=Heads(self.n_heads))
        if declare := getattr(self.places, "declare", None):
            declare(d, f"{path}.places")
        site("attn.hook_bias", path, "bias")
        site("attn.hook_attn_scores", path, "attn_scores")
        site("attn.hook_pattern", path, "pattern", pattern="softmax")
        site("attn.hook_z", path, "z")
        if self.local is not None:
            site("attn.hook_local", f"{path}.local", OUT, Heads(self.n_heads))
        site("attn.hook_result", f"{path}.o", OUT, Result(self.n_heads))

    def equations(self, x: str, y: str) -> Rows:
        """What it computes from `x` to `y`: (equation, sites)."""
        local = self.local is not None
        size = f"{self.local.conv.kernel_size[0]} x {self.local.conv.kernel_size[1]}" if local else ""
        where = getattr(self.local, "where", "")
        return [
            (f"q_h, k_h, v_h = {x} W_q + b_q, {x} W_k + b_k, {x} W_v + b_v", "attn.hook_q|k|v"),
            *self.places.equations(),
            (f"s_h = q_h k_h^T / sqrt({self.q.out_features // self.n_heads}) + B_h", "attn.hook_attn_scores"),
            ("A_h = softmax(s_h)", "attn.hook_pattern"),
            ("z_h = A_h v_h", "attn.hook_z"),
            *([(f"l_h = depthwise conv {size} of v_h{where}", "attn.hook_local")] if local else []),
            (f"{y} = sum_h {'(z_h + l_h)' if local else 'z_h'} W_o,h + b_o", "attn.hook_result"),
        ]
