"""How many phases a model has, chosen in the open: a curve over their number, what it would be without any, and how
firmly their borders stand.

For k = 1, 2, ... the share of all distance that lies within the best k segments, beside two nulls of the same
distances: depths in a random order (`shuffled`: no order at all), and a stream that moves at an even pace (`even`: the
distance of two depths is the mean over all pairs as far apart). Only what lies below `even` speaks for phases: a random
walk, too, has near neighbours that are alike. Borders are drawn again on resampled prompts.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from interp.depth.phases import Segments, best_segments, free_cut, phase_score, segment, within
from interp.depth.streams import Streams, streams
from interp.hooks.model import HookedModel, Inputs
from interp.results import plots
from interp.results.errors import BadInput

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Phases:
    """Segments of the depths of a model, and what speaks for them.

    `distances` [L, L] between block outputs, mean over prompts; `curve` one row for each k: within (share of the
    distance), even, shuffled (5 % quantile), gain (even - within) with a 95 % interval (prompts resampled), stability
    (mean over resampled prompts of the share of borders found again at the same place). `k` is the number of segments
    that `segments` has; `k_gain` that of the largest gain whose interval lies above 0, 1 where there is none.
    `contiguous` is whether the free max-cut into two is contiguous (None for more than 20 depths).
    """

    segments: Segments
    distances: np.ndarray
    curve: pd.DataFrame
    k_gain: int
    score: float
    contiguous: bool | None
    method: str
    model: str
    n: int

    @property
    def k(self) -> int:
        return len(self.segments)

    def frame(self) -> pd.DataFrame:
        """One row a depth: its segment, its distance to the depth before."""
        label = {depth: i for i, part in enumerate(self.segments) for depth in part}
        steps = [np.nan, *np.diagonal(self.distances, 1)]
        frame = pd.DataFrame({"depth": range(len(steps)), "phase": [label[d] for d in range(len(steps))],
                              "distance_to_previous": steps})
        frame.attrs |= {"model": self.model, "method": self.method, "prompts": self.n, "score": self.score}
        return frame

    def figure(self) -> "go.Figure":
        """Distances with a frame around every segment."""
        names = f"{self.k} phases by {self.method}" if self.k > 1 else f"one phase by {self.method}"
        figure = plots.heatmap(self.distances, diverging=False, unit="1 - cosine", x_title="depth", y_title="depth",
                               title=f"{self.model}: {names}, {self.n} prompts")
        for part in self.segments:
            low, high = part[0] - 0.5, part[-1] + 0.5
            figure.add_shape(type="rect", x0=low, y0=low, x1=high, y1=high, line={"color": plots.ORANGE, "width": 3})
        return figure

    def count_figure(self) -> "go.Figure":
        """The curve over the number of segments with both nulls."""
        figure = plots.curve_with_band(self.curve["k"], self.curve["within"], name="model",
                                       title=f"{self.model}: distance within the best k segments",
                                       x_title="number of segments k", y_title="share of all distance")
        plots.curve_with_band(self.curve["k"], self.curve["even"], name="at an even pace", figure=figure)
        plots.curve_with_band(self.curve["k"], self.curve["shuffled"], name="depths shuffled (5 %)", figure=figure)
        return figure

    def save(self, run):
        """Tables and figures into a run."""
        run.save_table("phase_distances", pd.DataFrame(self.distances))
        run.save_table("phase_curve", self.curve)
        run.save_figure("phase_curve", self.count_figure())
        return run.save_views("phases", self)


def prompt_distances(found: Streams, centred: bool = False) -> np.ndarray:
    """1 - cosine between the streams behind every two blocks, mean over each prompt's tokens: [prompt, L, L]."""
    units = torch.stack([F.normalize(v - v.mean(0) if centred else v, dim=-1) for v in found.values[1:]])
    tables = []
    for p in range(int(found.prompt.max()) + 1):
        rows = units[:, found.prompt == p]
        tables.append(1 - torch.einsum("itd,jtd->ij", rows, rows) / rows.shape[1])
    return torch.stack(tables).double().numpy()


def phases(model: HookedModel, x: Inputs, *, method: str = "maxcut", eps: float = 0.2, k: int | None = None,
           centred: bool = False, skip_first: bool = False, k_max: int = 6, draws: int = 200, seed: int = 0) -> Phases:
    """The phases of a model on prompts `x`. `skip_first` leaves each prompt's first token out, which in causal models
    is of its own kind. Raises as `streams` and `segment`."""
    found = streams(model, x)
    if skip_first:
        found = found.rows(found.place > 0)
    return count_phases(prompt_distances(found, centred), method=method, eps=eps, k=k, k_max=k_max, draws=draws,
                        seed=seed, name=model.name)


def count_phases(distances: np.ndarray, *, method: str = "maxcut", eps: float = 0.2, k: int | None = None,
                 k_max: int = 6, draws: int = 200, seed: int = 0, name: str = "") -> Phases:
    """The same from distances [prompt, L, L]. Raises BadInput for fewer than 4 depths."""
    mean = distances.mean(0)
    depths = len(mean)
    if depths < 4:
        raise BadInput(f"{name or 'this model'} has {depths} depths; phases are stretches of 2 and more, so 4 at least "
                       "are needed")
    segments = segment(mean, method, eps=eps, k=k)
    curve = _curve(distances, mean, min(k_max, depths // 2), draws, seed)
    sure = curve[curve["gain_low"] > 1e-9]
    contiguous = None if depths > 20 else all(np.ptp(part) == len(part) - 1 for part in free_cut(mean))
    k_gain = int(sure.loc[sure["gain"].idxmax(), "k"]) if len(sure) else 1
    return Phases(segments, mean, curve, k_gain, phase_score(mean, segments), contiguous, method, name, len(distances))


def even_pace(distances: np.ndarray) -> np.ndarray:
    """Every distance as the mean over all pairs of depths as far apart, [L, L]: a stream without phases."""
    apart = np.abs(np.subtract.outer(np.arange(len(distances)), np.arange(len(distances))))
    means = np.array([distances[apart == a].mean() for a in range(len(distances))])
    return means[apart]


def _shares(table: np.ndarray, k_max: int) -> np.ndarray:
    """Share of all distance within the best 1, 2, ... k_max segments, [k]."""
    return np.array([within(table, part) for part in best_segments(table, k_max)]) / max(np.triu(table, 1).sum(), 1e-30)


def _borders(table: np.ndarray, k_max: int) -> list[set[int]]:
    return [{part[0] for part in segments[1:]} for segments in best_segments(table, k_max)]


def _curve(distances: np.ndarray, mean: np.ndarray, k_max: int, draws: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    n, depths = len(distances), len(mean)
    orders = [generator.permutation(depths) for _ in range(draws)]
    shuffled = np.quantile([_shares(mean[np.ix_(o, o)], k_max) for o in orders], 0.05, axis=0)
    drawn = [distances[generator.integers(n, size=n)].mean(0) for _ in range(draws)]
    again = [_borders(table, k_max) for table in drawn]
    gains = [_shares(even_pace(table), k_max) - _shares(table, k_max) for table in drawn]
    low, high = np.quantile(gains, [0.025, 0.975], axis=0)
    own, even, borders = _shares(mean, k_max), _shares(even_pace(mean), k_max), _borders(mean, k_max)
    rows = []
    for i, places in enumerate(borders):
        found = [len(places & other[i]) / len(places) for other in again] if places else [1.0]
        rows.append({"k": i + 1, "within": own[i], "even": even[i], "shuffled": shuffled[i], "gain": even[i] - own[i],
                     "gain_low": low[i], "gain_high": high[i], "stability": float(np.mean(found))})
    return pd.DataFrame(rows)
