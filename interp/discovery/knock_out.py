"""`knock_out`: what removing some nodes does, where they were found and on prompts that nobody looked at.

    effect = m(clean) - m(clean, nodes at their baseline);     shrinkage = effect on test / effect on discover

A node that was picked because its effect is the largest of many is, on the prompts it was picked on, overrated: part of
the size was luck. On the test prompts there is none of it, so the second number is the one to quote, and a shrinkage
well below 1 says how much of the first was selection.

Paper: Efron 2011, "Tweedie's formula and selection bias", section 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from interp.discovery.nodes import source
from interp.effects import effects
from interp.hooks import Ablate, Baseline, Counterfactual, HookedModel, Mean, Resample
from interp.results import BadInput, Estimate, Node, bootstrap_mean
from interp.results.errors import nearest
from interp.results.rows import cluster_numbers, resampled_sums

if TYPE_CHECKING:
    import plotly.graph_objects as go

BASELINES = ("counterfactual", "mean", "zero", "resample")
DRAWS = 4000


@dataclass(frozen=True, eq=False)
class KnockOut:
    """The removal of `nodes` together. Estimates are in `unit`, over prompts; `values[part]` [prompt] the effects.

    `found` is the effect on the discover prompts, `held` on the test prompts, with `clean` and `without` the metric
    there; `right` and `still_right` the share of them that are answered right before and after (None where the metric
    has no right answer, and for "resample"); `shrinkage` is held / found, None where found cannot be told from 0.
    """

    nodes: tuple[Node, ...]
    baseline: str
    unit: str
    found: Estimate
    held: Estimate
    clean: Estimate
    without: Estimate
    right: Estimate | None
    still_right: Estimate | None
    shrinkage: Estimate | None
    values: dict[str, np.ndarray]

    def frame(self) -> pd.DataFrame:
        """One row a statistic: what, prompts, value, low, high, n."""
        lines = [("effect", "discover", self.found), ("effect", "test", self.held),
                 ("metric, whole model", "test", self.clean), ("metric, without them", "test", self.without),
                 ("share right, whole model", "test", self.right),
                 ("share right, without them", "test", self.still_right),
                 ("shrinkage", "test / discover", self.shrinkage)]
        frame = pd.DataFrame([{"what": what, "prompts": part, "value": e.value, "low": e.low, "high": e.high, "n": e.n}
                              for what, part, e in lines if e is not None])
        frame.attrs |= {"unit": self.unit, "baseline": self.baseline}
        return frame

    def figure(self) -> "go.Figure":
        """The metric with and without them, and the effect on both parts, with intervals."""
        from interp.results import plots

        return plots.forest({"metric, whole model": self.clean, "metric, without": self.without,
                             "effect on held-out prompts": self.held, "effect where it was found": self.found},
                            title=f"without {', '.join(n.label for n in self.nodes)}", x_title=self.unit)

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views("knock_out", self)


def knock_out(
    model: HookedModel, task, nodes: Sequence[Node], baseline: str = "counterfactual", *, seed: int = 0
) -> KnockOut:
    """Remove nodes together on the task's discover and test prompts, each part with its own baseline.

    `baseline` is "counterfactual" (the corrupt prompt's value), "mean" (over the part's corrupt prompts), "zero" or
    "resample" (other corrupt prompts' values, effects averaged over 8 draws).
    Raises BadInput for no nodes, an unknown baseline or a task without a test part; MissingSite for nodes that the
    model does not have.
    """
    if not nodes:
        raise BadInput("no nodes were given: there is nothing to knock out")
    group = [source(node) for node in nodes]
    values, clean, clusters = {}, {}, {}
    for part in ("discover", "test"):
        prompts = task.part(part)
        done = effects(model, prompts.clean, [group], prompts.metric, baseline=named_baseline(baseline, prompts, seed))
        values[part], clean[part] = done.values[0].double().numpy(), done.clean.double().numpy()
        clusters[part] = prompts.clusters
    held = task.part("test")
    # resampled values differ from draw to draw, so there is no one edited model whose answers could be counted
    right = getattr(held.metric, "accuracy", None) if baseline != "resample" else None
    shares = [] if right is None else [_accuracy(model, held, right, removed, baseline, seed)
                                       for removed in ((), tuple(nodes))]
    estimates = {part: bootstrap_mean(values[part], clusters[part], seed=seed) for part in values}
    return KnockOut(
        tuple(nodes), baseline, getattr(task.metric, "unit", ""), estimates["discover"], estimates["test"],
        bootstrap_mean(clean["test"], held.clusters, seed=seed),
        bootstrap_mean(clean["test"] - values["test"], held.clusters, seed=seed),
        shares[0] if shares else None, shares[1] if shares else None,
        _shrinkage(values, clusters, estimates["discover"], seed), values,
    )


def named_baseline(name: str, prompts, seed: int = 0) -> Baseline:
    """The baseline of that name for the prompts of a task. Raises BadInput, naming the nearest."""
    if name not in BASELINES:
        raise BadInput(f"there is no baseline {name!r}.{nearest(name, BASELINES)} There are: {', '.join(BASELINES)}")
    corrupt: Any = prompts.corrupt
    return {"counterfactual": lambda: Counterfactual(corrupt), "mean": lambda: Mean(over=corrupt),
            "resample": lambda: Resample(corrupt, seed=seed), "zero": lambda: "zero"}[name]()


def _accuracy(model: HookedModel, prompts, right, removed: tuple[Node, ...], baseline: str, seed: int) -> Estimate:
    at = named_baseline(baseline, prompts, seed)
    edits = [Ablate(node.site, head=node.head, pos=node.pos, baseline=at) for node in removed]
    with torch.no_grad(), model.edit(*edits):
        return bootstrap_mean(right(model(prompts.clean)), prompts.clusters, seed=seed)


def _shrinkage(values: dict[str, np.ndarray], clusters: dict[str, Any], found: Estimate, seed: int) -> Estimate | None:
    """Mean on test over mean on discover; the two parts share no prompt, so each is resampled by itself."""
    if not found.excludes(0) or found.n < 2:
        return None
    drawn = []
    for i, part in enumerate(("discover", "test")):
        groups = cluster_numbers(clusters[part], len(values[part]))
        sums = np.stack([np.bincount(groups, weights=values[part]), np.bincount(groups)])
        totals = resampled_sums(sums, seed + i, DRAWS)
        drawn.append(totals[:, 0] / totals[:, 1])
    value = float(values["test"].mean() / values["discover"].mean())
    low, high = np.quantile(drawn[1] / drawn[0], [0.025, 0.975])
    return Estimate(value, min(float(low), value), max(float(high), value), len(np.unique(clusters["test"])),
                    found.unit, "bootstrap of two parts")
