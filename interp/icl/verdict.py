"""The verdict of a matching: the rule of `interp.icl.match`, applied."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.icl.match import Matching
from interp.results.estimate import bootstrap_mean

LEAST, LEAST_ANYWHERE = 0.9, 0.85
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Depth:
    """One depth: whether it is active, which families are candidates, and why the others are not."""

    depth: int
    active: bool
    candidates: tuple[str, ...]
    best: str
    score: float
    reasons: dict[str, str]


@dataclass(frozen=True)
class Verdict:
    """The algorithm, or "undecided" and why."""

    algorithm: str
    reason: str
    depths: tuple[Depth, ...]

    def __str__(self) -> str:
        return f"{self.algorithm}: {self.reason}"

    def frame(self) -> pd.DataFrame:
        """One row a depth."""
        return pd.DataFrame([{"depth": d.depth, "active": d.active, "candidates": ", ".join(d.candidates),
                              "best": d.best, "score": d.score,
                              "why_not": "; ".join(f"{f}: {r}" for f, r in d.reasons.items())} for d in self.depths])


def verdict(found: Matching) -> Verdict:
    """What the rule says of a matching."""
    depths = tuple(_depth(found, depth) for depth in range(found.depths))
    active = [d for d in depths if d.active]
    if len(active) < 2:
        return Verdict(UNDECIDED, f"{len(active)} depths are active, and a sequence of steps needs two", depths)
    none = [d.depth for d in active if not d.candidates]
    if none:
        return Verdict(UNDECIDED, f"no family is a candidate at depth {', '.join(map(str, none))}", depths)
    shared = [f for f in found.step if all(f in d.candidates for d in active)]
    if not shared:
        return Verdict(UNDECIDED, "no family is a candidate at every active depth", depths)
    growing = [f for f in shared if _grows(found.step[f][[d.depth for d in active]])]
    if not growing:
        return Verdict(UNDECIDED, f"the steps of {', '.join(shared)} do not rise with depth", depths)
    if len(growing) > 1:
        return Verdict(UNDECIDED, f"{' and '.join(growing)} coincide at every active depth", depths)
    steps = [found.families[growing[0]].steps[found.step[growing[0]][d.depth]] for d in active]
    return Verdict(growing[0], "steps " + ", ".join(f"{s} at depth {d.depth}" for s, d in zip(steps, active)), depths)


def _grows(steps: np.ndarray) -> bool:
    return bool((np.diff(steps) >= 0).all() and steps[-1] > steps[0])


def _depth(found: Matching, depth: int) -> Depth:
    error = bootstrap_mean(found.errors[np.array(found.home), depth].mean(0), seed=found.seed, draws=1000)
    scores = {family: found.score(family, depth) for family in found.step}
    outside = ~np.array(found.home)
    worst = {family: float(found.chosen[family][outside, depth].mean(-1).min()) for family in found.step}
    best = max(scores, key=lambda family: scores[family].mean())
    reasons = {}
    for family, score in scores.items():
        own = bootstrap_mean(score, seed=found.seed, draws=1000)
        behind = bootstrap_mean(scores[best] - score, seed=found.seed, draws=1000)
        above = bootstrap_mean(score - found.control_score(family, depth), seed=found.seed, draws=1000)
        if own.low < LEAST:
            reasons[family] = f"score {own.value:.3f}, lower limit {own.low:.3f} below {LEAST}"
        elif worst[family] < LEAST_ANYWHERE:
            reasons[family] = f"SimE {worst[family]:.3f} under one condition, below {LEAST_ANYWHERE}"
        elif above.low <= 0:
            reasons[family] = f"not above the random model ({above.value:+.3f})"
        elif behind.low > 0:
            reasons[family] = f"{behind.value:.3f} below {best}"
    candidates = tuple(family for family in scores if family not in reasons)
    return Depth(depth, error.high < 1, candidates, best, float(scores[best].mean()), reasons)
