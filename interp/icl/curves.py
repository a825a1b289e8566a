"""Error and accuracy by the number of examples: of a model, of the baselines beside it, and of Bayes.

Squared errors are divided by the scale of the class, so that predicting 0 costs 1; labels -1 and +1 are scored by the
share of right signs (0 counts as -1). Intervals resample prompts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from interp.hooks.model import HookedModel
from interp.icl.baselines import baseline, baselines_for
from interp.icl.models import is_system, predict
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean, share
from interp.results.plots import curve_with_band
from interp.tasks.functions import Episodes, FunctionTask, function_task

if TYPE_CHECKING:
    import plotly.graph_objects as go

Predictor = Callable[[Tensor, Tensor], Tensor]
MODEL, BAYES = "model", "bayes"


@dataclass(frozen=True, eq=False)
class Curves:
    """Scores by the number of examples, of "model" and every baseline.

    `scores[name]` [prompt, k] is the squared error over the scale of the class, or 1 for a right sign and 0 for a wrong
    one; `metric` says which. `task` and `model` are names, `seed` is the one the prompts were drawn from.
    """

    model: str
    task: str
    metric: str
    scores: Mapping[str, Tensor]
    seed: int

    @property
    def n(self) -> int:
        """Points of a prompt; there are 0 to n - 1 examples."""
        return next(iter(self.scores.values())).shape[1]

    def mean(self, name: str = MODEL) -> Tensor:
        """The mean score by the number of examples, [n]. Raises BadInput for a name that is not there."""
        return self._of(name).mean(0)

    def estimate(self, k: int, name: str = MODEL) -> Estimate:
        """The mean score behind k examples, with its interval over prompts."""
        if not -self.n <= k < self.n:
            raise BadInput(f"{k} examples were asked for; a prompt of {self.n} points has 0 to {self.n - 1}")
        estimated = share if self.metric == "accuracy" else bootstrap_mean
        return estimated(self._of(name)[:, k], unit="prompts", seed=self.seed, draws=1000)

    def gap(self, k: int, name: str) -> Estimate:
        """Score of the model minus that of a baseline behind k examples, prompts paired."""
        return bootstrap_mean(self._of(MODEL)[:, k] - self._of(name)[:, k], unit="prompts", seed=self.seed, draws=1000)

    def _of(self, name: str) -> Tensor:
        if name not in self.scores:
            raise BadInput(f"there is no curve of {name!r}; there are: {', '.join(self.scores)}")
        return self.scores[name]

    def frame(self) -> pd.DataFrame:
        """One row a predictor and number of examples: mean, low, high over prompts."""
        rows = []
        for name in self.scores:
            for k in range(self.n):
                found = self.estimate(k, name)
                rows.append({"predictor": name, "examples": k, self.metric: found.value, "low": found.low,
                             "high": found.high, "prompts": found.n})
        return pd.DataFrame(rows)

    def table(self) -> pd.DataFrame:
        """For reading: one row a number of examples, one column a predictor."""
        return pd.DataFrame({"examples": range(self.n), **{name: self.mean(name).numpy() for name in self.scores}})

    def figure(self) -> "go.Figure":
        """A curve for each predictor, with bands over prompts; errors far above 1 are left out of the picture."""
        found = self.frame()
        figure = None
        for name in self.scores:
            rows = found[found["predictor"] == name]
            figure = curve_with_band(
                rows["examples"], rows[self.metric], rows["low"], rows["high"], name=name, figure=figure,
                title=f"{self.model} on {self.task}", x_title="examples in the prompt", y_title=self.metric)
        if self.metric == "error":
            figure.update_yaxes(range=[-0.03, min(1.6, 1.05 * float(found["high"].max()))])
        return figure

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views("curves", self)


def run(
    model: HookedModel, task: FunctionTask | str = "linear", *, n: int | None = None, prompts: int = 1000,
    seed: int = 100_000, baselines: Sequence[str] | Mapping[str, Predictor] | None = None, bayes: bool = True,
) -> Curves:
    """The curves of a model on fresh prompts of a class of functions, its baselines beside.

    `n` points are shown, by default as many as the model's positions hold. `baselines` are names ("newton 3"), or
    predictors by name; by default those that belong to the class. `bayes` adds the Bayes predictor where it is known.
    Raises BadInput for a model that does not read the numbers of this class, or no n where the model has no limit.
    """
    task = function_task(task) if isinstance(task, str) else task
    n = points_of(model, task) if n is None else n
    drawn = task.sample(prompts, n, seed)
    check_reads(model, drawn)
    predictors: dict[str, Predictor] = {MODEL: lambda xs, ys: predict(model, xs, ys)}
    if bayes and task.bayes(drawn.xs[:1], drawn.ys[:1]) is not None:
        predictors[BAYES] = task.bayes
    predictors |= _chosen(task, baselines)
    scores = {name: score(asked(predictor, drawn), drawn.targets, task) for name, predictor in predictors.items()}
    return Curves(model.name, task.name, "accuracy" if task.labels == "sign" else "error", scores, seed)


def points_of(model: HookedModel, task: FunctionTask) -> int:
    """How many points the positions of a model hold. Raises BadInput where they have no end, or it reads no numbers."""
    if getattr(model.module, "d_input", None) is None:
        raise BadInput(f"{model.name} reads tokens, not the numbers of {task.name}; build one with interp.icl.build")
    n_ctx = getattr(getattr(model.module, "spec", None), "n_ctx", None)
    if n_ctx is None or getattr(model.module, "pos_embed", None) is None:
        raise BadInput(f"{model.name} has no longest prompt; say how many points it is shown with n=...")
    return n_ctx if is_system(task) else n_ctx // 2


def check_reads(model: HookedModel, drawn: Episodes) -> None:
    """Raise BadInput for a model that does not read these prompts, before anything else is computed."""
    predict(model, drawn.xs[:1], drawn.ys[:1])


def _chosen(task: FunctionTask, given: Sequence[str] | Mapping[str, Predictor] | None) -> dict[str, Predictor]:
    if is_system(task) and not given:
        return {}
    if given is None:
        return baselines_for(task)
    return dict(given) if isinstance(given, Mapping) else {name: baseline(name) for name in given}


def asked(predictor: Predictor, drawn: Episodes) -> Tensor:
    """What a predictor says of every asked point, [batch, n]: of x_k, or of queries_k behind the first k examples."""
    if drawn.queries is None:
        return predictor(drawn.xs, drawn.ys)
    said = []
    for k in range(drawn.xs.shape[1]):
        xs = torch.cat([drawn.xs[:, :k], drawn.queries[:, k: k + 1]], 1)
        ys = torch.cat([drawn.ys[:, :k], torch.zeros_like(drawn.ys[:, :1])], 1)  # nobody sees the last one
        said.append(predictor(xs, ys)[:, -1])
    return torch.stack(said, 1)


def score(said: Tensor, answers: Tensor, task: FunctionTask) -> Tensor:
    """[prompt, k]: squared error over the scale, or whether the sign is right."""
    said, answers = said.double(), answers.double()
    if task.labels == "sign":
        return ((said > 0) == (answers > 0)).double()
    wrong = (said - answers).square()
    return (wrong.sum(-1) if wrong.dim() == 3 else wrong) / task.scale


def prefix_curves(curves: Curves, lead: Tensor, last: int) -> Curves:
    """The same scores counted from the end of each prompt's lead: k = 0 is the first point behind it, for the prompts
    that go on for `last` points there. `lead` [prompt] is how many points the lead has (`latents["lead"]`).

    Raises BadInput where no prompt is long enough.
    """
    lead = torch.as_tensor(lead)
    long_enough = lead + last <= curves.n
    if not long_enough.any():
        raise BadInput(f"no prompt of {curves.n} points has {last} of them behind its lead")
    index = lead[long_enough, None] + torch.arange(last)
    return replace(curves, task=f"{curves.task}, behind the lead",
                   scores={name: values[long_enough].gather(1, index) for name, values in curves.scores.items()})
