"""Graded detectors of one label: a number per token and unit, chosen with a threshold on some tokens, scored on others.

Whatever detects can be read so: a neuron by its value, a probe by its logit, and many discrete codes together by the
precision that the best of a token's codes had on the tokens that codes were chosen on.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.codebook.classify import Counts

LEAST = 3  # tokens that something has to be right on before it counts as precise


class Scored(NamedTuple):
    """Precision and recall on tokens that nothing was chosen on."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / ((self.precision + self.recall) or 1.0)


class Ranked:
    """Values [token, unit] to choose on, each unit's from the largest down: sorted once, for all labels."""

    def __init__(self, values: Float[Tensor, "token unit"]):
        self.order = values.argsort(0, descending=True)
        self.values = values.gather(0, self.order)
        # a threshold lets all tokens of one value through: only the last of them can be a cut
        self.last = torch.ones_like(self.order, dtype=torch.bool)
        self.last[:-1] = self.values[1:] < self.values[:-1]


class Thresholds:
    """Every unit's thresholds for one label, where `true` [token] are its tokens."""

    def __init__(self, ranked: Ranked, true: Bool[Tensor, " token"]):
        self.sorted, self.last, self.total = ranked.values, ranked.last, int(true.sum())
        self.hits = true[ranked.order].float().cumsum(0)
        self.found = torch.arange(1.0, len(self.sorted) + 1)[:, None]

    def at_recall(self, recall: float) -> tuple[int, float]:
        """(unit, threshold) of the highest precision among those that find at least this share, and just do."""
        enough = (self.hits >= max(1.0, recall * self.total)) & self.last
        first = enough.int().argmax(0, keepdim=True)
        precision = (self.hits / self.found).gather(0, first)[0]
        unit = int(precision.argmax())
        return unit, float(self.sorted[first[0, unit], unit])

    def best_f1(self) -> tuple[int, float]:
        """(unit, threshold) of the highest F1."""
        score = (2 * self.hits / (self.found + self.total)).where(self.last, -1.0)
        at, unit = divmod(int(score.argmax()), score.shape[1])
        return unit, float(self.sorted[at, unit])

    def precise(self, least: float) -> Float[Tensor, " unit"]:
        """For every unit, the lowest threshold at which its precision is `least` or more; infinity where none is."""
        good = (self.hits / self.found >= least) & (self.hits >= LEAST) & self.last
        at = good.shape[0] - 1 - good.flip(0).int().argmax(0, keepdim=True)
        return self.sorted.gather(0, at)[0].where(good.any(0), torch.inf)


def scored(active: Bool[Tensor, " token"], true: Bool[Tensor, " token"]) -> Scored:
    """Precision (0 where nothing is active) and recall of a set of tokens."""
    hits = float((active & true).sum())
    return Scored(hits / max(int(active.sum()), 1), hits / max(int(true.sum()), 1))


def detect(
    here: Ranked, true: Bool[Tensor, " token"], there: Float[Tensor, "token unit"], other: Bool[Tensor, " token"], *,
    recalls: Sequence[float], least: float,
) -> dict[str, Scored]:
    """One label's detectors, chosen on (`here`, `true`) and scored on (`there`, `other`): at each of `recalls` ("at 0"
    ...) and at the best F1 ("f1") the best unit; "union" is any unit beyond its precise threshold."""
    table = Thresholds(here, true)
    found = {}
    for i, recall in enumerate(recalls):
        unit, least_value = table.at_recall(recall)
        found[f"at {i}"] = scored(there[:, unit] >= least_value, other)
    unit, least_value = table.best_f1()
    found["f1"] = scored(there[:, unit] >= least_value, other)
    found["union"] = scored((there >= table.precise(least)).any(1), other)
    return found


def trust(
    counts: Counts, label: int, ids: Int[Tensor, "token group k"]
) -> Float[Tensor, "token 1"]:
    """How far a token's codes speak for a label: the highest precision among them, as counted, less for rare codes."""
    precision = counts.hits[label] / (counts.active + 1)
    groups = torch.arange(ids.shape[1])[:, None]
    return precision[groups, ids.clamp(min=0)].where(ids >= 0, 0.0).flatten(1).amax(1, keepdim=True)
