"""Attention as an RNN (Aaren; Feng et al. 2024, 2405.13956, sections 3.2 and 3.3): softmax attention with one learned
query a layer, which every prefix is read with.

    s_u = q . k_u / sqrt(d_head)          z_t = sum_{u <= t} exp(s_u) v_u / sum_{u <= t} exp(s_u)
    state (m, c, w):  m = max s,  c = sum exp(s - m),  w = sum exp(s - m) v         joined by `join`, read as w / c

Shapes: q [head, d_head], k and v [batch, pos, head, d_head]; m and c [batch, head, pos], w [batch, head, pos, d_head].
The model computes the masked softmax, so that its pattern can be read; `prefix_scan` and `update` give the same from
states. Surprise: a position reads a prefix without asking anything, so that all rows of a pattern are one row, cut and
renormalised: what is looked for cannot depend on the token that looks.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.parts.attention import Attention
from interp.parts.spec import Spec


class State(NamedTuple):
    """What a prefix leaves behind: constant in size, whatever its length."""

    m: Tensor
    c: Tensor
    w: Tensor

    def read(self) -> Tensor:
        """The softmax average of the prefix's values."""
        return self.w / self.c[..., None]


def leaf(scores: Float[Tensor, "batch head pos"], v: Float[Tensor, "batch head pos d_head"]) -> State:
    """States of single tokens."""
    return State(scores, torch.ones_like(scores), v)


def join(a: State, b: State) -> State:
    """The state of two neighbouring pieces; associative, and safe where scores are large."""
    m = torch.maximum(a.m, b.m)
    left, right = (a.m - m).exp(), (b.m - m).exp()
    return State(m, a.c * left + b.c * right, a.w * left[..., None] + b.w * right[..., None])


def prefix_scan(scores: Float[Tensor, "batch head pos"], v: Float[Tensor, "batch head pos d_head"]) -> State:
    """States of all prefixes in ceil(log2 pos) joins (Hillis & Steele 1986), each over the whole sequence."""
    state, step, n = leaf(scores, v), 1, scores.shape[-1]
    while step < n:
        ahead = join(State(*(x[:, :, :-step] for x in state)), State(*(x[:, :, step:] for x in state)))
        state = State(*(torch.cat([old[:, :, :step], new], 2) for old, new in zip(state, ahead)))
        step *= 2
    return state


def update(state: State | None, score: Float[Tensor, "batch head"], v: Float[Tensor, "batch head d_head"]) -> State:
    """One more token; `state` is None before the first. The result's position axis has length 1."""
    new = leaf(score[..., None], v[:, :, None])
    return new if state is None else join(state, new)


class Query(nn.Module):
    """One vector for all prompts and positions, in the place of a projection."""

    bias = None

    def __init__(self, d: int):
        super().__init__()
        self.vector = nn.Parameter(torch.empty(d))

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d"]:
        return self.vector.expand(*x.shape[:-1], -1)

    def initialise(self, std: float, generator: torch.Generator) -> None:
        self.vector.normal_(0.0, 1.0, generator=generator)


class Aaren(Attention):
    """Causal attention with a learned query in place of the query projection."""

    def __init__(self, spec: Spec):
        super().__init__(spec.d_model, spec.n_heads, spec.n_kv_heads)
        self.q = Query(spec.d_model)

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        rows = super().equations(x, y)
        return [(rows[0][0].replace(f"{x} W_q + b_q,", "q_h learned,"), rows[0][1]), *rows[1:]]
