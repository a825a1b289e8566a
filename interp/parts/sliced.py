"""The recursive block of SReT (Shen et al. 2021, 2111.05297): sliced attention, learned residual coefficients.

    x = a_1 x + b_1 attn_G(ln1 x);   x = a_2 x + b_2 mlp(ln2 x)              x [batch, pos, d_model], a and b numbers
    between visits: x = x + nll(ln x), a small MLP of its own for every pair of visits

attn_G lets a token see its group of n / G tokens only: on even visits neighbours in raster order, on odd visits every
G-th token. Surprises: the authors' code draws that permutation anew in every forward, at inference too; a fixed one
mixes as well over two visits and gives the same answer twice. And `resid_post` keeps a_2 of the stream, not all of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts import norms
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.parts.mlp import Mlp

Stream = Float[Tensor, "batch pos d_model"]


class Coefficients(nn.Module):
    """a and b of x = a x + b y, started at 1."""

    def __init__(self):
        super().__init__()
        self.keep, self.write = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """1 and 1, the plain addition; nothing is drawn."""
        self.keep.fill_(1.0)
        self.write.fill_(1.0)

    def forward(self, x: Stream, y: Stream) -> Stream:
        return self.keep * x + mark(self, "write", self.write * y)


@dataclass(frozen=True)
class Scaled:
    """What a learned coefficient keeps of the stream, as a step of an equation."""

    of: Coefficients
    reads: tuple[str, ...] = ()

    def __call__(self, cache: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return self.of.keep * x


def groups(n: int, n_groups: int, visit: int) -> Tensor:
    """Group of each of `n` tokens, [1, n]: slices on even visits, every `n_groups`-th token on odd ones."""
    place = torch.arange(n)[None]
    return place % n_groups if visit % 2 else place * n_groups // n


class SlicedBlock(nn.Module):
    """One visit: attention within groups, then an MLP, both with learned coefficients."""

    def __init__(self, d_model: int, n_heads: int, n_groups: int):
        super().__init__()
        self.n_groups = n_groups
        self.ln1, self.ln2 = norms.LayerNorm(d_model), norms.LayerNorm(d_model)
        self.attn, self.mlp = Attention(d_model, n_heads, causal=False), Mlp(d_model, 4 * d_model)
        self.attn_sum, self.mlp_sum = Coefficients(), Coefficients()

    def forward(self, x: Stream, visit: int) -> Stream:
        group = groups(x.shape[1], self.n_groups, visit)
        x = self.attn_sum(x, self.attn(self.ln1(x), Context.grouped(torch.zeros_like(group), group)))
        return self.mlp_sum(x, self.mlp(self.ln2(x)))

    def declare(self, d) -> None:
        """Its sites at one visit; of the stream it keeps the learned share."""
        d.resid_pre()
        d.norm("ln1", "ln1", norms.role(self.ln1))
        self.attn.declare(d, "attn")
        d.site("hook_attn_out", "attn_sum", "write")
        d.site("hook_resid_mid", "attn_sum")
        d.norm("ln2", "ln2", norms.role(self.ln2))
        self.mlp.declare(d, "mlp")
        d.site("hook_mlp_out", "mlp_sum", "write")
        d.site("hook_resid_post", "")
        d.done(d.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_mid", keep=Scaled(self.attn_sum)),
               d.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post", keep=Scaled(self.mlp_sum)))

    def equations(self) -> list[tuple[str, str]]:
        """What it computes: (equation, sites)."""
        return [
            ("resid_pre = x", "hook_resid_pre"),
            ("u = ln1(resid_pre)", "ln1.hook_scale|hook_normalized"),
            *self.attn.equations("u", "w"),
            (f"keys: of the query's group; {self.n_groups} groups, slices and combs in turn", ""),
            ("attn_out = b_1 w", "hook_attn_out"),
            ("resid_mid = a_1 resid_pre + attn_out", "hook_resid_mid"),
            ("u = ln2(resid_mid)", "ln2.hook_scale|hook_normalized"),
            *self.mlp.equations("u", "w"),
            ("mlp_out = b_2 w", "hook_mlp_out"),
            ("resid_post = x = a_2 resid_mid + mlp_out", "hook_resid_post"),
        ]


class Between(nn.Module):
    """The light MLP between two visits of a block: as wide inside as the stream."""

    def __init__(self, d_model: int):
        super().__init__()
        self.ln2, self.mlp = norms.LayerNorm(d_model), Mlp(d_model, d_model)

    def forward(self, x: Stream) -> Stream:
        return x + self.mlp(self.ln2(x))

    def declare(self, d) -> None:
        """Its sites: a depth without attention."""
        d.resid_pre()
        d.norm("ln2", "ln2", norms.role(self.ln2))
        self.mlp.declare(d, "mlp")
        d.site("hook_mlp_out", "mlp")
        d.site("hook_resid_post", "")
        d.done(d.add("hook_resid_pre", ("hook_mlp_out",), "hook_resid_post"))
