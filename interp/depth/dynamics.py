"""Depth as a dynamical system: where streams are headed, how fast, together or each its own way (after Raptor).

    convergence  mean cos(h_l, h_L)                      rises to 1 at the end
    speed        mean angle between h_l and h_{l+1}, radians
    coherence    norm of the mean over tokens of dh / |dh|, dh = h_{l+1} - h_l       1: all tokens are moved alike
    stable_rank  |D|_F^2 / |D|_2^2 of D, the updates of all tokens [row, d]; effective_rank exp(entropy of its singular
                 values): over how many directions updates are spread

Each for all tokens and for every type of token. `self_correction` adds noise of a set relative size at one depth and
follows the angle to the clean run: below its start the blocks correct it. Surprises: coherence of n unrelated updates
is about 1 / sqrt(n), not 0, and depends on how many tokens a type has; ranks are at most that number, too; and where
the stream grows, any fixed difference turns into a smaller angle, so that shrinking angles alone are no attractor: the
ratio of the distances is given beside them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from interp.depth.tokens import describe_tokens
from interp.hooks import Patch
from interp.hooks.model import HookedModel, Inputs
from interp.lens.stream import points, real_tokens
from interp.results import plots
from interp.results.errors import BadInput

if TYPE_CHECKING:
    import plotly.graph_objects as go

ALL = "all"
MEASURES = ("convergence", "speed", "coherence", "stable_rank", "effective_rank")


@dataclass(frozen=True, eq=False)
class Dynamics:
    """`table`: one row a depth point and type of token, with the measures; those of a step stand at its start, and are
    NaN at the last point. `tokens` {type: number of tokens}."""

    table: pd.DataFrame
    tokens: dict[str, int]
    model: str

    def frame(self) -> pd.DataFrame:
        """The table: depth, type, tokens and every measure."""
        return self.table

    def figure(self, measure: str = "convergence") -> "go.Figure":
        """One measure by depth, a curve for every type. Raises BadInput for a measure that is not there."""
        if measure not in MEASURES:
            raise BadInput(f"no measure {measure!r}; there are {', '.join(MEASURES)}")
        figure = None
        for kind in self.tokens:
            rows = self.table[(self.table["type"] == kind) & self.table[measure].notna()]
            figure = plots.curve_with_band(rows["depth"], rows[measure], name=f"{kind} ({self.tokens[kind]})",
                                           title=f"{self.model}: {measure.replace('_', ' ')}", x_title="depth",
                                           y_title=measure.replace("_", " "), figure=figure)
        return figure

    def save(self, run):
        """The table, and a figure for every measure, into a run."""
        for measure in MEASURES[1:]:
            run.save_figure(f"dynamics_{measure}", self.figure(measure))
        return run.save_views("dynamics", self)


def dynamics(model: HookedModel, x: Inputs, types: Any = None) -> Dynamics:
    """The dynamics of the stream on `x`, for all tokens and by `types` (labels [batch, pos]; None: those of
    `interp.depth.tokens`).

    One forward. Raises RequiresResidualStream for a model without a stream.
    """
    sites = points(model)
    cache = model.read(x, list(dict.fromkeys(sites)))
    real = real_tokens(model, x, cache[sites[0]])
    tokens = describe_tokens(model, x, real, types)
    rows, counts = [], {}
    for kind in (ALL, *tokens.kinds):
        mask = tokens.of_type(None if kind == ALL else kind)
        counts[kind] = int(mask.sum())
        values = [cache[site].float().cpu()[mask] for site in sites]
        for depth, value in enumerate(values):
            following = values[depth + 1] if depth + 1 < len(values) else None
            rows.append({"depth": depth, "type": kind, "tokens": counts[kind],
                         "convergence": float(F.cosine_similarity(value, values[-1], dim=-1).mean()),
                         **_step(value, following)})
    return Dynamics(pd.DataFrame(rows), counts, model.name)


def _step(value: Tensor, following: Tensor | None) -> dict[str, float]:
    if following is None:
        return dict.fromkeys(MEASURES[1:], np.nan)
    update = following - value
    return {"speed": float(angles(value, following).mean()), "coherence": coherence(update),
            "stable_rank": stable_rank(update), "effective_rank": effective_rank(update)}


def angles(a: Tensor, b: Tensor) -> Tensor:
    """Angles between rows [..., d], radians; exact for small ones, where a cosine is 1 to the last bit."""
    a, b = F.normalize(a.double(), dim=-1), F.normalize(b.double(), dim=-1)
    return 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))


def coherence(updates: Tensor) -> float:
    """Norm of the mean direction of updates [row, d], between 0 and 1."""
    return float(F.normalize(updates.float(), dim=-1).mean(0).norm())


def stable_rank(updates: Tensor) -> float:
    """|D|_F^2 / |D|_2^2 of D [row, d]; 0 where nothing changes."""
    s = torch.linalg.svdvals(updates.double())
    return float(s.square().sum() / s[0].square()) if s[0] > 0 else 0.0


def effective_rank(updates: Tensor) -> float:
    """exp of the entropy of the singular values of D [row, d] as shares (Roy & Vetterli 2007); 0 for no change."""
    s = torch.linalg.svdvals(updates.double())
    share = s / s.sum() if s.sum() > 0 else s
    share = share[share > 0]
    return float((-(share * share.log()).sum()).exp()) if len(share) else 0.0


@dataclass(frozen=True, eq=False)
class SelfCorrection:
    """What becomes of noise: `angle` [start, point] mean angle to the clean run, `distance` [start, point] mean
    distance, each divided by its value where the noise was added; NaN before. `rate` [start]: mean log growth of the
    angle a block, negative where noise is corrected."""

    angle: np.ndarray
    distance: np.ndarray
    starts: list[int]
    rate: np.ndarray
    eps: float
    model: str

    def frame(self) -> pd.DataFrame:
        """One row a start and depth point behind it."""
        i, j = np.nonzero(np.isfinite(self.angle))
        return pd.DataFrame({"start": np.array(self.starts)[i], "depth": j, "angle": self.angle[i, j],
                             "distance": self.distance[i, j]})

    def figure(self) -> "go.Figure":
        """Angles by depth, one curve a start, 1 where the noise was added."""
        figure = None
        for start, row in zip(self.starts, self.angle):
            at = np.flatnonzero(np.isfinite(row))
            figure = plots.curve_with_band(at, row[at], name=f"noise at {start}", x_title="depth", figure=figure,
                                           title=f"{self.model}: angle to the clean run, noise of {self.eps:g} |h|",
                                           y_title="angle / angle at start")
        return figure

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views("self_correction", self)


def self_correction(model: HookedModel, x: Inputs, *, starts: list[int] | None = None, eps: float = 0.05,
                    draws: int = 4, seed: int = 0) -> SelfCorrection:
    """Noise of `eps` times a token's stream (in a random direction) at depth points `starts`, followed to the end.

    Means over real tokens and `draws` directions. `starts` None: five depths evenly spaced. Costs draws forwards a
    start. Raises BadInput for a depth that is not there.
    """
    sites = points(model)
    last = len(sites) - 1
    if starts is None:
        starts = sorted({round(i * last / 5) for i in range(5)})
    if not all(0 <= s < last for s in starts):
        raise BadInput(f"noise is to start at {starts}; {model.name} has depth points 0 to {last - 1} with a block "
                       "behind")
    clean = model.read(x, list(dict.fromkeys(sites)))
    real = real_tokens(model, x, clean[sites[0]])
    generator = torch.Generator().manual_seed(seed)
    angle, distance = (np.full((len(starts), last + 1), np.nan) for _ in range(2))
    for row, start in enumerate(starts):
        sums = np.zeros((2, last + 1 - start))
        for _ in range(draws):
            here = clean[sites[start]]
            noise = F.normalize(torch.randn(here.shape, generator=generator), dim=-1).to(here)
            changed = here + eps * here.norm(dim=-1, keepdim=True) * noise
            with model.edit(Patch(sites[start], changed)):
                noisy = model.read(x, sites[start:])
            for j, site in enumerate(sites[start:]):
                a, b = noisy[site].cpu()[real], clean[site].cpu()[real]
                sums[:, j] += float(angles(a, b).mean()), float((a - b).double().norm(dim=-1).mean())
        angle[row, start:], distance[row, start:] = sums / sums[:, :1]
    rate = np.array([np.log(angle[row, -1]) / (last - start) for row, start in enumerate(starts)])
    return SelfCorrection(angle, distance, list(starts), rate, eps, model.name)
