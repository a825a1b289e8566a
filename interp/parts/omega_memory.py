"""A memory that learns while it reads (ATLAS; Behrouz et al. 2025, 2505.23735, sections 3 to 5).

    M(f) = W_2 gelu(W_1 f), f = phi(k) = all monomials of k up to `degree`, those of degree i times c_i
    g_t = gradient of sum_{t-window < i <= t} w_i |M_t-1(phi(k_i)) - v_i|^2      Omega rule: a window, not one token
    S_t = p_t S_t-1 + g_t        M_t = a_t M_t-1 - e_t NS(S_t)                   momentum, forgetting, Muon's step
    z_t = M_t(phi(q_t))                              w, p, a, e = sigmoids of linear maps of the token, one a head

Shapes: q, k, v, z [batch, pos, head, d_head], q and k of length 1; a memory's weights [batch, pos, head, out, in], one
memory a head and prompt; its start is learned. NS: five Newton-Schulz steps towards the nearest orthogonal matrix. The
authors do not say how gates start: here a near 1 and e at 0.12. Surprises: "state" and "weights" are one thing here, so
that a layer has no fixed function of its input; and since NS sets all singular values near 1, how *far* a memory moves
is the step e_t alone, not how wrong it was.
"""

from itertools import combinations_with_replacement
from math import factorial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.mixer import declare, split
from interp.parts.spec import Spec

Weights = list[Tensor]
GATES = {"weight": 0.0, "retain": 4.0, "momentum": 0.0, "step": -2.0}  # with what their sigmoids start from


def monomials(x: Float[Tensor, "... d"], coefficients: Float[Tensor, " degree_plus_1"]) -> Float[Tensor, "... feature"]:
    """All products of up to `degree` entries of x, the constant first; those of degree i times coefficient i."""
    out = [coefficients[0].expand(*x.shape[:-1], 1)]
    for degree in range(1, len(coefficients)):
        index = torch.tensor(list(combinations_with_replacement(range(x.shape[-1]), degree)), device=x.device)
        out.append(x[..., index].prod(-1) * coefficients[degree])
    return torch.cat(out, -1)


def read(weights: Weights, f: Float[Tensor, "... feature"]) -> Float[Tensor, "... d_head"]:
    """What a memory gives for features: one linear map, or several with gelu between."""
    for i, w in enumerate(weights):
        f = (w @ (f if i == 0 else nn.functional.gelu(f))[..., None])[..., 0]
    return f


def gradient(weights: Weights, f: Tensor, v: Tensor, weight: Tensor) -> Weights:
    """Of sum_i weight_i |M(f_i) - v_i|^2 by each matrix. f [..., i, feature], v [..., i, d_head], weight [..., i]."""
    inputs, pre = [f], []
    for w in weights:
        pre.append(inputs[-1] @ w.transpose(-1, -2))
        inputs.append(nn.functional.gelu(pre[-1]))
    error = 2 * weight[..., None] * (pre[-1] - v)
    out: Weights = []
    for layer in range(len(weights) - 1, -1, -1):
        out.insert(0, error.transpose(-1, -2) @ inputs[layer])
        if layer:
            error = (error @ weights[layer]) * _gelu_slope(pre[layer - 1])
    return out


def _gelu_slope(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / 2**0.5)) + x * torch.exp(-x.square() / 2) / (2 * torch.pi) ** 0.5


def newton_schulz(x: Float[Tensor, "... out in"], steps: int = 5) -> Float[Tensor, "... out in"]:
    """A matrix with the same singular vectors and singular values near 1 (Jordan et al. 2024, Muon); 0 stays 0."""
    wide = x.shape[-2] > x.shape[-1]
    x = x.transpose(-1, -2) if wide else x
    x = x / (x.square().sum((-1, -2), keepdim=True) + 1e-14).sqrt()
    for _ in range(steps):
        square = x @ x.transpose(-1, -2)
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.transpose(-1, -2) if wide else x


def learn(
    start: Weights, f: Float[Tensor, "batch pos head feature"], v: Float[Tensor, "batch pos head d_head"],
    gates: dict[str, Float[Tensor, "batch pos head"]], window: int, muon: bool = True,
) -> Weights:
    """The memory behind every token: each matrix of `start` [head, out, in] as [batch, pos, head, out, in]."""
    f, v = f.transpose(1, 2), v.transpose(1, 2)  # [batch, head, pos, ...]
    weight, *others = (gates[name].transpose(1, 2) for name in GATES)
    memory = [w.expand(len(f), *w.shape) for w in start]
    speed, seen = [torch.zeros_like(w) for w in memory], []
    for t in range(f.shape[2]):
        retain, momentum, step = (gate[:, :, t, None, None] for gate in others)
        part = slice(max(0, t + 1 - window), t + 1)
        slopes = gradient(memory, f[:, :, part], v[:, :, part], weight[:, :, part])
        speed = [momentum * s + g for s, g in zip(speed, slopes)]
        memory = [retain * w - step * (newton_schulz(s) if muon else s) for w, s in zip(memory, speed)]
        seen.append(memory)
    return [torch.stack(parts, 1) for parts in zip(*seen)]


class OmegaMemory(nn.Module):
    """One such mixer; causal, and blind to padding. `hidden` None is a memory of one matrix, which starts empty;
    without Muon what it gives is linear in the values, so that its `mixing` can be written out."""

    def __init__(self, spec: Spec, window: int = 4, degree: int = 2, hidden: int | None = 16, muon: bool = True):
        super().__init__()
        d, h, d_head = spec.d_model, spec.n_heads, spec.d_model // spec.n_heads
        self.n_heads, self.window, self.muon = h, window, muon
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.gates = nn.ModuleDict({name: nn.Linear(d, h) for name in GATES})
        self.coefficients = nn.Parameter(torch.empty(degree + 1))
        with torch.device("cpu"):
            features = monomials(torch.zeros(d_head), torch.zeros(degree + 1)).shape[-1]
        self.n_features, self.linear = features, hidden is None and not muon
        sizes = [] if hidden is None else [features, hidden, d_head]
        self.start = nn.ParameterList(torch.empty(h, b, a) for a, b in zip(sizes, sizes[1:]))
        self.mixes = ("mixer.hook_v", "mixer.hook_z") if self.linear else None

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Starts of unit gain, Taylor coefficients of exp for the monomials."""
        for w in self.start:
            w.normal_(0.0, w.shape[-1] ** -0.5, generator=generator)
        for i in range(len(self.coefficients)):
            self.coefficients[i] = 1 / factorial(i)

    def forward(self, x: Float[Tensor, "batch pos d_model"], context: Context) -> Float[Tensor, "batch pos d_model"]:
        real = context.weight(x.dtype)[..., None]
        q, k, v = (split(project(x), self.n_heads) for project in (self.q, self.k, self.v))
        q, k = (nn.functional.normalize(part, dim=-1) for part in (q, k))
        gates = {name: torch.sigmoid(gate(x) + GATES[name]) for name, gate in self.gates.items()}
        for name, idle in zip(GATES, (0.0, 1.0, 1.0, 0.0)):  # padding teaches nothing and nothing is forgotten over it
            gates[name] = mark(self, name, gates[name] * real + idle * (1 - real))
        memory = learn(self._start(v), monomials(k, self.coefficients), v, gates, self.window, self.muon)
        flat = mark(self, "params", torch.cat([w.flatten(-2) for w in memory], -1))
        sizes = [w[0, 0, 0].numel() for w in memory]
        memory = [part.reshape(w.shape) for part, w in zip(flat.split(sizes, -1), memory)]
        return self.o(read(memory, monomials(q, self.coefficients)).flatten(2))

    def _start(self, v: Tensor) -> Weights:
        """What the memory holds before the first token; an empty one is as wide as the values that it will hold."""
        return list(self.start) or [v.new_zeros(self.n_heads, v.shape[-1], self.n_features)]

    def mixing(self, cache, prefix: str) -> Float[Tensor, "batch head query key"]:
        """What takes `mixer.hook_v` to `mixer.hook_z`: what the same memory gives for values that name their token."""
        q, k = (monomials(nn.functional.normalize(cache[f"{prefix}.mixer.hook_{letter}"], dim=-1), self.coefficients)
                for letter in "qk")
        gates = {name: cache[f"{prefix}.memory.hook_{name}"] for name in GATES}
        names = torch.eye(k.shape[1], dtype=k.dtype, device=k.device)[None, :, None].expand(*k.shape[:3], -1)
        memory = learn(self._start(names), k, names, gates, self.window, muon=False)
        return read(memory, q).transpose(1, 2)

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        for name in GATES:
            d.site(f"memory.hook_{name}", path, name, heads=self.n_heads)
        d.site("memory.hook_params", path, "params", heads=self.n_heads)
        declare(d, path, self.n_heads, "qkv", ())

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        step = "NS(S_t)" if self.muon else "S_t"
        return [
            (f"q_h, k_h, v_h = {x} W_q, {x} W_k, {x} W_v; q_h, k_h of length 1", "mixer.hook_q|k|v"),
            (f"w, a, p, e = sigmoid({x} W + b), each its own, with 4 added for a and 2 taken off for e",
             "memory.hook_weight|retain|momentum|step"),
            (f"g_t = gradient of sum_i w_i |M_t-1(phi(k_i)) - v_i|^2, the last {self.window} tokens i", ""),
            (f"S_t = p_t S_t-1 + g_t;  M_t = a_t M_t-1 - e_t {step}{', from 0' if not len(self.start) else ''}",
             "memory.hook_params"),
            (f"z_t = M_t(phi(q_t)), phi: monomials up to degree {len(self.coefficients) - 1}", "mixer.hook_z"),
            (f"{y} = sum_h z_h W_o,h", ""),
        ]
