"""How learning in context comes about while a model is trained: its curves at every checkpoint.

Paper: Garg et al. 2022, arXiv 2208.01066; the abruptness of such curves: Olsson et al. 2022, arXiv 2209.11895.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from torch import Tensor

from interp.hooks.model import HookedModel
from interp.icl.curves import Curves, run
from interp.results.errors import BadInput
from interp.results.plots import curve_with_band
from interp.tasks.functions import FunctionTask

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Emergence:
    """The curves of a model by training step, all on the same prompts."""

    curves: Mapping[int, Curves]

    @property
    def last(self) -> Curves:
        """Those of the last checkpoint."""
        return self.curves[max(self.curves)]

    def mean(self, step: int) -> Tensor:
        """The model's mean score by the number of examples at a checkpoint, [n]."""
        return self.curves[step].mean()

    def frame(self) -> pd.DataFrame:
        """One row a checkpoint and number of examples: mean, low, high over prompts."""
        metric, rows = self.last.metric, []
        for step, curves in sorted(self.curves.items()):
            for k in range(curves.n):
                found = curves.estimate(k)
                rows.append({"step": step, "examples": k, metric: found.value, "low": found.low, "high": found.high,
                             "prompts": found.n})
        return pd.DataFrame(rows)

    def figure(self, examples: Sequence[int] | None = None) -> "go.Figure":
        """A curve over training steps for some numbers of examples (by default none, a third, two thirds and all)."""
        n, found, figure = self.last.n, self.frame(), None
        for k in sorted({0, n // 3, 2 * n // 3, n - 1} if examples is None else set(examples)):
            rows = found[found["examples"] == k]
            figure = curve_with_band(
                rows["step"], rows[self.last.metric], rows["low"], rows["high"], name=f"{k} examples", figure=figure,
                title=f"{self.last.model} on {self.last.task}", x_title="training step", y_title=self.last.metric)
        return figure

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views("emergence", self)


def emergence(
    models: Mapping[int, HookedModel], task: FunctionTask | str, *, n: int | None = None, prompts: int = 500,
    seed: int = 100_000,
) -> Emergence:
    """The curves of a model's checkpoints, {training step: model}, as `interp.icl.run` gives them.

    Raises BadInput where there is none, and as `run` does.
    """
    if not models:
        raise BadInput("there are no checkpoints; train with checkpoints=(...) and a folder")
    return Emergence({step: run(model, task, n=n, prompts=prompts, seed=seed, baselines=(), bayes=False)
                      for step, model in sorted(models.items())})


