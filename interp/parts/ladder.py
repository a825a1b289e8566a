"""Ladder residual (Zhang et al. 2025, 2501.06589): every branch reads the stream one branch late.

    a_i = attn(ln1(s_i - m_{i-1}));   m_i = mlp(ln2(s_i));   s_{i+1} = s_i + a_i + m_i           s [batch, pos, d_model]

s_i is the sum of everything written before block i, so attention misses the MLP before it and the MLP the attention
beside it; both are added for whoever comes next. The block hands on two tensors: s and s without its last MLP.
Surprise: the equation of the stream is that of GPT; only what is read differs, so `hook_resid_pre` is not what `ln1`
sees.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import Whole, mark
from interp.parts import norms
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.parts.mlp import Mlp
from interp.parts.spec import Spec

Stream = Float[Tensor, "batch pos d_model"]


class LadderBlock(nn.Module):
    """Attention on the late stream and an MLP beside it. Takes and returns (stream, late stream); at first both are
    the embeddings. With a `lag` of 0 nothing is late: the block of GPT."""

    def __init__(self, spec: Spec, lag: Literal[0, 1] = 1):
        super().__init__()
        self.lag = lag
        self.ln1, self.ln2 = spec.norm(spec.d_model), spec.norm(spec.d_model)
        self.attn, self.mlp = Attention.of(spec), Mlp.of(spec)

    def forward(self, x: Stream | tuple[Stream, Stream], context: Context) -> tuple[Stream, Stream]:
        stream, late = x if isinstance(x, tuple) else (x, x)
        mid = mark(self, "mid", stream + self.attn(self.ln1(late if self.lag else stream), context))
        mlp_out = self.mlp(self.ln2(stream if self.lag else mid))
        return mid + mlp_out, mid

    def declare(self, d) -> None:
        """Its sites and the equation of its stream."""
        d.resid_pre()
        d.norm("ln1", "ln1", norms.role(self.ln1))
        self.attn.declare(d, "attn")
        d.site("hook_attn_out", "attn")
        d.norm("ln2", "ln2", norms.role(self.ln2))
        self.mlp.declare(d, "mlp")
        d.site("hook_mlp_out", "mlp")
        d.site("hook_resid_mid", "", "mid")
        d.site("hook_resid_post", "", view=Whole(0))
        d.pre_norm()

    def equations(self) -> list[tuple[str, str]]:
        """What it computes: (equation, sites)."""
        return [
            ("resid_pre = x", "hook_resid_pre"),
            (f"u = ln1({'late), late the resid_mid of the block before' if self.lag else 'resid_pre)'}",
             "ln1.hook_scale|hook_normalized"),
            *self.attn.equations("u", "attn_out"),
            (f"u = ln2({'resid_pre' if self.lag else 'resid_mid'})", "ln2.hook_scale|hook_normalized"),
            *self.mlp.equations("u", "mlp_out"),
            ("resid_mid = late = resid_pre + attn_out", "hook_attn_out, hook_resid_mid"),
            ("resid_post = x = resid_mid + mlp_out", "hook_mlp_out, hook_resid_post"),
        ]
