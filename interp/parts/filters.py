"""What a key or query takes from the token before it: momentum (Momentum attention: the physics of in-context learning
and spectral forensics, paper 199), and its controls: smeared keys (Olsson et al. 2022, 2209.11895, section on smeared
keys), a short convolution on keys (Fu et al. 2022, 2212.14052), token shift (Peng et al. 2023, 2305.13048).

    momentum      q_t, k_t <- q_t + g (q_t - q_t-1), k_t + g (k_t - k_t-1)             behind rotary; no parameters
    smear         k_t <- s k_t + (1 - s) k_t-1,   s = sigmoid(a_h)                      one number a head
    short conv    k_t <- sum_j w_j * k_t-j                                              one number a channel and lag
    token shift   x_t <- m * x_t + (1 - m) * x_t-1                                      in front of all projections

Shapes: q and k [batch, head, pos, d_head], x [batch, pos, d_model]. All four let one layer do what an induction head
needs two for: match the token before a key. Surprise: in momentum the earlier key enters with a *negative* sign, so
that a matching head must learn W_Q W_K^T with the sign turned; and where positions are rotary, q_t-1 was turned for
t - 1, so that filtering before and behind them differ.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.parts.context import Context

Rows = list[tuple[str, str]]
Pair = tuple[Tensor, Tensor]


def before(x: Float[Tensor, "... pos d"], context: Context, lag: int = 1, first: float = 1.0) -> Tensor:
    """x of `lag` tokens earlier; where a row has no such token, `first` times its own."""
    n = x.shape[-2]
    earlier = torch.cat([x[..., : min(lag, n), :], x[..., : max(n - lag, 0), :]], -2)
    there = (context.place >= lag).to(x.dtype)[..., None]
    there = there[:, None] if x.dim() == 4 else there
    return earlier * there + x * (first * (1 - there))


class Momentum(nn.Module):
    """Adds to queries and keys `gamma` times their change since the token before: a high-pass filter."""

    def __init__(self, n_heads: int, d_head: int, gamma: float = 0.5):
        super().__init__()
        self.gamma = gamma

    def forward(self, q: Tensor, k: Tensor, context: Context) -> Pair:
        return tuple(x + self.gamma * (x - before(x, context)) for x in (q, k))

    def response(self, omega: Float[Tensor, " frequency"]) -> Float[Tensor, " frequency"]:
        """Gain at an angular frequency (radians a token), |1 + g - g exp(-i w)|: 1 at 0, 1 + 2 g at pi."""
        return (1 + 2 * self.gamma * (1 + self.gamma) * (1 - omega.cos())).sqrt()

    def equations(self) -> Rows:
        g = f"{self.gamma:g}"
        return [(f"q_t, k_t = q_t + {g} (q_t - q_t-1), k_t + {g} (k_t - k_t-1)", "attn.hook_rot_q|rot_k")]


class Smear(nn.Module):
    """Keys between their own value and the one before, by one learned number a head."""

    def __init__(self, n_heads: int, d_head: int):
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(n_heads, 1, 1))

    def forward(self, q: Tensor, k: Tensor, context: Context) -> Pair:
        share = torch.sigmoid(self.logit)
        return q, share * k + (1 - share) * before(k, context)

    def initialise(self, std: float, generator: torch.Generator) -> None:
        self.logit.fill_(0.0)

    def equations(self) -> Rows:
        return [("k_t = s_h k_t + (1 - s_h) k_t-1, s_h = sigmoid(a_h)", "attn.hook_rot_q|rot_k")]


class ShortConv(nn.Module):
    """Keys through a causal convolution of `width` tokens, one filter a channel; starts near the identity."""

    def __init__(self, n_heads: int, d_head: int, width: int = 3):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, n_heads, 1, d_head))

    def forward(self, q: Tensor, k: Tensor, context: Context) -> Pair:
        return q, sum(w * before(k, context, lag, first=0.0) for lag, w in enumerate(self.weight))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        self.weight.normal_(0.0, std, generator=generator)
        self.weight[0] += 1.0

    def equations(self) -> Rows:
        return [(f"k_t = sum_j w_j * k_t-j, j < {len(self.weight)}", "attn.hook_rot_q|rot_k")]


class TokenShift(nn.Module):
    """The input of the projections between this token and the one before, by one learned number a channel. RWKV has
    three of these, for query, key and value."""

    def __init__(self, d_model: int):
        super().__init__()
        self.share = nn.Parameter(torch.empty(d_model))

    def forward(self, x: Float[Tensor, "batch pos d_model"], context: Context) -> Float[Tensor, "batch pos d_model"]:
        return self.share * x + (1 - self.share) * before(x, context)

    def initialise(self, std: float, generator: torch.Generator) -> None:
        self.share.fill_(0.5)

    def equations(self, x: str) -> Rows:
        return [(f"r_t = m * {x}_t + (1 - m) * {x}_t-1", "attn.hook_shift")]
