"""What else could stand for a codebook: other ways of turning a vector into k numbers, at no fewer bits than a book's.

Each is fitted on vectors [token, group, d] and gives a function from vectors to ids [token, group, k]; none sees
a label.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from interp.codebook.book import Codebook
from interp.codebook.sae import TopKAutoencoder

Vectors = Float[Tensor, "token group d"]


class Rival(NamedTuple):
    """`encode(vectors)` gives k of `n` features; `bits` says how much a token's features tell per group."""

    encode: Callable[[Vectors], Int[Tensor, "token group k"]]
    n: int
    k: int

    @property
    def bits(self) -> float:
        return self.k * math.log2(self.n)


def rivals(x: Vectors, n: int, k: int, *, seed: int = 0, steps: int = 600) -> dict[str, Rival]:
    """The rivals of a book of n codes, k of them active, by name: "k-means", "random hash", "top-k autoencoder", "PCA",
    "neurons". `steps` is how long the autoencoder is trained."""
    groups, d = x.shape[1:]
    means = Codebook.random(n, d, groups=groups, k=k).fit(x, seed=seed)
    # of each of k random divisions of space, which of its about n regions a vector is in
    signs = max(1, round(math.log2(n)))
    with torch.enable_grad():
        autoencoder = TopKAutoencoder(n, d, k, groups, seed).fit(x.detach(), steps=steps, seed=seed)
    autoencoder.requires_grad_(False)
    active = max(1, round(k * math.log2(n) / math.log2(2 * d)))
    return {
        "k-means": Rival(means.encode, n, k),
        "random hash": Rival(_hash(x, signs, k, seed), k * 2**signs, k),
        "top-k autoencoder": Rival(autoencoder.encode, n, k),
        "PCA": Rival(strongest(principal(x), x, min(active, d)), 2 * d, min(active, d)),
        "neurons": Rival(strongest(lambda given: given, x, min(active, d)), 2 * d, min(active, d)),
    }


def principal(x: Vectors) -> Callable[[Vectors], Vectors]:
    """Principal components of each group, as a map of vectors."""
    centre = x.mean(0)
    axes = torch.linalg.eigh(torch.einsum("tgd,tge->gde", x - centre, x - centre) / len(x))[1]
    return lambda given: torch.einsum("tgd,gde->tge", given - centre, axes)


def strongest(see: Callable[[Vectors], Vectors], x: Vectors, k: int) -> Callable[[Vectors], Tensor]:
    """The k units that are furthest from their mean in standard deviations; each unit is two features, by its sign."""
    seen = see(x)
    centre, scale = seen.mean(0), seen.std(0).clamp(min=1e-9)

    def encode(given: Vectors) -> Tensor:
        z = (see(given) - centre) / scale
        units = z.abs().topk(k, -1)[1]
        return units + z.shape[-1] * (z.gather(-1, units) < 0)

    return encode


def _hash(x: Vectors, signs: int, k: int, seed: int) -> Callable[[Vectors], Tensor]:
    groups, d = x.shape[1:]
    centre = x.mean(0)
    planes = torch.randn(groups, d, k * signs, generator=Generator().manual_seed(seed))

    def encode(given: Vectors) -> Tensor:
        side = torch.einsum("tgd,gds->tgs", given - centre, planes).unflatten(-1, (k, signs)) > 0
        return (side * 2 ** torch.arange(signs)).sum(-1) + torch.arange(k) * 2**signs

    return encode
