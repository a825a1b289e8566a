"""CRATE (Yu et al. 2023, 2306.01129; code as in 2311.13110): a block that compresses, then makes sparse.

    MSSA    u_h = ln1(x) U_h;   x = x + sum_h softmax(u_h u_h^T / sqrt(d_head)) u_h W_o,h     x [batch, pos, d_model]
    ISTA    v = ln2(x);   x = relu(v + eta (v D - (v D^T) D) - eta lambda)                     D [d_model, d_model]

U_h is query, key and value of head h, the basis of a subspace; attention is a step down the coding rate of the tokens
in it. ISTA is a step of sparse coding of v in the dictionary D, and the code replaces the stream. Surprises: nothing of
the stream passes a block unchanged, `resid_post` is the MLP's own output and never negative; and the pattern is of a
symmetric matrix, so a token attends to another as strongly as the other scores it. `coding_rate` is what MSSA lowers.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from interp.hooks import semantic
from interp.hooks.tap import IN, Heads, Result, mark
from interp.parts import norms

Stream = Float[Tensor, "batch pos d_model"]


class Mssa(nn.Module):
    """Multi-head subspace self-attention."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads, self.d_head = n_heads, d_model // n_heads
        self.u, self.o = nn.Linear(d_model, d_model, bias=False), nn.Linear(d_model, d_model)

    def forward(self, x: Stream) -> Stream:
        u = self.u(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        z = semantic.attention(u, u, u, scale=self.d_head**-0.5, mark=partial(mark, self))
        return self.o(z.transpose(1, 2).flatten(2))

    def declare(self, d, path: str) -> None:
        """Its sites: those of attention with one projection in place of three."""
        n = self.n_heads
        d.site("attn.hook_u", f"{path}.u", view=Heads(n), heads=n)
        d.site("attn.hook_attn_scores", path, "attn_scores", heads=n)
        d.site("attn.hook_pattern", path, "pattern", heads=n, pattern="softmax")
        d.site("attn.hook_z", f"{path}.o", IN, Heads(n), heads=n)
        d.site("attn.hook_result", f"{path}.o", view=Result(n), heads=n)
        for letter in "qkv":
            d.map.absent[d.name(f"attn.hook_{letter}")] = "query, key and value are one projection: use attn.hook_u"


class Ista(nn.Module):
    """One step of iterative soft thresholding, for codes that are not negative."""

    def __init__(self, d_model: int, step: float = 0.1, threshold: float = 0.1):
        super().__init__()
        self.step, self.threshold = step, threshold
        self.dictionary = nn.Parameter(torch.zeros(d_model, d_model))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Of the size that torch gives a linear map: entries of variance 1 / (3 d_model)."""
        self.dictionary.normal_(0.0, (3 * len(self.dictionary)) ** -0.5, generator=generator)

    def forward(self, v: Stream) -> Stream:
        there = F.linear(v, self.dictionary)
        gradient = F.linear(v - there, self.dictionary.T)
        return torch.relu(mark(self, "step", v + self.step * (gradient - self.threshold)))


class CrateBlock(nn.Module):
    """MSSA is added to the stream, ISTA replaces it."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.ln1, self.ln2 = norms.LayerNorm(d_model), norms.LayerNorm(d_model)
        self.attn, self.ista = Mssa(d_model, n_heads), Ista(d_model)

    def forward(self, x: Stream) -> Stream:
        return self.ista(self.ln2(mark(self, "mid", x + self.attn(self.ln1(x)))))

    def declare(self, d) -> None:
        """Its sites; nothing is kept of the stream behind ISTA."""
        d.resid_pre()
        d.norm("ln1", "ln1", norms.role(self.ln1))
        self.attn.declare(d, "attn")
        d.site("hook_attn_out", "attn")
        d.site("hook_resid_mid", "", "mid")
        d.norm("ln2", "ln2", norms.role(self.ln2))
        d.site("ista.hook_step", "ista", "step")
        d.site("hook_mlp_out", "ista")
        d.site("hook_resid_post", "")
        d.done(d.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_mid"),
               d.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post", keep=0.0))

    def equations(self) -> list[tuple[str, str]]:
        """What it computes: (equation, sites)."""
        eta, threshold = self.ista.step, self.ista.threshold
        return [
            ("resid_pre = x", "hook_resid_pre"),
            ("u_h = ln1(resid_pre) U_h", "ln1.hook_scale|hook_normalized, attn.hook_u"),
            (f"s_h = u_h u_h^T / sqrt({self.attn.d_head})", "attn.hook_attn_scores"),
            ("A_h = softmax(s_h)", "attn.hook_pattern"),
            ("z_h = A_h u_h", "attn.hook_z"),
            ("attn_out = sum_h z_h W_o,h + b_o", "attn.hook_result, hook_attn_out"),
            ("resid_mid = resid_pre + attn_out", "hook_resid_mid"),
            ("v = ln2(resid_mid)", "ln2.hook_scale|hook_normalized"),
            (f"step = v + {eta:g} (v D - (v D^T) D) - {eta * threshold:g}", "ista.hook_step"),
            ("mlp_out = relu(step)", "hook_mlp_out"),
            ("resid_post = x = mlp_out", "hook_resid_post"),
        ]


def coding_rate(
    tokens: Float[Tensor, "batch pos d_model"], bases: Float[Tensor, "head d_head d_model"], eps: float = 0.5
) -> Float[Tensor, " batch"]:
    """R^c(Z | U): nats to code the tokens of each row in every subspace up to `eps`, summed over subspaces.

    sum_h 1/2 log det(1 + d_head / (n eps^2) U_h Z Z^T U_h^T), with Z [d_model, n] (section 2.2 of 2306.01129).
    """
    codes = torch.einsum("bpd,hed->bhep", tokens, bases)
    d_head, n = codes.shape[-2:]
    gram = d_head / (n * eps**2) * codes @ codes.transpose(-1, -2)
    return 0.5 * torch.logdet(torch.eye(d_head, dtype=gram.dtype) + gram).sum(-1)
