"""The depth score of a task: how deep are the blocks that it needs?

    score = sum over blocks s of s m_s / sum of m_s, divided by L - 1        0: the first block alone, 1: the last

m_s is what leaving block s out does: to the blocks behind it (`later`) or to the output where the answer is read. If
harder inputs used more depth, their score would be higher. One number a prompt, so that it has an interval.

Paper: Csordas et al. 2025, "Do language models use their depth efficiently?", arXiv 2505.13898, section 6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from interp.depth.skip import SkipEffects, skip_effects
from interp.hooks import HookedModel
from interp.results import plots
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean
from interp.results.progress import progress
from interp.tasks.task import Task

if TYPE_CHECKING:
    import plotly.graph_objects as go

OVER = ("later", "output")


def depth_score(strength: Tensor) -> Tensor:
    """[batch] scores from the strength of every block [block, batch], in order of depth.

    Raises BadInput for one block, whose depth is no choice, and where nothing has any strength.
    """
    if len(strength) < 2:
        raise BadInput("a depth score needs two blocks or more")
    total = strength.sum(0)
    if not (total > 0).all():
        raise BadInput("leaving blocks out changes nothing for some prompt, so it has no depth score")
    place = torch.linspace(0, 1, len(strength), dtype=strength.dtype)
    return (place[:, None] * strength).sum(0) / total


@dataclass(frozen=True, eq=False)
class DepthScores:
    """Depth scores of several tasks: `values[task][over]` [batch], over "later" blocks or the "output".

    `accuracy[task]` is how often the model is right, `clusters[task]` what is resampled.
    """

    model: str
    values: Mapping[str, Mapping[str, Tensor]]
    accuracy: Mapping[str, Estimate]
    clusters: Mapping[str, object]

    def estimate(self, task: str, over: str, seed: int = 0) -> Estimate:
        """The mean score of a task over prompts."""
        return bootstrap_mean(self.values[task][over].double(), self.clusters[task], unit="prompts", seed=seed)

    def frame(self) -> pd.DataFrame:
        """One row a task: both scores with intervals, and the accuracy."""
        rows = []
        for task in self.values:
            row = {"task": task, "n": len(self.values[task]["output"])}
            for over in OVER:
                e = self.estimate(task, over)
                row |= {over: e.value, f"{over}_low": e.low, f"{over}_high": e.high}
            e = self.accuracy[task]
            rows.append(row | {"accuracy": e.value, "accuracy_low": e.low, "accuracy_high": e.high})
        return pd.DataFrame(rows)

    def figure(self) -> "go.Figure":
        """Every task's two scores with their intervals."""
        named = {f"{task}, {'later blocks' if over == 'later' else 'output'}": self.estimate(task, over)
                 for task in self.values for over in OVER}
        figure = plots.forest(named, title=f"{self.model}: depth scores", x_title="0 first block, 1 last block")
        return figure.update_xaxes(range=[0, 1])

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views("depth_scores", self)


def depth_scores(model: HookedModel, tasks: Mapping[str, Task], *, right_only: bool = False) -> DepthScores:
    """Depth scores of every task, from one skip matrix a task, read at the token of the answer.

    With `right_only`, of the prompts on which the model is right. Raises BadInput where none is left, or where a metric
    reads no position.
    """
    values, accuracy, clusters = {}, {}, {}
    for name, task in progress(tasks.items(), "depth scores", len(tasks)):
        with torch.no_grad():
            right = task.metric.accuracy(model(task.clean)).bool().cpu()
        accuracy[name] = bootstrap_mean(right.double(), task.clusters, unit="prompts")
        if right_only:
            if not right.any():
                raise BadInput(f"{model.name} is right on none of the {len(task)} prompts of {name}")
            task = task.rows(right.numpy())
        found: SkipEffects = skip_effects(model, task.clean, positions=[-1])
        values[name] = {"later": depth_score(found.strength()), "output": depth_score(found.output_mean)}
        clusters[name] = task.clusters
    return DepthScores(model.name, values, accuracy, clusters)
