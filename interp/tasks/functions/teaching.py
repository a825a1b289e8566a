"""Conjunctions behind a teaching sequence, the fewest examples that leave one conjunction (Goldman & Kearns 1995;
Bhattamishra et al. 2023, arXiv 2310.03016, section 4).

    monotone   the literals +1 and all else -1 (label +), then each literal flipped (label -)           |w| + 1 points
    signed     the literals met, all else -1, then all else +1 (both +), then each literal flipped      |w| + 2 points

Behind them the prompt goes on as usual. A `share` below 1 mixes taught prompts with ordinary ones.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from interp.tasks.functions.boolean import Hypercube, corners, forced, holds_all, literals
from interp.tasks.functions.episodes import Latents, check_counts, check_share


@dataclass(frozen=True, kw_only=True)
class Teaching(Hypercube):
    """Conjunctions, a `share` of whose prompts begin with a teaching sequence; `signed` ones may have negated literals.

    Latents: "w" [batch, d]; "taught" [batch], True where the prompt begins so; "lead" [batch], how many points do
    that. `balance` of the other points are forced to be positive. Bayes is not summed up.
    """

    d: int = 8
    literal: float = 0.3
    balance: float = 0.3
    share: float = 1.0
    signed: bool = False
    name = "teaching"

    def __post_init__(self) -> None:
        check_counts(d=self.d)
        check_share(literal=self.literal, balance=self.balance, share=self.share)

    def latents(self, batch: int, generator: Generator) -> Latents:
        w = literals((batch, self.d), self.literal, generator)
        if not self.signed:
            w = (torch.rand(batch, self.d, generator=generator) < self.literal).float()
        taught = torch.rand(batch, generator=generator) < self.share
        lead = w.abs().sum(1).long() + (2 if self.signed else 1)
        return {"w": w, "taught": taught, "lead": lead * taught}

    def inputs(self, batch: int, n: int, latents: Latents, generator: Generator) -> Tensor:
        usual = forced(corners(batch, n, self.d, generator), latents["w"], self.balance, generator)
        lead = self._lead(latents["w"], n)
        return torch.where((torch.arange(n) < latents["lead"][:, None])[..., None], lead, usual)

    def _lead(self, w: Tensor, n: int) -> Tensor:
        """[batch, n, d]: the teaching sequence of each w, whatever behind its end."""
        first = torch.where(w != 0, w, -1.0)
        rows = [first, torch.where(w != 0, w, 1.0)] if self.signed else [first]
        order = (w == 0).long().argsort(dim=1, stable=True)  # literals first, in their own order
        flip = torch.where(torch.arange(self.d) == order[..., None], -1.0, 1.0)
        lead = torch.cat([torch.stack(rows, 1), first[:, None] * flip], 1)
        return torch.nn.functional.pad(lead, (0, 0, 0, max(0, n - lead.shape[1])))[:, :n]

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return holds_all(xs, latents["w"])
