"""Linear maps from every depth of one model to every depth of another, in closed form (Csordas et al. 2025, 2505.13898,
who train them): does a deep model do what a shallow one does, drawn out, or something new?

    W, b = argmin sum over fitting rows |y - x W - b|^2 + lam |W|^2,   lam = ridge * mean variance of a column of x
    error[i, j] = mean over held-out rows of |y - x W - b| / |y - mean y|

Rows of whole prompts are held out. The diagonal test asks where in the shallow model each depth of the deep one is
predicted best: were it the same computation drawn out, at the same share of the depth. Its null is the same table with
the deep model's depths in a random order. Surprise: both models start from their tokens, so early depths are nearest
early depths for any two models, random ones too: look at a random model's table beside it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.depth.streams import Streams
from interp.results import plots
from interp.results.errors import BadInput

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Maps:
    """`error` [point of a, point of b], relative, on held-out rows; `ridge` [point of a, point of b] that was chosen.

    `diagonal` compares the best depth of `a` for each depth of `b`, as shares of the depth: their correlation, mean
    distance, and the share of random orders of b's depths at which that distance is as small (`p`).
    """

    error: np.ndarray
    ridge: np.ndarray
    a: str
    b: str
    n: int
    diagonal: dict[str, float]

    def frame(self) -> pd.DataFrame:
        """One row a pair of depth points."""
        i, j = np.indices(self.error.shape)
        frame = pd.DataFrame({"depth_a": i.ravel(), "depth_b": j.ravel(), "error": self.error.ravel(),
                              "ridge": self.ridge.ravel()})
        frame.attrs |= {"a": self.a, "b": self.b, "rows": self.n} | self.diagonal
        return frame

    def figure(self) -> "go.Figure":
        """The table of errors, with the best depth of `a` for each of `b` marked."""
        figure = plots.heatmap(self.error, diverging=False, largest=max(1.0, float(self.error.max())), unit="error",
                               title=f"linear maps, {self.a} to {self.b}: relative error on {self.n} held-out rows",
                               x_title=f"depth in {self.b}", y_title=f"depth in {self.a}")
        figure.add_scatter(x=list(range(self.error.shape[1])), y=self.error.argmin(0).tolist(), mode="markers",
                           marker={"symbol": "circle-open", "size": 11, "color": plots.ORANGE, "line": {"width": 2}},
                           name="best", showlegend=False)
        return figure

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views("maps", self)


def map_depths(a: Streams, b: Streams, *, ridges: tuple[float, ...] = (1e-4, 1e-2, 1.0), held_out: float = 0.3,
                seed: int = 0, draws: int = 2000) -> Maps:
    """The maps from every depth of `a` to every depth of `b`, whose rows are the same tokens.

    Half of the held-out prompts choose the ridge of a pair, the other half give its error. Raises BadInput for rows
    that do not stand beside each other, and for fewer than 5 prompts.
    """
    if len(a.values[0]) != len(b.values[0]) or not torch.equal(a.prompt, b.prompt):
        raise BadInput(f"the rows of {a.name} and {b.name} are not of the same tokens; use one tokenizer, or pooled() "
                       "on both")
    fit, choose, test = _split(a.prompt, held_out, seed)
    error = np.empty((a.points, b.points))
    chosen = np.empty_like(error)
    for i, x in enumerate(a.values):
        tables = {ridge: _errors(x, b.values, found, (choose, test), fit)
                  for ridge, found in _fits(x[fit], [y[fit] for y in b.values], ridges).items()}
        there, here = (np.array([table[k] for table in tables.values()]) for k in (0, 1))  # [ridge, point of b]
        best = there.argmin(0)
        error[i], chosen[i] = here[best, np.arange(b.points)], np.array(ridges)[best]
    return Maps(error, chosen, a.name, b.name, int(test.sum()), diagonal_test(error, draws=draws, seed=seed))


def _errors(x: Tensor, ys: list[Tensor], found: tuple[Tensor, Tensor], parts: tuple[Tensor, ...], fit: Tensor) -> list:
    """Relative errors of one depth's maps on each of `parts` (masks of rows), [part, point of b]."""
    weight, shift = found
    widths = [y.shape[1] for y in ys]
    return [[relative_error(guess, y[rows], y[fit].mean(0)) for guess, y in zip(
        (x[rows].double() @ weight + shift).split(widths, 1), ys)] for rows in parts]


def relative_error(guess: Tensor, y: Tensor, mean: Tensor) -> float:
    """Mean over rows of |y - guess| / |y - mean|: 1 for a map that knows the mean alone."""
    y = y.double()
    return float(((y - guess).norm(dim=-1) / (y - mean).norm(dim=-1).clamp_min(1e-12)).mean())


def _split(prompt: Tensor, held_out: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    prompts = prompt.unique()
    order = prompts[torch.randperm(len(prompts), generator=torch.Generator().manual_seed(seed))]
    away = max(2, round(held_out * len(prompts)))
    if len(prompts) < 5 or away >= len(prompts):
        raise BadInput(f"{len(prompts)} prompts are too few to fit maps, choose a ridge and test on others; give 5 at "
                       "least")
    choose, test, fit = order[: away // 2], order[away // 2: away], order[away:]
    return tuple(torch.isin(prompt, part) for part in (fit, choose, test))


def _fits(x: Tensor, ys: list[Tensor], ridges: tuple[float, ...]) -> dict[float, tuple[Tensor, Tensor]]:
    """{ridge: (weight [d, all widths], shift)} for all targets at once: one eigendecomposition of the inputs."""
    y = torch.cat([v.double() for v in ys], 1)
    mean, center = x.double().mean(0), y.mean(0)
    x = x.double() - mean
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    turned = vectors.T @ (x.T @ (y - center) / len(x))
    scale = values.mean().clamp_min(1e-30)
    found = {}
    for ridge in ridges:
        weight = vectors @ (turned / (values.clamp_min(0) + ridge * scale)[:, None])
        found[ridge] = (weight, center - mean @ weight)
    return found


def diagonal_test(error: np.ndarray, draws: int = 2000, seed: int = 0) -> dict[str, float]:
    """Whether the best depth of `a` for each of `b` (least error in its column) is at the same share of the depth.

    {correlation of the two shares, distance: mean |share - share|, p: share of random orders of b's depths whose
    distance is as small}. The ends are in it.
    """
    rows, columns = error.shape
    best = error.argmin(0) / max(rows - 1, 1)
    place = np.arange(columns) / max(columns - 1, 1)
    distance = float(np.abs(best - place).mean())
    generator = np.random.default_rng(seed)
    drawn = [np.abs(best[generator.permutation(columns)] - place).mean() for _ in range(draws)]
    correlation = float(np.corrcoef(best, place)[0, 1]) if best.std() > 0 else 0.0
    return {"correlation": correlation, "distance": distance,
            "p": float((1 + np.sum(np.array(drawn) <= distance + 1e-12)) / (1 + draws))}
