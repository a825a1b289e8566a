"""Choices that can be learned: a relaxed sample while training, the best option afterwards.

Jang, Gu & Poole 2017, arXiv 1611.01144; Maddison, Mnih & Teh 2017, arXiv 1611.00712.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

Mode = Literal["soft", "straight", "argmax"]


@dataclass
class Choice:
    """How options are chosen from logits, everywhere in a model.

    "soft": softmax((logits + Gumbel noise) / tau). "straight": its largest entry as a one-hot, with the gradient of the
    soft one. "argmax": the largest logit (the first of equals) as a one-hot, without noise, with the gradient of
    softmax(logits). Noise is drawn from `generator`.
    """

    mode: Mode = "argmax"
    tau: float = 1.0
    generator: Generator | None = None

    @property
    def discrete(self) -> bool:
        """Whether every choice is exactly one-hot."""
        return self.mode != "soft"

    def __call__(self, logits: Float[Tensor, "..."], dim: int = -1) -> Float[Tensor, "..."]:
        """The choice along `dim`; every slice sums to 1."""
        if self.mode == "argmax":
            hard = one_hot_of_largest(logits, dim)
            return through(hard, logits.softmax(dim)) if logits.requires_grad else hard
        soft = ((logits + gumbel(logits, self.generator)) / self.tau).softmax(dim)
        return soft if self.mode == "soft" else through(one_hot_of_largest(soft, dim), soft)


def gumbel(like: Tensor, generator: Generator | None) -> Tensor:
    """Standard Gumbel noise of the shape of `like`."""
    drawn = torch.empty_like(like, requires_grad=False, memory_format=torch.contiguous_format)
    # a fifth of the time of torch's own exponential; a draw of 0 does happen, and its logarithm is infinite
    return drawn.uniform_(generator=generator).clamp_(min=1e-20).log_().neg_().log_().neg_()


def one_hot_of_largest(x: Tensor, dim: int) -> Tensor:
    """1 at the first of the largest entries along `dim`, 0 elsewhere."""
    x = x.detach()
    return torch.zeros_like(x).scatter_(dim, x.argmax(dim, keepdim=True), 1.0)


def through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of `hard`, bit for bit, with the gradient of `soft`."""
    return hard + (soft - soft.detach())
