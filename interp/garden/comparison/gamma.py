"""How much momentum is best at which depth: the sweep of gamma (Momentum attention, paper 199).

The paper fits gamma*(N) = 4.17 N^-0.74 to the best gamma of models with N layers. Here: attention-only models with
rotary positions are trained alike at every gamma and depth, each pair at the better of the rates on seed 0; gamma* of a
seed is the gamma of its highest accuracy, and the exponent the slope of ln gamma* against ln N. Where several gammas do
equally well gamma* is an accident: `plateau` lists those within `TIE` of the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp.garden.comparison.tasks import TokenTask, token_task
from interp.garden.comparison.tune import Contender, trained, tune
from interp.results import plots
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean
from interp.results.progress import progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

GAMMAS = (0.0, 0.05, 0.15, 0.5, 1.5, 4.0, 8.0)
TIE = 0.01


@dataclass(frozen=True, eq=False)
class GammaSweep:
    """`accuracy` [gamma, layers, seed]: share of right answers on held-out rows; `rate` [gamma, layers] as tuned."""

    task: str
    steps: int
    gammas: tuple[float, ...]
    layers: tuple[int, ...]
    accuracy: np.ndarray
    rate: np.ndarray

    def frame(self) -> pd.DataFrame:
        """One row a depth and gamma: tuned rate, mean accuracy over seeds with its interval."""
        rows = []
        for n, layers in enumerate(self.layers):
            for g, gamma in enumerate(self.gammas):
                found = bootstrap_mean(self.accuracy[g, n], unit="seeds")
                rows.append({"layers": layers, "gamma": gamma, "rate": self.rate[g, n], "accuracy": found.value,
                             "low": found.low, "high": found.high})
        return pd.DataFrame(rows)

    def plateau(self) -> pd.DataFrame:
        """One row a depth: the gamma of the highest mean, and those within `TIE` of it. More than one of them means
        that the task and budget do not tell which gamma is best."""
        rows = []
        for n, layers in enumerate(self.layers):
            mean = self.accuracy[:, n].mean(-1)
            near = [gamma for gamma, value in zip(self.gammas, mean) if value >= mean.max() - TIE]
            rows.append({"layers": layers, "best": self.gammas[int(mean.argmax())], "accuracy": mean.max(),
                         "as good": near})
        return pd.DataFrame(rows)

    def exponent(self) -> Estimate:
        """Slope of ln gamma* against ln layers, seeds resampled; gamma* is the best positive gamma of a depth and seed.

        Raises BadInput where there are not two depths and two positive gammas.
        """
        some = np.array(self.gammas) > 0
        if len(self.layers) < 2 or some.sum() < 2:
            raise BadInput(f"a slope needs two depths and two positive gammas; the sweep has {list(self.layers)} "
                           f"layers and gamma in {list(self.gammas)}")
        best = np.array(self.gammas)[some][self.accuracy[some].argmax(0)]
        slopes = [np.polyfit(np.log(self.layers), row, 1)[0] for row in np.log(best).T]
        return bootstrap_mean(np.array(slopes), unit="seeds")

    def figure(self) -> "go.Figure":
        """Accuracy against gamma, a line a depth with its interval; gammas stand evenly."""
        figure, at = None, list(range(len(self.gammas)))
        for layers, part in self.frame().groupby("layers"):
            figure = plots.curve_with_band(at, part["accuracy"], part["low"], part["high"], figure=figure,
                                           name=f"{layers} layer" + "s" * (layers > 1), y_title="accuracy",
                                           x_title="gamma", title=f"Momentum on {self.task}, {self.steps} steps")
        return figure.update_xaxes(tickvals=at, ticktext=[f"{gamma:g}" for gamma in self.gammas])


def gamma_sweep(
    task: str, gammas: Sequence[float] = GAMMAS, layers: Sequence[int] = (1, 2, 4), *, folder: Path, seeds: int = 3,
    steps: int = 200, rates: Sequence[float] = (4e-3, 1.6e-2), d_model: int = 64,
) -> GammaSweep:
    """Train momentum attention at every gamma and depth, or load what the folder has from an earlier call.

    Few steps tell gammas apart better than many: what can be learned at all is learned by most in the end.
    Raises BadInput for an unknown task, no gammas, depths or seeds, and as `tune`.
    """
    chosen = token_task(task)
    if not gammas or not layers or seeds < 1:
        raise BadInput(f"{len(gammas)} gammas, {len(layers)} depths and {seeds} seeds were asked for; 1 of each is "
                       "the least")
    grid = tuple(sorted(set(gammas))), tuple(sorted(set(layers)))
    accuracy, rate = np.zeros([*map(len, grid), seeds]), np.zeros([*map(len, grid)])
    cells = [(g, n) for g in range(len(grid[0])) for n in range(len(grid[1]))]
    for g, n in progress(cells, "gammas and depths"):
        kept = folder / f"gamma-{grid[0][g]:g}"
        one = _contender(chosen, grid[0][g], grid[1][n], d_model, steps)
        rate[g, n] = tune(one, kept, tuple(rates), extend=False).rate
        accuracy[g, n] = [chosen.metrics(trained(one, rate[g, n], seed, kept))["accuracy"] for seed in range(seeds)]
    return GammaSweep(task, steps, *grid, accuracy, rate)


def _contender(task: TokenTask, gamma: float, layers: int, d_model: int, steps: int) -> Contender:
    sizes = {"d_model": d_model, "n_layers": layers, "n_heads": 4, "d_vocab": task.d_vocab, "n_ctx": task.n_ctx,
             "gamma": gamma}
    return Contender(task, "momentum", sizes, steps)
