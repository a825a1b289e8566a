"""Prompts that are drawn otherwise than in training (Garg et al. 2022, arXiv 2208.01066, section 4), over any class.

Of the points: "half-subspace", "skewed" (lengths 1 / i), "conditioning" (half of the directions `amount` times as
long), all along random axes of each prompt, "x-scale" (times `amount`), "dims" (all but the first `amount` coordinates
0). Of the labels: "y-scale", "label-noise" (N(0, amount^2) added, or a share `amount` of signs flipped; answers are
without). Of what is asked behind the examples: "quadrants" (examples in one quadrant, the query anywhere), "opposite"
(the query in the opposite quadrant), "orthogonal" (to all examples, so for k < d alone; of length sqrt(d)), "repeated"
(one of the examples again; at k = 0 a new point).
"""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from interp.results.errors import BadInput, nearest
from interp.tasks.functions.episodes import Episodes, FunctionTask, Labels
from interp.tasks.functions.linear import conditioned, stretched

AMOUNTS = {"half-subspace": None, "skewed": None, "conditioning": 10.0, "x-scale": 2.0, "dims": 1, "y-scale": 2.0,
           "label-noise": None, "quadrants": None, "opposite": None, "orthogonal": None, "repeated": None}
_NOISE = {"real": 0.5, "sign": 0.1}


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """The class `base` with its prompts drawn as `kind` says. `bayes` stays that of the base."""

    base: FunctionTask
    kind: str
    amount: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in AMOUNTS:
            raise BadInput(f"there is no shift {self.kind!r}.{nearest(self.kind, AMOUNTS)} "
                           f"There are: {', '.join(AMOUNTS)}")
        takes = AMOUNTS[self.kind] is not None or self.kind == "label-noise"
        if self.amount is not None and not takes:
            raise BadInput(f"the shift {self.kind!r} takes no amount")
        if self.kind == "y-scale" and self.labels == "sign":
            raise BadInput(f"labels of {self.base.name} are signs; y-scale is for numbers")
        if not hasattr(self.base, "values") or getattr(self.base, "memory", None):
            raise BadInput(f"the prompts of {self.base.name} cannot be shifted: its points make one another")

    @property
    def name(self) -> str:
        return f"{self.base.name}, {self.kind}" + ("" if self.size is None else f" {self.size:g}")

    @property
    def size(self) -> float | None:
        """The amount of the shift, or its default."""
        default = _NOISE[self.labels] if self.kind == "label-noise" else AMOUNTS[self.kind]
        return default if self.amount is None else self.amount

    @property
    def d(self) -> int:
        return self.base.d

    @property
    def labels(self) -> Labels:
        return self.base.labels

    @property
    def scale(self) -> float:
        """That of the base; x-scale and y-scale times the square of their amount, right for functions linear in x."""
        return self.base.scale * (self.size**2 if self.kind in ("x-scale", "y-scale") else 1.0)

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor | None:
        return self.base.bayes(xs, ys)

    def values(self, xs: Tensor, latents) -> Tensor:
        """The base's own function, times the amount of a y-scale."""
        return self.base.values(xs, latents) * (self.size if self.kind == "y-scale" else 1.0)

    def sample(self, batch: int, n: int, seed: int) -> Episodes:
        """Prompts of the base for this seed, shifted. Raises BadInput where there is no orthogonal query."""
        drawn = self.base.sample(batch, n, seed)
        generator = torch.Generator().manual_seed(seed + 7_919)  # beside the base's own draws
        if self.kind == "label-noise":
            return replace(drawn, ys=self._noised(drawn.ys, generator), answers=drawn.ys)
        if self.kind == "y-scale":
            return replace(drawn, ys=self.size * drawn.ys)
        xs, queries = self._points(drawn.xs, generator)
        again = torch.Generator().manual_seed(seed + 15_485_863)
        ys = self.base.observed(self.base.values(xs, drawn.latents), again)
        if queries is None:
            return replace(drawn, xs=xs, ys=ys)
        answers = self.base.observed(self.base.values(queries, drawn.latents), again)
        return replace(drawn, xs=xs, ys=ys, queries=queries, answers=answers)

    def _noised(self, ys: Tensor, generator: Generator) -> Tensor:
        if self.labels == "real":
            return ys + self.size * torch.randn(ys.shape, generator=generator)
        return torch.where(torch.rand(ys.shape, generator=generator) < self.size, -ys, ys)

    def _points(self, xs: Tensor, generator: Generator) -> tuple[Tensor, Tensor | None]:
        """(points, queries or None)"""
        batch, n, d = xs.shape
        place = torch.arange(d)
        match self.kind:
            case "half-subspace":
                return stretched(xs, (place < max(1, d // 2)).float(), generator), None
            case "skewed":
                return stretched(xs, 1.0 / (place + 1), generator), None
            case "conditioning":
                return stretched(xs, conditioned(d, self.size), generator), None
            case "x-scale":
                return self.size * xs, None
            case "dims":
                return torch.where(place < self.size, xs, 0.0), None
            case "repeated":
                earlier = (torch.rand(batch, n, generator=generator) * torch.arange(n)).long()
                again = xs.gather(1, earlier[..., None].expand(-1, -1, d))
                return xs, torch.cat([torch.randn(batch, 1, d, generator=generator), again[:, 1:]], 1)
            case "orthogonal":
                return xs, self._orthogonal(xs, generator)
        side = torch.randint(0, 2, (batch, 1, d), generator=generator) * 2.0 - 1
        inside = xs.abs() * side
        return inside, -inside if self.kind == "opposite" else xs

    def _orthogonal(self, xs: Tensor, generator: Generator) -> Tensor:
        batch, n, d = xs.shape
        if n > d:
            raise BadInput(f"n is {n}; behind {d} examples in {d} dimensions no query is orthogonal to all: n <= {d}")
        free = torch.cat([xs, torch.randn(batch, d, d, generator=generator)], 1)
        asked = []
        for k in range(n):
            basis = torch.linalg.qr(torch.cat([xs[:, :k], free[:, n:]], 1)[:, :d].transpose(1, 2))[0]
            asked.append(basis[:, :, k] * d**0.5)
        return torch.stack(asked, 1)


def shifted(base: FunctionTask, kind: str, amount: float | None = None) -> Shifted:
    """`base` with prompts drawn as `kind` says. Raises BadInput for an unknown kind, naming the nearest."""
    return Shifted(base=base, kind=kind, amount=amount)
