"""The Legendre memory unit as a token mixer (LMUFormer; Liu et al. 2024, 2402.04882, section 3; the memory is that of
Voelker et al. 2019, Legendre memory units).

    u_t = relu(BN(x_t w_u))                     one number a token
    m_t = A m_t-1 + B u_t                       fixed: a window of the last `window` u as `order` Legendre coefficients
    h_t = relu(BN([m_t; x_t] W_h))              out = BN(h W_o)
    continuous: m' = (a m + b u) / window,  a_ij = (2i+1)(-1 if i < j else (-1)^(i-j+1)),  b_i = (2i+1)(-1)^i;
    A = exp(a / window), B = a^-1 (A - 1) b     (u held within a step)

Shapes: u [batch, pos, 1], m [batch, pos, order], h [batch, pos, d_mlp]. Since A and B are fixed, m is a convolution of
u: the model sums it in one product, which equals the recurrence and the FFT. Surprises: all mixing of tokens passes
through one number a token and layer; nothing in the memory is learned.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts.batch_norm import BatchNorm
from interp.parts.context import Context
from interp.parts.spec import Spec


@lru_cache(maxsize=8)
def system(order: int, window: float) -> tuple[Tensor, Tensor]:
    """The discrete memory in float64: A [order, order] and B [order]."""
    i = torch.arange(order, dtype=torch.float64)
    sign = torch.where(i[:, None] < i, -1.0, (-1.0) ** (i[:, None] - i + 1))
    a = (2 * i[:, None] + 1) * sign / window
    b = (2 * i + 1) * (-1.0) ** i / window
    A = torch.linalg.matrix_exp(a)
    return A, torch.linalg.solve(a, (A - torch.eye(order, dtype=torch.float64)) @ b)


@lru_cache(maxsize=8)
def impulse(order: int, window: float, n: int) -> Float[Tensor, "pos order"]:
    """What a single u of 1 leaves in the memory after 0, 1 ... n - 1 further steps, in float64."""
    A, response = system(order, window)
    out = []
    for _ in range(n):
        out.append(response)
        response = A @ response
    return torch.stack(out)


@lru_cache(maxsize=8)
def toeplitz(order: int, window: float, n: int) -> Float[Tensor, "query key order"]:
    """The same as a matrix from every u to every later memory."""
    lag = torch.arange(n)[:, None] - torch.arange(n)
    return impulse(order, window, n)[lag.clamp(min=0)] * (lag >= 0)[..., None]


def recurrent(u: Float[Tensor, "batch pos"], order: int, window: float) -> Float[Tensor, "batch pos order"]:
    """The memory step by step: what a stream of tokens needs, order numbers at a time."""
    A, B = (x.to(u) for x in system(order, window))
    m, out = u.new_zeros(len(u), order), []
    for t in range(u.shape[1]):
        m = m @ A.T + u[:, t, None] * B
        out.append(m)
    return torch.stack(out, 1)


def by_fft(u: Float[Tensor, "batch pos"], order: int, window: float) -> Float[Tensor, "batch pos order"]:
    """The memory as a convolution by FFT, as the paper trains it; rounding spreads over all positions."""
    n = u.shape[1]
    response = impulse(order, window, n).to(u)
    product = torch.fft.rfft(u, 2 * n)[..., None] * torch.fft.rfft(response, 2 * n, dim=0)
    return torch.fft.irfft(product, 2 * n, dim=1)[:, :n]


def reconstruct(m: Float[Tensor, "... order"], points: Float[Tensor, " point"]) -> Float[Tensor, "... point"]:
    """u at `points` of the window, 0 now and 1 at its far end: sum_i m_i P_i(2 p - 1)."""
    x = 2 * points - 1
    basis = [torch.ones_like(x), x]
    for i in range(1, m.shape[-1] - 1):
        basis.append(((2 * i + 1) * x * basis[i] - i * basis[i - 1]) / (i + 1))
    return m @ torch.stack(basis[: m.shape[-1]])


class Lmu(nn.Module):
    """One such mixer; causal, and blind to padding. The window is the spec's context."""

    mixes = ("mixer.hook_u", "mixer.hook_memory")

    def __init__(self, spec: Spec, order: int = 8):
        super().__init__()
        d, hidden = spec.d_model, spec.d_mlp or 4 * spec.d_model
        self.order, self.window = order, float(spec.n_ctx)
        self.u, self.u_norm = nn.Linear(d, 1, bias=False), BatchNorm(1)
        self.h, self.h_norm = nn.Linear(order + d, hidden, bias=False), BatchNorm(hidden)
        self.o, self.o_norm = nn.Linear(hidden, d, bias=False), BatchNorm(d)

    def forward(self, x: Float[Tensor, "batch pos d_model"], context: Context) -> Float[Tensor, "batch pos d_model"]:
        u = torch.relu(self.u_norm(self.u(x))) * context.weight(x.dtype)[..., None]
        u = mark(self, "u", u)
        memory = torch.einsum("qko,bk->bqo", toeplitz(self.order, self.window, x.shape[1]).to(x), u[..., 0])
        memory = mark(self, "memory", memory)
        h = mark(self, "h", torch.relu(self.h_norm(self.h(torch.cat([memory, x], -1)))))
        return self.o_norm(self.o(h))

    def mixing(self, cache, prefix: str) -> Float[Tensor, "batch order query key"]:
        """What takes `mixer.hook_u` to `mixer.hook_memory`: the same for all inputs."""
        u = cache[f"{prefix}.mixer.hook_u"]
        matrix = toeplitz(self.order, self.window, u.shape[1]).to(u)
        return matrix.permute(2, 0, 1).expand(len(u), -1, -1, -1)

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        for point in ("u", "memory", "h"):
            d.site(f"mixer.hook_{point}", path, point)

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [
            (f"u = relu(BN({x} w_u))", "mixer.hook_u"),
            (f"m_t = A m_t-1 + B u_t, {self.order} Legendre coefficients of {self.window:g} tokens",
             "mixer.hook_memory"),
            (f"h = relu(BN([m; {x}] W_h))", "mixer.hook_h"),
            (f"{y} = BN(h W_o)", ""),
        ]


class BatchNormMlp(nn.Module):
    """LMUFormer's channel mixer: two pointwise convolutions, each with a batch norm."""

    def __init__(self, spec: Spec):
        super().__init__()
        hidden = spec.d_mlp or 4 * spec.d_model
        self.up, self.up_norm, self.act = nn.Linear(spec.d_model, hidden, bias=False), BatchNorm(hidden), nn.ReLU()
        self.down, self.down_norm = nn.Linear(hidden, spec.d_model, bias=False), BatchNorm(spec.d_model)

    def forward(
        self, x: Float[Tensor, "batch pos d_model"], context: Context | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        return self.down_norm(self.down(self.act(self.up_norm(self.up(x)))))

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        d.mlp(pre=f"{path}.up_norm", act=f"{path}.act", out=f"{path}.down")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [(f"pre = BN({x} W_up)", "mlp.hook_pre"), ("post = relu(pre)", "mlp.hook_post"),
                (f"{y} = BN(post W_down)", "")]
