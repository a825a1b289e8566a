"""`auto`: exact within a budget; above it a shortlist confirmed exactly, and a bound on what was not looked at.

Exact means both directions: what removing a node costs, and what restoring it alone brings back. Removing hides OR and
backups, restoring hides AND; the score is the larger of the two.

Linear rule sets miss nodes behind saturated softmaxes and cancellation, and confirming a shortlist never brings back
what was not on it. So a random sample of the rest is patched exactly as well, and says how many larger effects the rest
can still hold.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from interp.discovery.runs import Apart
from interp.effects import effects
from interp.hooks import Counterfactual

AUTO_EXACT = 512
SHORTLISTS = ("tangent", "relp", "frozen")
CONFIDENCE = 0.95


def auto_scores(model, part, sources, *, baseline, budget, seed, rows, done=None):
    """(score per source [source], facts): of the mean effects of removing and of restoring it, the larger.

    Restoring needs prompts to restore into: with a baseline other than a counterfactual, sources are only removed.
    Above the budget and for the facts, see `ranked`.
    """
    return ranked(Both(model, part, sources, baseline, rows=rows, done=done), len(sources), budget, seed)


class Directions(Protocol):
    """What `ranked` needs: effects of removing and of restoring things that are known by their number."""

    forwards: float

    def ways(self, chosen: np.ndarray, rules: str | None = None) -> list[np.ndarray]:
        """Mean effects of the chosen, by a linear rule set or exactly: one array a direction, removing first."""
        ...


def ranked(both: Directions, n: int, budget: int, seed: int) -> tuple[np.ndarray, dict]:
    """(score [n], facts): the larger exact effect of each; above the budget, of a shortlist and a random sample.

    What is not confirmed keeps a linear score scaled below every confirmed one. The facts hold `exact`, the number
    that were patched; `restored`, how many of these score higher for being restored; above the budget the shortlist's
    and the random sample's size, and `missed`: the bound.
    """
    everything = np.arange(n)
    if n <= budget:
        scores, restored = larger(both.ways(everything))
        return scores, {"forwards": both.forwards, "exact": n, "restored": int(restored.sum())}
    linear = [way for rules in SHORTLISTS for way in both.ways(everything, rules)]
    sample_size = min(max(32, budget // 5), max(1, budget // 2))
    short = shortlist(linear, budget - sample_size)
    rest = np.setdiff1d(everything, short)
    sample = np.sort(np.random.default_rng(seed).choice(rest, min(sample_size, len(rest)), replace=False))
    chosen = np.concatenate([short, sample])
    exact, restored = larger(both.ways(chosen))
    scores = larger(linear[: len(linear) // len(SHORTLISTS)])[0]
    left = np.setdiff1d(rest, sample)
    floor = np.abs(exact).min() if len(exact) else 0.0
    largest = np.abs(scores[left]).max(initial=0.0)
    scores[left] *= floor / largest if largest > floor else 1.0
    scores[chosen] = exact
    missed = missed_bound(np.abs(exact[len(short) :]), len(rest))
    return scores, {
        "forwards": both.forwards, "exact": len(chosen), "restored": int(restored.sum()), "shortlist": len(short),
        "sample": len(sample), "missed": missed,
    }


class Both:
    """Effects of removing sources from clean prompts and of restoring them into corrupt ones."""

    def __init__(self, model, part, sources, baseline, *, rows=None, done=None):
        self.model, self.part, self.sources, self.rows, self.forwards = model, part, list(sources), rows, 0.0
        self.directions = [(part.clean, baseline, 1.0, done)]
        if isinstance(baseline, Counterfactual):
            apart = None if done is None else Apart(done, "restoring")
            self.directions.append((baseline.inputs, Counterfactual(part.clean), -1.0, apart))

    def ways(self, chosen: np.ndarray, rules: str | None = None) -> list[np.ndarray]:
        """[source] each for removing (clean minus patched) and restoring (patched minus corrupt), in the metric's unit:
        above zero both say that the source helps."""
        found = []
        for x, baseline, sign, done in self.directions:
            result = effects(
                self.model, x, [self.sources[i] for i in chosen], self.part.metric, rules or "ablation",
                baseline=baseline, rows=self.rows, done=done,
            )
            self.forwards += result.cost["forwards"]
            found.append(sign * result.values.double().mean(1).numpy())
        return found


def larger(ways: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(of every source the entry of largest size, whether it is not the first's), [source] each; ties to the first."""
    stacked = np.stack(ways)
    best = np.abs(stacked).argmax(0)
    return np.take_along_axis(stacked, best[None], 0)[0], best > 0


def shortlist(linear: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Indices of the union of each ranking's largest, taken in turn until `size` are found."""
    orders = [np.argsort(-np.abs(scores)) for scores in linear]
    found: dict[int, None] = {}
    for rank in range(len(orders[0])):
        for order in orders:
            if len(found) < size:
                found[int(order[rank])] = None
    return np.array(sorted(found), dtype=int)


def missed_bound(sample: np.ndarray, population: int, confidence: float = CONFIDENCE) -> dict:
    """What a random sample says about the population it was drawn from, without assumptions.

    Returns {"at_most": K, "exceed": v, "of": population, "confidence"}: with that confidence at most K of the
    population's members have a larger |effect| than v, the sample's largest. K is the smallest number of such members
    that a sample of this size would have met with that probability (hypergeometric).
    """
    n = len(sample)
    exceed = float(sample.max(initial=0.0))
    for k in range(population - n + 1):
        if _none_met(population, k + 1, n) <= 1 - confidence:
            return {"at_most": k, "exceed": exceed, "of": population, "confidence": confidence}
    return {"at_most": population - n, "exceed": exceed, "of": population, "confidence": confidence}


def _none_met(population: int, special: int, drawn: int) -> float:
    """Probability that `drawn` of `population` without replacement hold none of the `special` ones."""
    if population - special < drawn:
        return 0.0
    log = (
        math.lgamma(population - special + 1) - math.lgamma(population - special - drawn + 1)
        - math.lgamma(population + 1) + math.lgamma(population - drawn + 1)
    )
    return math.exp(log)
