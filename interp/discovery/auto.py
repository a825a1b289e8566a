"""`auto`: exact within a budget; above it a shortlist confirmed exactly, and a bound on what was not looked at.

Linear rule sets miss nodes behind saturated softmaxes and cancellation, and confirming a shortlist never brings back
what was not on it. So a random sample of the rest is patched exactly as well, and says how many larger effects the rest
can still hold.
"""

import math

import numpy as np

from interp.effects import effects

AUTO_EXACT = 512
SHORTLISTS = ("tangent", "relp", "frozen")
CONFIDENCE = 0.95


def auto_scores(model, part, sources, *, baseline, budget, seed, rows, done=None):
    """(score per source [source], facts). Unconfirmed sources keep a linear score scaled below every confirmed one.

    The facts hold the shortlist's size, the random sample's size, and `missed`: the bound.
    """
    if len(sources) <= budget:
        found = effects(model, part.clean, sources, part.metric, baseline=baseline, rows=rows, done=done)
        return found.values.double().mean(1).numpy(), {"forwards": found.cost["forwards"], "exact": len(sources)}
    linear, forwards = {}, 0.0
    for rules in SHORTLISTS:
        found = effects(model, part.clean, sources, part.metric, rules, baseline=baseline)
        linear[rules] = found.values.double().mean(1).numpy()
        forwards += found.cost["forwards"]
    sample_size = min(max(32, budget // 5), max(1, budget // 2))
    short = shortlist(linear, budget - sample_size)
    rest = np.setdiff1d(np.arange(len(sources)), short)
    sample = np.sort(np.random.default_rng(seed).choice(rest, min(sample_size, len(rest)), replace=False))
    chosen = np.concatenate([short, sample])
    found = effects(
        model, part.clean, [sources[i] for i in chosen], part.metric, baseline=baseline, rows=rows, done=done
    )
    exact = found.values.double().mean(1).numpy()
    scores = linear[SHORTLISTS[0]].copy()
    left = np.setdiff1d(rest, sample)
    floor = np.abs(exact).min() if len(exact) else 0.0
    largest = np.abs(scores[left]).max(initial=0.0)
    scores[left] *= floor / largest if largest > floor else 1.0
    scores[chosen] = exact
    missed = missed_bound(np.abs(exact[len(short) :]), len(rest))
    facts = {
        "forwards": forwards + found.cost["forwards"], "exact": len(chosen), "shortlist": len(short),
        "sample": len(sample), "missed": missed,
    }
    return scores, facts


def shortlist(linear: dict[str, np.ndarray], size: int) -> np.ndarray:
    """Indices of the union of each rule set's largest, taken in turn until `size` are found."""
    orders = [np.argsort(-np.abs(scores)) for scores in linear.values()]
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
