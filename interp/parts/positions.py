"""Where a token stands: written to the stream (learned, sinusoidal), turned into queries and keys (rotary) or
added to the scores (ALiBi).

`where` says which: "stem", "queries" or "scores". Every class is made from the sizes it needs.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Learned(nn.Embedding):
    """x += P[place]: one free vector a position (Gehring et al. 2017, 1705.03122).

    Surprise: it knows nothing beyond the longest position it was trained on.
    """

    where = "stem"
    equation = "P[place]"


class Sinusoidal(nn.Module):
    """x += P(place), P_2i = sin(place / 10000^(2i/d)), P_2i+1 = cos(same) (Vaswani et al. 2017, 1706.03762, 3.5).

    Surprise: entries are of size 1 whatever the embeddings are, so that embeddings are usually scaled up beside it;
    here they are not, and learn it.
    """

    where = "stem"
    equation = "sin, cos of place / 10000^(2i/d)"

    def __init__(self, n_ctx: int, d_model: int):
        super().__init__()
        self.d_model = d_model

    def forward(self, place: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        angle = _angles(place, self.d_model, 10000.0)
        return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[..., : self.d_model]


class Rotary(nn.Module):
    """q_m, k_n -> R_m q_m, R_n k_n, so that their product knows m - n only (Su et al. 2021, 2104.09864).

    Pairs are (i, i + d/2), as in Llama, not the paper's (2i, 2i + 1): a fixed permutation of the head's units.
    Surprise: values carry no position, so that what a head moves is free of it.
    """

    where = "queries"
    equation = "R(place)"

    def __init__(self, theta: float = 10000.0):
        super().__init__()
        self.theta = theta

    def forward(
        self, x: Float[Tensor, "batch head pos d_head"], place: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch head pos d_head"]:
        angle = _angles(place, x.shape[-1], self.theta)[:, None]
        cos, sin = (torch.cat([part, part], -1).to(x.dtype) for part in (angle.cos(), angle.sin()))
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin


class Alibi(nn.Module):
    """scores_mn -= slope_h |m - n|, slopes 2^(-8/H), 2^(-16/H) ... (Press et al. 2021, 2108.12409, section 3).

    Surprise: no parameter, no term in the stream, and steep heads see only a few tokens back.
    """

    where = "scores"
    equation = "- slope_h |query - key|"

    def __init__(self, n_heads: int):
        super().__init__()
        self.slopes = slopes(n_heads)

    def forward(self, place: Int[Tensor, "batch pos"], dtype: torch.dtype) -> Float[Tensor, "batch head query key"]:
        distance = (place[:, :, None] - place[:, None, :]).abs()[:, None].to(dtype)
        slope = torch.tensor(self.slopes, dtype=dtype, device=place.device)
        return -slope[:, None, None] * distance


def slopes(n_heads: int) -> list[float]:
    """Slope of every head; where n_heads is no power of two, every other slope of the next power fills up."""
    power = 2 ** math.floor(math.log2(n_heads))
    base = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    between = [2 ** (-4 * (i + 1) / power) for i in range(0, 2 * power, 2)]
    return base + between[: n_heads - power]


def _angles(place: Tensor, width: int, theta: float) -> Tensor:
    """place times each of ceil(width / 2) frequencies, [batch, pos, half], in float32: half precision is too coarse."""
    power = torch.arange(0, width, 2, device=place.device, dtype=torch.float32) / width
    return place[..., None].float() * theta**-power
