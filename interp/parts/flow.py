"""Flow attention (Flowformer; Wu et al. 2022, 2202.06258, section 3): linear attention that conserves flow.

    q, k = sigmoid(x W_q), sigmoid(x W_k)          capacities: queries are sinks, keys are sources
    i_t = q_t . sum_u k_u        o_u = k_u . sum_t q_t                       what flows in and out
    I_t = q_t . sum_u k_u / o_u  O_u = k_u . sum_t q_t / i_t                 the same, the other side conserved
    z_t = sigmoid(I_t) sum_u (q_t . k_u / i_t) c_u v_u,    c = n softmax(O)  allocation, competition

Shapes: q, k, v, z [batch, pos, head, d_head]; i, I, c [batch, pos, head]. Causal: each sum runs over the tokens up to
its own and flows are means, not sums. Surprises: in the causal form (the authors' code has it, the paper does not spell
it out) a source's outflow goes to the queries *before* it, those that will read it being in the future; and it competes
only with the sources before it, so that c_u is fixed when later queries come.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.mixer import by_head, declare, split
from interp.parts.spec import Spec

EPS = 1e-6


class Flow(nn.Module):
    """One flow-attention mixer: bidirectional, in the linear form, or causal, in the quadratic one, which keeps no
    state for every token and is faster up to some thousand of them."""

    mixes = ("mixer.hook_v", "mixer.hook_z")

    def __init__(self, spec: Spec, causal: bool = True):
        super().__init__()
        self.n_heads, self.causal = spec.n_heads, causal
        self.q, self.k, self.v, self.o = (nn.Linear(spec.d_model, spec.d_model) for _ in range(4))

    def forward(self, x: Float[Tensor, "batch pos d_model"], context: Context) -> Float[Tensor, "batch pos d_model"]:
        q, k, v = (split(project(x), self.n_heads) for project in (self.q, self.k, self.v))
        q, k = mark(self, "kernel_q", torch.sigmoid(q)), mark(self, "kernel_k", torch.sigmoid(k))
        inflow, allocation, competition = self.flows(q, k, context)
        mixed = (quadratic if self.causal else linear)(q, k, v * competition[..., None], self.causal)
        return self.o((mixed * (allocation / inflow)[..., None]).flatten(2))

    def flows(self, q: Tensor, k: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Inflow, allocation and competition of every token, [batch, pos, head]. Padding neither gives nor takes."""
        real = context.weight(q.dtype)[..., None]
        count = self._total(real).clamp(min=1)
        mean = count if self.causal else 1.0

        def flow(a: Tensor, b: Tensor) -> Tensor:
            return ((a + EPS) * (self._total(b * real[..., None]) + EPS)).sum(-1) / mean

        inflow = flow(q, k)
        allocation = torch.sigmoid(flow(q, k / flow(k, q)[..., None]))
        weight = flow(k, q / inflow[..., None]).clamp(-1.0, 1.0).exp() * real
        competition = weight / self._total(weight).clamp(min=EPS) * count
        return (mark(self, "inflow", inflow * mean), mark(self, "allocation", allocation),
                mark(self, "competition", competition))

    def _total(self, x: Tensor) -> Tensor:
        return total(x, self.causal)

    def mixing(self, cache, prefix: str) -> Float[Tensor, "batch head query key"]:
        """What takes `mixer.hook_v` to `mixer.hook_z`, in quadratic form."""
        read = by_head(cache, prefix)
        products = read("kernel_q") @ read("kernel_k").transpose(-1, -2)
        products = products.tril() if self.causal else products
        return (read("allocation") / read("inflow"))[..., None] * products * read("competition")[..., None, :]

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        declare(d, path, self.n_heads, "qkv", ("kernel_q", "kernel_k", "inflow", "allocation", "competition"))

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        till = "_u<=t" if self.causal else "_u"
        mean = "mean" if self.causal else "sum"
        return [
            (f"q_h, k_h, v_h = {x} W_q + b_q, {x} W_k + b_k, {x} W_v + b_v", "mixer.hook_q|k|v"),
            ("q_h, k_h = sigmoid(q_h), sigmoid(k_h)", "mixer.hook_kernel_q|kernel_k"),
            (f"i_t = q_t . sum{till} k_u", "mixer.hook_inflow"),
            (f"a_t = sigmoid(q_t . {mean}{till} k_u / o_u), o_t = k_t . {mean}{till} q_u", "mixer.hook_allocation"),
            (f"c_t = n softmax{till}(clamp(k_t . {mean}{till} q_u / i_u))", "mixer.hook_competition"),
            (f"z_t = a_t / i_t sum{till} (q_t . k_u) c_u v_u", "mixer.hook_z"),
            (f"{y} = sum_h z_h W_o,h + b_o", ""),
        ]



def total(x: Float[Tensor, "batch pos ..."], causal: bool) -> Tensor:
    """Sum over the positions that each position sees."""
    return x.cumsum(1) if causal else x.sum(1, keepdim=True)


def linear(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Float[Tensor, "batch pos head d_head"]:
    """sum_u (q_t . k_u) v_u as q_t times a state, whose size does not grow with the positions."""
    if causal:
        return (q[..., None, :] @ total(k[..., :, None] * v[..., None, :], causal))[..., 0, :]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return (q @ (k.transpose(-1, -2) @ v)).transpose(1, 2)


def quadratic(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Float[Tensor, "batch pos head d_head"]:
    """The same, as products of all queries with all keys."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    products = q @ k.transpose(-1, -2)
    return ((products.tril() if causal else products) @ v).transpose(1, 2)
