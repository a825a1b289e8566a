"""Mixture of recursions (Bae et al. 2025, 2507.10524): one block, visited as often as a router says of each token.

    token choice    depth_t = 1 + argmax softmax(x_t W_r) at the first visit; its probability weights the last visit,
                    those before weigh 1
    expert choice   at visit r the active tokens with the largest sigmoid(x_t w_r) stay, a set share of the prompt,
                    weighted by it; the others are out for good
    x_t += weight_t * (a_t + mlp(ln2(x_t + a_t)));   a = attn(ln1 x) among the active tokens   x [batch, pos, d_model]

A token that is out is handed on bit for bit, and nobody attends to it (the paper's recursion-wise cache). The paper
weights the block's output with its input in it; here it is what the block adds, so that weight 1 and capacity 1 are the
plain loop. Surprise: expert choice looks at the whole prompt to choose, so such a model is not causal though its
attention is; token choice is.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import Whole, mark
from interp.parts import norms
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.parts.mlp import Mlp
from interp.parts.spec import Spec

Stream = Float[Tensor, "batch pos d_model"]


class TokenChoice(nn.Module):
    """Each token's depth, decided at the first visit from what it is then."""

    causal = True

    def __init__(self, spec: Spec):
        super().__init__()
        self.router = nn.Linear(spec.d_model, spec.n_layers, bias=False)

    def forward(self, x: Stream, context: Context, state: tuple | None) -> tuple:
        """(weight [batch, pos, 1], state); the state is the visits left and the weight of the last one."""
        if state is None:
            logits = mark(self, "logits", self.router(x))
            left = mark(self, "depth", logits.argmax(-1) + 1)
            last = torch.softmax(logits, -1).gather(-1, left[..., None] - 1)
        else:
            left, last = state
        active = (left > 0)[..., None].to(last.dtype)
        ends = (left == 1)[..., None].to(last.dtype)
        return active * (1 - ends) + ends * last, left > 0, (left - 1, last)

    def declare(self, d) -> None:
        if d.visit == 0:
            d.site("router.hook_logits", "route", "logits")
            d.site("router.hook_depth", "route", "depth")

    def equations(self) -> list[tuple[str, str]]:
        return [("at d = 0: depth = 1 + argmax(resid_pre W_r), p = softmax(resid_pre W_r)[depth]",
                 "router.hook_logits|depth"),
                ("active: d < depth;  w = p at d = depth - 1, 1 before, 0 behind", "router.hook_weight")]


class ExpertChoice(nn.Module):
    """At every visit, the best of the tokens still active; `capacity` is the share of the prompt that stays (None: of
    n visits the r-th keeps 1 - r / n)."""

    causal = False

    def __init__(self, spec: Spec, capacity: float | None = None):
        super().__init__()
        n = spec.n_layers
        self.shares = [1 - r / n if capacity is None else capacity for r in range(n)]
        self.router = nn.Linear(spec.d_model, n, bias=False)

    def forward(self, x: Stream, context: Context, state: tuple | None) -> tuple:
        """(weight [batch, pos, 1], state); the state is the visit and who is active."""
        visit, active = state or (0, torch.ones(x.shape[:2], dtype=torch.bool))
        active = active if context.real is None else active & context.real
        gate = torch.sigmoid(mark(self, "logits", self.router(x)[..., visit: visit + 1]))
        active = self._best(gate[..., 0], active, context, self.shares[visit])
        return torch.where(active[..., None], gate, 0.0), active, (visit + 1, active)

    @staticmethod
    def _best(gate: Tensor, active: Tensor, context: Context, share: float) -> Tensor:
        """The `share` of a row's real tokens with the largest gate among the active ones."""
        n = torch.full((len(gate),), gate.shape[1]) if context.real is None else context.real.sum(1)
        count = torch.tensor([math.ceil(share * int(k) - 1e-6) for k in n])  # 2 / 3 of 9 is not 7
        order = torch.argsort(gate.masked_fill(~active, -1.0), dim=-1, descending=True, stable=True)
        return active & (order.argsort(-1) < count[:, None])

    def declare(self, d) -> None:
        d.site("router.hook_logits", "route", "logits")

    def equations(self) -> list[tuple[str, str]]:
        shares = ", ".join(f"{share:g}" for share in self.shares)
        return [("g = sigmoid(resid_pre w_d)", "router.hook_logits"),
                (f"active: the largest g among the active, shares of the prompt {shares}", ""),
                ("w = g where active, else 0", "router.hook_weight")]


class RecursionBlock(nn.Module):
    """The shared block. Takes the embeddings at the first visit, then (stream, the router's state)."""

    def __init__(self, spec: Spec, route=TokenChoice):
        super().__init__()
        self.ln1, self.ln2 = spec.norm(spec.d_model), spec.norm(spec.d_model)
        self.attn, self.mlp, self.route = Attention.of(spec), Mlp.of(spec), route(spec)

    def forward(self, x: Stream | tuple, context: Context) -> tuple:
        x, state = x if isinstance(x, tuple) else (x, None)
        weight, active, state = self.route(x, context, state)
        weight = mark(self, "weight", weight)
        attn_out = self.attn(self.ln1(x), context.only(active))
        mlp_out = self.mlp(self.ln2(x + attn_out))
        attn_out, mlp_out = mark(self, "attn", weight * attn_out), mark(self, "mlp", weight * mlp_out)
        return x + attn_out + mlp_out, state

    def declare(self, d) -> None:
        """Its sites at one visit: both branches weighted, one step."""
        d.resid_pre()
        self.route.declare(d)
        d.site("router.hook_weight", "", "weight")
        d.norm("ln1", "ln1", norms.role(self.ln1))
        self.attn.declare(d, "attn")
        d.norm("ln2", "ln2", norms.role(self.ln2))
        self.mlp.declare(d, "mlp")
        d.site("hook_attn_out", "", "attn")
        d.site("hook_mlp_out", "", "mlp")
        d.site("hook_resid_post", "", view=Whole(0))
        d.done(d.add("hook_resid_pre", ("hook_attn_out", "hook_mlp_out"), "hook_resid_post"))

    def equations(self) -> list[tuple[str, str]]:
        """What it computes: (equation, sites)."""
        return [
            ("resid_pre = x", "hook_resid_pre"),
            *self.route.equations(),
            ("u = ln1(resid_pre)", "ln1.hook_scale|hook_normalized"),
            *self.attn.equations("u", "a"),
            ("keys: active tokens", ""),
            ("u = ln2(resid_pre + a)", "ln2.hook_scale|hook_normalized"),
            *self.mlp.equations("u", "m"),
            ("attn_out, mlp_out = w a, w m", "hook_attn_out, hook_mlp_out"),
            ("resid_post = x = resid_pre + attn_out + mlp_out", "hook_resid_post"),
        ]
