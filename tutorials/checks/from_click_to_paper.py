"""Checks of notebook 16."""

import re

import numpy as np
from lesson import check

from interp.results import Estimate, bootstrap_mean


@check
def read_link(answer) -> None:
    """what a link asks"""
    base = "http://127.0.0.1:8501/explore?v=1"
    found = answer(f"{base}&m=garden/sorting-1l&t=sorting&n=24&seed=3&h=L0H1")
    right = {"m": "garden/sorting-1l", "t": "sorting", "n": 24, "seed": 3, "h": ["L0H1"]}
    assert found == right, f"the link asks {right}, not {found}"
    found = answer(base)
    right = {"m": "garden/induction-2l", "t": "induction", "n": 48, "seed": 0, "h": []}
    assert found == right, f"a link with nothing in it asks the defaults, {right}, not {found}"
    found = answer("http://127.0.0.1:8501/circuit?v=1&m=garden%2Fdyck-2l&h=L1H1%2CMLP0")
    assert found["m"] == "garden/dyck-2l" and found["h"] == ["L1H1", "MLP0"], (
        f"%2F is a slash and %2C a comma, which separates nodes; you have {found['m']} and {found['h']}")


@check
def coverage(answer) -> None:
    """how often an interval holds the truth"""
    def make(seed):
        return np.array([seed - 2.0, seed - 2.0]), np.array([0, 1])

    def interval(values, clusters):
        assert len(values) == len(clusters) == 2, "interval takes the values and the clusters that make gave"
        middle = float(values.mean())
        return Estimate(middle, middle - 1, middle + 1, 2, "rows", "by hand")

    assert answer(make, interval, 4) == 0.75, "of the means -2, -1, 0 and 1, give or take 1, three hold 0: 0.75"
    assert answer(make, interval, 10) == 0.3, "of ten, three hold 0: 0.3"
    off = answer(make, lambda values, clusters: bootstrap_mean(values, clusters, draws=50), 5)
    assert off == 0.2, "without spread only the mean 0 itself holds 0: 0.2 of five"


@check
def false_alarms(answer) -> None:
    """how often a study of nothing finds something"""
    def make(seed):
        return np.full((3, 2), seed / 100)

    found = answer(make, lambda effects: effects.mean(1) * np.array([1, 2, 3]), 10)
    assert found == 0.5, f"the smallest p is 0.00 to 0.09: below 0.05 in five of ten, not {found:.2f}"
    found = answer(make, lambda effects: 1 - effects.mean(1), 10)
    assert found == 0, f"no p is below 0.05 in any, yet you count {found:.2f}"


@check
def sentence(answer) -> None:
    """a sentence that can be checked"""
    estimate = Estimate(1.3, 0.7, 1.9, 37, "clusters", "cluster bootstrap")
    facts = {"node": "L5H7", "model": "garden/some-model", "task": "sorting", "unit": "logits", "baseline": "mean",
             "part": "test", "looked_at": 412}
    said = answer(estimate, dict(facts))
    missing = [name for name, value in facts.items() if not re.search(rf"\b{re.escape(str(value))}\b", said)]
    missing += [name for name, text in {"value": "1.3", "lower end": "0.7", "upper end": "1.9", "n": "37",
                                        "what was resampled": "clusters"}.items() if text not in said]
    assert not missing, f"the reader cannot find: {', '.join(missing)}"
