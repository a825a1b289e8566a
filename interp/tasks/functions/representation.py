"""Linear functions of a fixed representation (Guo et al. 2023, How do transformers learn in-context beyond simple
functions?, arXiv 2310.10616, section 4).

    y = w . Phi(x) + sigma z,  w ~ N(0, tau^2 I)         Phi: random orthogonal maps with leaky ReLU (0.01) behind each
    mixture: each prompt has one of K representations    dynamical: x_i+1 = W Phi([x_i-m+1 .. x_i]) + sigma z

Phi is the same for all prompts and drawn from `phi_seed`. Surprise: one layer of leaky ReLU is half linear, so that
much of Phi(x) can be read off x itself.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor
from torch.nn.functional import leaky_relu

from interp.tasks.functions.episodes import Drawn, Episodes, Latents, check_counts
from interp.tasks.functions.linear import inner, rotations
from interp.tasks.functions.solve import mixture_posterior, posterior


@cache
def maps(d: int, layers: int, seed: int) -> Tensor:
    """The orthogonal maps of Phi, [layers, d, d]."""
    return rotations(layers, d, torch.Generator().manual_seed(seed))


def phi(xs: Tensor, layers: int, seed: int) -> Tensor:
    """Phi(x), [..., d]."""
    for matrix in maps(xs.shape[-1], layers, seed):
        xs = leaky_relu(xs @ matrix.to(xs.dtype), 0.01)
    return xs


@cache
def mean_square(d: int, layers: int, seed: int) -> float:
    """E |Phi(x)|^2, from 20000 draws."""
    xs = torch.randn(20_000, d, generator=torch.Generator().manual_seed(seed))
    return float((phi(xs, layers, seed) ** 2).sum(-1).mean())


@dataclass(frozen=True, kw_only=True)
class Representation(Drawn):
    """y = w . Phi(x) + noise z. Bayes: ridge on Phi with penalty (noise / tau)^2. With `kinds` above 1 every prompt has
    one of so many representations, latent "kind", and Bayes weighs one ridge for each."""

    d: int = 5
    layers: int = 1
    noise: float = 0.0
    tau: float = 1.0
    kinds: int = 1
    phi_seed: int = 0

    def __post_init__(self) -> None:
        check_counts(d=self.d, layers=self.layers, kinds=self.kinds)

    @property
    def name(self) -> str:
        return "representation" if self.kinds == 1 else "representations"

    @property
    def scale(self) -> float:
        mean = sum(mean_square(self.d, self.layers, self.phi_seed + i) for i in range(self.kinds)) / self.kinds
        return self.tau**2 * mean + self.noise**2

    def phi(self, xs: Tensor, kind: int = 0) -> Tensor:
        """Representation number `kind` of points [..., d]."""
        return phi(xs, self.layers, self.phi_seed + kind)

    def latents(self, batch: int, generator: Generator) -> Latents:
        w = self.tau * torch.randn(batch, self.d, generator=generator)
        return {"w": w, "kind": torch.randint(self.kinds, (batch,), generator=generator)}

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        every = torch.stack([self.phi(xs, i) for i in range(self.kinds)])
        return inner(every[latents["kind"], torch.arange(len(xs))], latents["w"])

    def observed(self, values: Tensor, generator: Generator) -> Tensor:
        return values + self.noise * torch.randn(values.shape, generator=generator) if self.noise else values

    def ridges(self, xs: Tensor, ys: Tensor) -> Tensor:
        """The prediction of each representation's own ridge, [kind, batch, n]."""
        return torch.stack([posterior(self.tau * self.phi(xs, i), ys, self.noise**2) for i in range(self.kinds)])

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor:
        if self.kinds == 1:
            return self.ridges(xs, ys)[0]
        every = torch.stack([self.tau * self.phi(xs, i) for i in range(self.kinds)])
        return mixture_posterior(every, ys, self.noise**2)[0]


@dataclass(frozen=True, kw_only=True)
class Dynamical(Drawn):
    """x_i+1 = W Phi([x_i-m+1 .. x_i]) + noise z with `memory` m and an orthonormal W [d, m d] for each prompt.

    Points are x_0 .. x_n-1, and y_i is x_i+1: ys [batch, n, d]. What stands before x_0 counts as 0. Bayes (for a W of
    independent entries of the same variance, which an orthonormal one has nearly): ridge on Phi, output by output.
    """

    d: int = 3
    memory: int = 2
    layers: int = 1
    noise: float = 0.5
    phi_seed: int = 0
    name = "dynamical"

    def __post_init__(self) -> None:
        check_counts(d=self.d, memory=self.memory, layers=self.layers)

    def latents(self, batch: int, generator: Generator) -> Latents:
        return {"w": rotations(batch, self.memory * self.d, generator)[:, : self.d]}

    def sample(self, batch: int, n: int, seed: int) -> Episodes:
        """`batch` sequences of n points, and the point behind each. Raises BadInput for sizes below 1."""
        check_counts(batch=batch, n=n)
        generator = torch.Generator().manual_seed(seed)
        latents = self.latents(batch, generator)
        noise = self.noise * torch.randn(batch, n, self.d, generator=generator)
        xs = torch.randn(batch, 1, self.d, generator=generator)
        for i in range(n):
            clean = torch.einsum("bod,bd->bo", latents["w"], self.features(xs)[:, -1])
            xs = torch.cat([xs, (clean + noise[:, i])[:, None]], 1)
        return Episodes(xs[:, :-1], xs[:, 1:], latents)

    def features(self, xs: Tensor) -> Tensor:
        """Phi of the last `memory` points at every place, [batch, n, memory d]."""
        padded = torch.nn.functional.pad(xs, (0, 0, self.memory - 1, 0))
        windows = padded.unfold(1, self.memory, 1).transpose(2, 3).flatten(2)
        return phi(windows, self.layers, self.phi_seed)

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return torch.einsum("bod,bnd->bno", latents["w"], self.features(xs))

    @property
    def scale(self) -> float:
        return _next_square(self)

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor:
        features = self.features(xs)
        penalty = self.noise**2 * self.memory * self.d  # entries of W have variance 1 / (m d)
        return torch.stack([posterior(features, ys[..., i], penalty) for i in range(self.d)], -1)


@cache
def _next_square(task: Dynamical) -> float:
    """E |x_i+1|^2 over the first 16 points of 2000 sequences."""
    return float((task.sample(2000, 16, 0).ys ** 2).sum(-1).mean())
