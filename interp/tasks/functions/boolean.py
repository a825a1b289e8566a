"""Conjunctions, disjunctions and forms of three of them (Bhattamishra et al. 2023, Understanding in-context learning in
transformers and LLMs by learning to learn discrete functions, arXiv 2310.03016, section 3 and its code).

x is uniform on {-1, +1}^d and labels are -1 or +1. A literal weight w_i is +1 (x_i), -1 (not x_i) or 0 (not asked).

    conjunction  y = + iff every literal holds         dnf  y = + iff one of `clauses` conjunctions holds
    disjunction  y = + iff one literal holds           cnf  y = + iff all of `clauses` disjunctions hold

So that both labels occur, a share of the points has its literals forced to the rarer label.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from interp.tasks.functions.boolean_bayes import clause_hypotheses, hypotheses_posterior
from interp.tasks.functions.episodes import Drawn, Latents, check_counts, check_share


class Hypercube(Drawn):
    """Points uniform on the corners of a cube, labels -1 and +1."""

    labels = "sign"

    def inputs(self, batch: int, n: int, latents: Latents, generator: Generator) -> Tensor:
        return corners(batch, n, self.d, generator)


def corners(batch: int, n: int, d: int, generator: Generator) -> Tensor:
    """Points uniform on {-1, +1}^d, [batch, n, d]."""
    return 2.0 * torch.randint(0, 2, (batch, n, d), generator=generator) - 1


def literals(shape: tuple[int, ...], p: float, generator: Generator) -> Tensor:
    """Weights +1 and -1 with probability p / 2 each, else 0."""
    u = torch.rand(shape, generator=generator)
    return (u < p / 2).float() - (u > 1 - p / 2).float()


def holds_all(xs: Tensor, w: Tensor) -> Tensor:
    """+1 where x [..., n, d] meets every literal of w [..., d], else -1; no literals are always met."""
    met = torch.einsum("...nd,...d->...n", xs, w)
    return torch.where(met > w.abs().sum(-1, keepdim=True) - 1, 1.0, -1.0)


def holds_one(xs: Tensor, w: Tensor) -> Tensor:
    """+1 where x meets one literal of w at least, else -1; no literals are never met."""
    return -holds_all(xs, -w)


def forced(xs: Tensor, w: Tensor, share: float, generator: Generator) -> Tensor:
    """The points, a share of which has the coordinates that w asks for set to what it asks."""
    chosen = torch.rand(xs.shape[:2], generator=generator) < share
    return torch.where(chosen[..., None] & (w != 0)[:, None], w[:, None].expand_as(xs), xs)


@dataclass(frozen=True, kw_only=True)
class Conjunction(Hypercube):
    """y = + iff every literal of w holds; w_i is +1 or -1 with probability `literal` / 2 each, `balance` is the share
    of points forced to be positive. Bayes: over all 3^d conjunctions for d up to 8."""

    d: int = 8
    literal: float = 0.3
    balance: float = 0.3
    name = "conjunction"

    def __post_init__(self) -> None:
        check_counts(d=self.d)
        check_share(literal=self.literal, balance=self.balance)

    def latents(self, batch: int, generator: Generator) -> Latents:
        return {"w": literals((batch, self.d), self.literal, generator)}

    def inputs(self, batch: int, n: int, latents: Latents, generator: Generator) -> Tensor:
        return forced(corners(batch, n, self.d, generator), latents["w"], self.balance, generator)

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return holds_all(xs, latents["w"])

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor | None:
        return None if self.d > 8 else hypotheses_posterior(xs, ys, *clause_hypotheses(self.d, self.literal),
                                                            self.balance)


@dataclass(frozen=True, kw_only=True)
class Disjunction(Conjunction):
    """y = + iff one literal of w holds; `balance` is the share of points forced to be negative."""

    name = "disjunction"

    def inputs(self, batch: int, n: int, latents: Latents, generator: Generator) -> Tensor:
        return forced(corners(batch, n, self.d, generator), -latents["w"], self.balance, generator)

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return holds_one(xs, latents["w"])

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor | None:
        # not (a or b) is (not a) and (not b), and the prior is symmetric in both signs
        said = super().bayes(xs, -ys)
        return None if said is None else -said


@dataclass(frozen=True, kw_only=True)
class Dnf(Hypercube):
    """y = + iff one of `clauses` conjunctions holds. `balance` of the points satisfy one clause, drawn by prompt."""

    d: int = 8
    clauses: int = 3
    literal: float = 0.2
    balance: float = 0.35
    name = "dnf"

    def __post_init__(self) -> None:
        check_counts(d=self.d, clauses=self.clauses)
        check_share(literal=self.literal, balance=self.balance)

    def latents(self, batch: int, generator: Generator) -> Latents:
        return {"w": literals((batch, self.clauses, self.d), self.literal, generator),
                "clause": torch.randint(self.clauses, (batch,), generator=generator)}

    def inputs(self, batch: int, n: int, latents: Latents, generator: Generator) -> Tensor:
        clause = latents["w"][torch.arange(batch), latents["clause"]]
        return forced(corners(batch, n, self.d, generator), clause, self.balance, generator)

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return holds_all(xs[:, None], latents["w"]).amax(1)


@dataclass(frozen=True, kw_only=True)
class Cnf(Dnf):
    """y = + iff all of `clauses` disjunctions hold. `balance` of the points falsify one clause, drawn by prompt."""

    balance: float = 0.3
    name = "cnf"

    def inputs(self, batch: int, n: int, latents: Latents, generator: Generator) -> Tensor:
        clause = latents["w"][torch.arange(batch), latents["clause"]]
        return forced(corners(batch, n, self.d, generator), -clause, self.balance, generator)

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return holds_one(xs[:, None], latents["w"]).amin(1)
