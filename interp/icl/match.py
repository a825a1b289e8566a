"""Which algorithm do the depths of a model run, step by step? (Fu et al. 2023, arXiv 2310.17086, section 4)

What every depth would answer (`interp.icl.readouts`) is compared with every iterate of every algorithm by the
similarity of their errors (SimE). In distribution the value of SimE tells algorithms hardly apart, so steps are chosen
there and judged elsewhere: a depth that runs j steps of an algorithm does so on stretched and scaled points as well.

The rule, fixed before any trained model was looked at:
    1. Read-outs are fitted, and for each family its variant (step size), the scale at which a read-out shows each of
       its iterates, and for each depth its step chosen, on prompts of the training distribution. Nothing is chosen
       again.
    2. A depth is active where its read-out errs less than the answer 0 in distribution (95 % interval over prompts).
    3. Its score for a family is the mean SimE at the chosen step over all conditions but the training distribution.
       A family is a candidate there if its score is at least 0.9 (lower limit) and its mean SimE 0.85 under each
       condition alone, if the score is above that of the control (a random model's read-outs compared with the same
       iterate, at the depth where they are most like it; interval of the difference), and not below the best family's
       (interval of the difference contains 0). Families that coincide there stay candidates together.
    4. The verdict is the one family that is a candidate at every active depth, if the chosen steps never fall with
       depth and rise at least once over two active depths or more. Otherwise it is "undecided", with the reason.
The two numbers come from planted solvers: those of the list pass both, a path of ridge penalties, which early stopped
descent is much like, passes the first alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from interp.hooks import HookedModel
from interp.icl.curves import points_of
from interp.icl.families import CHOOSING, Family, families_for
from interp.icl.readouts import FIT_SEED, Readouts, fit_readouts
from interp.icl.similarity import error_similarity
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean
from interp.tasks.functions import FunctionTask, function_task, shifted

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from interp.icl.verdict import Verdict

HOME = "in distribution"
CONDITIONING = (3.0, 10.0, 30.0, 100.0, 1000.0)
SCALES = (1 / 3, 3.0)
SCALE_PROMPTS = 1000
"""Prompts by which the scales of iterates are fitted."""


def conditions_for(task: FunctionTask) -> dict[str, FunctionTask]:
    """The training distribution, then stretched points (condition 3 to 1000) and scaled ones."""
    found = {HOME: task}
    found |= {f"conditioning {c:g}": shifted(task, "conditioning", c) for c in CONDITIONING}
    return found | {f"x times {s:.2g}": shifted(task, "x-scale", s) for s in SCALES}


@dataclass(frozen=True, eq=False)
class Matching:
    """SimE of depths and iterates. `conditions` name the cells: a condition and whether k is up to d or above it.

    `mean[family]` [condition, depth, step] over prompts; `step[family]` [depth] the index chosen in distribution, and
    `interval[family]` [2, depth] of it, prompts resampled; `chosen[family]` [condition, depth, prompt] SimE at that
    step; `control[family]` of the same shape: SimE of the same iterate with the random model, at the depth of it that
    is most like that iterate outside; `errors` [condition, depth, prompt] squared error of the read-outs over that of
    the answer 0; `families` holds the fitted variants.
    """

    model: str
    task: str
    d: int
    conditions: list[str]
    home: list[bool]
    families: dict[str, Family]
    mean: dict[str, np.ndarray]
    step: dict[str, np.ndarray]
    interval: dict[str, np.ndarray]
    chosen: dict[str, np.ndarray]
    control: dict[str, np.ndarray]
    errors: np.ndarray
    prompts: int
    seed: int

    @property
    def depths(self) -> int:
        """Depth points: embeddings, then the stream behind every block."""
        return self.errors.shape[1]

    def score(self, family: str, depth: int) -> Float[np.ndarray, " prompt"]:
        """Mean SimE over the conditions out of distribution, of every prompt."""
        return self.chosen[family][~np.array(self.home), depth].mean(0)

    def control_score(self, family: str, depth: int) -> Float[np.ndarray, " prompt"]:
        """The same of the random model and the iterate that this depth was matched with."""
        return self.control[family][~np.array(self.home), depth].mean(0)

    def verdict(self) -> "Verdict":
        """What the rule says (see the module)."""
        return self._verdict

    @cached_property
    def _verdict(self) -> "Verdict":
        from interp.icl.verdict import verdict

        return verdict(self)

    def frame(self) -> pd.DataFrame:
        """One row a family and depth: step with its interval, SimE in distribution, score out of it with its interval,
        and the random model's."""
        return self._frame.copy()

    @cached_property
    def _frame(self) -> pd.DataFrame:
        rows = []
        for family, steps in self.step.items():
            labels = self.families[family].steps
            for depth in range(self.depths):
                out = bootstrap_mean(self.score(family, depth), seed=self.seed, draws=1000)
                rows.append({
                    "family": family, "depth": depth, "step": labels[steps[depth]],
                    "step_low": labels[self.interval[family][0, depth]],
                    "step_high": labels[self.interval[family][1, depth]],
                    "at_home": float(self.chosen[family][np.array(self.home), depth].mean()),
                    "outside": out.value, "low": out.low, "high": out.high,
                    "random_model": float(self.control_score(family, depth).mean()),
                })
        frame = pd.DataFrame(rows)
        frame.attrs |= {"model": self.model, "task": self.task, "prompts": self.prompts, "seed": self.seed,
                        "verdict": str(self.verdict())}
        return frame

    def error_frame(self) -> pd.DataFrame:
        """One row a condition and depth: the read-out's squared error over that of 0, with its interval."""
        return self._error_frame.copy()

    @cached_property
    def _error_frame(self) -> pd.DataFrame:
        rows = []
        for i, condition in enumerate(self.conditions):
            for depth in range(self.depths):
                e = self.error(i, depth)
                rows.append({"condition": condition, "depth": depth, "error": e.value, "low": e.low, "high": e.high})
        return pd.DataFrame(rows)

    def error(self, condition: int, depth: int) -> Estimate:
        """Squared error of a read-out over that of the answer 0."""
        return bootstrap_mean(self.errors[condition, depth], seed=self.seed, draws=500)

    def figure(self, condition: str | None = None) -> "go.Figure":
        """SimE of depth and step for every family under one condition (by default: in distribution, all k)."""
        from interp.icl.match_figures import heatmaps

        return heatmaps(self, condition)

    def save(self, run):
        """Tables, heatmaps and tensors into a run."""
        from interp.icl.match_figures import curves, rates_frame

        run.save_table("match_errors", self.error_frame())
        run.save_table("match_rates", rates_frame(self))
        run.save_table("match_verdict", self.verdict().frame())
        run.save_figure("match_errors", curves(self))
        run.save_figure("match_outside", self.figure(self.conditions[-1]))
        run.save_tensors({f"mean/{family}": values for family, values in self.mean.items()} | {"errors": self.errors})
        return run.save_views("match", self)


def match_algorithms(
    model: HookedModel, task: FunctionTask | str = "linear", n: int | None = None, *, prompts: int = 500,
    families: Sequence[Family] | None = None, conditions: Mapping[str, FunctionTask] | None = None,
    control: HookedModel | None = None, readouts: Readouts | None = None, control_readouts: Readouts | None = None,
    seed: int = 0,
) -> Matching:
    """The similarity of every depth of a model to every iterate of every family, in and out of distribution.

    `n` points a prompt (default: what the context holds), `prompts` of them for each condition. `families` are the
    algorithms (`interp.icl.families.families_for`), `conditions` the distributions, the first of which is the training
    one. `control` is the random model (default: the same architecture with fresh weights).
    Raises BadInput for a class without real values, or prompts with no k above d.
    """
    task = function_task(task) if isinstance(task, str) else task
    n = n or points_of(model, task)
    if task.labels != "real" or n <= task.d + 1:
        raise BadInput(f"matching needs real values and more than d + 1 = {task.d + 1} points; {task.name} has "
                       f"{task.labels} labels, and n is {n}")
    conditions = conditions_for(task) if conditions is None else conditions
    readouts = readouts or fit_readouts(model, task, n)
    control = control or random_twin(model)
    control_readouts = control_readouts or fit_readouts(control, task, n)
    drawn = {name: some.sample(prompts, n, seed) for name, some in conditions.items()}
    answers = {name: (readouts(model, e.xs, e.ys), control_readouts(control, e.xs, e.ys)) for name, e in drawn.items()}
    first, *_ = drawn
    fit = conditions[first].sample(SCALE_PROMPTS, n, FIT_SEED)
    fit_answers = readouts(model, fit.xs[:CHOOSING], fit.ys[:CHOOSING])
    found: dict[str, dict] = {key: {} for key in ("mean", "step", "interval", "chosen", "control", "families")}
    parts = {"k <= d": slice(1, task.d + 1), "k > d": slice(task.d + 1, n)}
    cells = [(name, part) for name in conditions for part in parts.values()]
    at_home = [name == first for name, _ in cells]
    for family in families_for(task, n) if families is None else families:
        fitted = family.fitted(fit.xs, fit.ys, fit_answers)
        found["families"][family.name] = fitted
        iterates = {name: fitted(e.xs, e.ys) for name, e in drawn.items()}
        home = sims(answers[first][0], iterates[first], drawn[first].ys, slice(1, n))
        step = home.mean(-1).argmax(-1)
        own, other = ([sims(answers[name][i], iterates[name], drawn[name].ys, part) for name, part in cells]
                      for i in (0, 1))
        found["step"][family.name], found["interval"][family.name] = step, _best_interval(home, seed)
        found["mean"][family.name] = np.stack([home.mean(-1), *(table.mean(-1) for table in own)])
        found["chosen"][family.name] = np.stack([table[np.arange(len(step)), step] for table in own])
        found["control"][family.name] = _control(np.stack(other), step, at_home)
    names = [f"{name}, {part}" for name in conditions for part in parts]
    errors = [_errors(answers[name][0], drawn[name].ys, part) for name, part in cells]
    return Matching(model.name, task.name, task.d, names, at_home, errors=np.stack(errors), prompts=prompts, seed=seed,
                    **found)


def random_twin(model: HookedModel, seed: int = 1_000_003) -> HookedModel:
    """The same architecture with fresh weights. Raises BadInput for a model that no catalog entry rebuilds."""
    from interp.architectures.catalog import build

    recipe = model.recipe or {}
    if recipe.get("source") != "catalog":
        raise BadInput(f"{model.name} was not built from the catalog; give control=, the same model with random "
                       "weights")
    return build(recipe["name"], seed=seed, **recipe["sizes"])


def sims(
    said: Float[Tensor, "depth batch n"], iterates: Float[Tensor, "step batch n"], ys: Tensor, part: slice
) -> Float[np.ndarray, "depth step batch"]:
    """SimE of every depth and iterate over a range of k."""
    return error_similarity(said[:, None, :, part], iterates[None, :, :, part], ys[:, part].double()).numpy()


def _control(tables: Float[np.ndarray, "cell depth step batch"], step: np.ndarray, at_home: list[bool]) -> np.ndarray:
    """[cell, depth of the model, batch]: for each step in question the depth of the random model most like it."""
    most = tables[~np.array(at_home)].mean((0, 3)).argmax(0)  # [step]
    return tables[:, most[step], step]


def _errors(said: Tensor, ys: Tensor, part: slice) -> Float[np.ndarray, "depth batch"]:
    """Squared errors over the mean square of the answers."""
    y = ys[:, part].double()
    return ((said[..., part] - y).square().mean(-1) / y.square().mean()).numpy()


def _best_interval(table: Float[np.ndarray, "depth step batch"], seed: int, draws: int = 300) -> np.ndarray:
    """[2, depth]: 2.5 and 97.5 % of the best step, prompts resampled."""
    generator, batch = np.random.default_rng(seed), table.shape[-1]
    weights = generator.multinomial(batch, np.full(batch, 1 / batch), draws) / batch
    best = np.einsum("lsb,rb->rls", table, weights).argmax(-1)
    return np.quantile(best, [0.025, 0.975], axis=0, method="inverted_cdf").astype(int)
