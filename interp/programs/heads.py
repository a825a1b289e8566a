"""Attention by predicate: each query value looks for one key value.

Friedman, Wettig & Chen 2023, arXiv 2306.01128, sections 3.2 (categorical) and 3.4 (numerical):

    match[i, j] = sum over a, b of q[i, a] * predicate[a, b] * k[j, b]          rows of `predicate` are one-hot
    categorical: z[i] = v[closest j that matches; position 0 where none does]   numerical: z[i] = sum_j match[i, j] v[j]

Closest: any other position before the own one, near before far, left before right of two as near. While training, all
of this is relaxed. "None matches" is then max(0, 1 - sum of matches), given to position 0.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.programs.gates import Gates
from interp.programs.gumbel import Choice
from interp.programs.stream import Stream, read

_NO_MATCH = math.log(1e-20)  # score of a key that does not match
_SELF = -2.0  # preference of a position for itself: below all others, which lie in (-1.5, 0]


@dataclass
class Context:
    """What the operators of one forward share.

    `visible` [batch, query, key] is 1 where a query may look; `preference` [query, key] orders the matches.
    """

    choose: Choice
    visible: Float[Tensor, "batch query key"]
    preference: Float[Tensor, "query key"]


def preference(n: int, like: Tensor) -> Float[Tensor, "query key"]:
    """0 one place to the left, falling to about -1 at the far end; right just below left; itself last."""
    place = torch.arange(n, device=like.device)
    offset = place[None] - place[:, None]
    step = 1 / max(n - 1, 1)
    order = -(offset.abs() - 1) * step - (offset > 0) * step / 2
    return torch.where(offset == 0, _SELF, order).to(like.dtype)


class Predicates(nn.Module):
    """The key value that each query value looks for, for every head: [head, query value, key value]."""

    def __init__(self, heads: int, cardinality: int):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(heads, cardinality, cardinality))

    def forward(self, choose: Choice) -> Float[Tensor, "head value key_value"]:
        return choose(self.logits)


def matching(q: Float[Tensor, "head value batch pos"], k: Float[Tensor, "head value batch pos"],
             predicate: Float[Tensor, "head value key_value"]) -> Float[Tensor, "head batch query key"]:
    """1 where the key has the value that the query's predicate names."""
    wanted = torch.bmm(predicate.transpose(1, 2), q.flatten(2)).view(q.shape)
    return torch.einsum("hcbi,hcbj->hbij", wanted, k)


class CategoricalHeads(nn.Module):
    """Heads that copy a categorical variable from the closest match."""

    def __init__(self, heads: int, variables: int, cardinality: int):
        super().__init__()
        self.heads, self.cardinality = heads, cardinality
        self.gate_q, self.gate_k, self.gate_v = (Gates(heads, variables) for _ in range(3))
        self.predicate = Predicates(heads, cardinality)

    def forward(self, stream: Stream, context: Context) -> Float[Tensor, "row batch pos"]:
        """What the heads write: cardinality rows each."""
        choose = context.choose
        gates = [mark(self, f"gate_{name}", getattr(self, f"gate_{name}")(choose)) for name in "qkv"]
        predicate = mark(self, "predicate", self.predicate(choose))
        values = read(stream.symbols, torch.cat(gates), self.cardinality)
        q, k, v = (mark(self, name, part) for name, part in zip("qkv", values.split(self.heads)))
        scores = mark(self, "attn_scores", self.scores(matching(q, k, predicate), context))
        pattern = mark(self, "pattern", choose(scores))
        return mark(self, "z", torch.einsum("hbij,hcbj->hcbi", pattern, v)).flatten(0, 1)

    def scores(self, match: Float[Tensor, "head batch query key"], context: Context) -> Tensor:
        """Score of each key [head, batch, query, key]: matches far above the rest, close ones first."""
        match = match * context.visible
        missing = (1 - match.sum(-1, keepdim=True)).clamp(min=0)
        match = torch.cat([match[..., :1] + missing, match[..., 1:]], -1)
        # equal for 0 and 1; the logarithm has no usable gradient at 0
        found = _NO_MATCH * (1 - match) if context.choose.discrete else (match + 1e-20).log()
        scores = (found + context.preference) / math.sqrt(self.cardinality)
        return scores.masked_fill(context.visible == 0, -1e9)


class NumericalHeads(nn.Module):
    """Heads that add up a numerical variable over all matches (a count, where the variable is `ones`)."""

    def __init__(self, heads: int, variables: int, numbers: int, cardinality: int):
        super().__init__()
        self.heads, self.cardinality = heads, cardinality
        self.gate_q, self.gate_k = (Gates(heads, variables) for _ in range(2))
        self.gate_v = Gates(heads, numbers)
        self.predicate = Predicates(heads, cardinality)

    def forward(self, stream: Stream, context: Context) -> Float[Tensor, "row batch pos"]:
        """What the heads write: a row each."""
        choose = context.choose
        gate_q, gate_k, gate_v = (mark(self, f"gate_{name}", getattr(self, f"gate_{name}")(choose)) for name in "qkv")
        predicate = mark(self, "predicate", self.predicate(choose))
        values = read(stream.symbols, torch.cat([gate_q, gate_k]), self.cardinality)
        q, k = (mark(self, name, part) for name, part in zip("qk", values.split(self.heads)))
        v = mark(self, "v", read(stream.numbers, gate_v, 1)[:, 0])
        pattern = mark(self, "pattern", matching(q, k, predicate) * context.visible)
        return mark(self, "z", torch.einsum("hbij,hbj->hbi", pattern, v))
