"""Residual erasure: from which depth on is what one token holds no longer needed?

The stream of one token at one depth is replaced by the mean stream of that depth, and the output is compared where the
answer is read. A token whose erasure stops mattering has handed on what it had. Effects are not additive over tokens or
depths. The mean is over ordinary tokens, without the first: with its massive activations it would be no mean of text.

Paper: Csordas et al. 2025, "Do language models use their depth efficiently?", arXiv 2505.13898, section 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.depth import engine
from interp.depth.engine import BUDGET, Runs
from interp.depth.figures import matrix_figure
from interp.depth.tokens import describe_tokens
from interp.effects.skip import default_rows
from interp.hooks import HookedModel
from interp.lens.stream import Positions, chosen, points, real_tokens
from interp.results.estimate import bootstrap_mean
from interp.results.progress import progress

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Erasure:
    """`values[i, t, b]`: how far the output of prompt b moves (the largest over the positions read) when its token
    `at[t]` is erased at depth point i (`sites[i]`); in `unit`. `texts` [batch, pos] are the tokens."""

    model: str
    sites: list[str]
    at: list[int]
    values: Tensor
    unit: str
    texts: np.ndarray
    clusters: Any = None

    def frame(self) -> pd.DataFrame:
        """One row a depth point and token: mean over prompts with interval, and maximum."""
        rows = []
        for i, site in enumerate(self.sites):
            for t, pos in enumerate(self.at):
                e = bootstrap_mean(self.values[i, t].double(), self.clusters, unit="prompts", draws=500)
                rows.append({"site": site, "depth": i, "position": pos, "mean": e.value, "low": e.low, "high": e.high,
                             "max": float(self.values[i, t].max())})
        return pd.DataFrame(rows)

    def last_depth(self, share: float = 0.1) -> Tensor:
        """[token, batch]: the last depth point at which erasing a token moves the output by more than `share` of the
        most that any depth does; -1 where none does."""
        over = self.values > share * self.values.amax(0, keepdim=True).clamp(min=1e-9)
        place = torch.arange(len(self.sites))[:, None, None]
        return torch.where(over, place, -1).amax(0)

    def figure(self) -> "go.Figure":
        """Depth points down, tokens across: the mean over prompts."""
        one = len(self.texts) == 1
        labels = [self.texts[0, pos] if one and self.texts[0, pos] else pos for pos in self.at]
        return matrix_figure(
            self.values.mean(-1).numpy(), x=labels, y=list(range(len(self.sites))), unit=self.unit,
            title=f"{self.model}: output moved by erasing one token", x_title="token", y_title="blocks passed",
        )

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views("erasure", self)


@torch.no_grad()
def erasure(
    model: HookedModel, x: Any, positions: Positions = 1, *, tokens: Sequence[int] | None = None,
    clusters: Sequence | None = None, budget: int = BUDGET,
) -> Erasure:
    """Erase every token (or those at `tokens`, counted from the first real one) at every depth point in turn.

    `positions` are where the output is compared, by default the last token. As many erasures as `budget` bytes allow
    share a forward, which starts at the erased depth: L / 2 forwards a token. Raises BadInput for a token that a row
    does not have, RequiresResidualStream as `stream_blocks`.
    """
    sites = points(model)
    real = real_tokens(model, x, model.read(x, sites[0])[sites[0]])
    runs = Runs(model, x, sites, chosen(real, positions))
    ordinary = real & (real.cumsum(1) > 1) if int(real.sum(1).min()) > 1 else real
    at = list(range(int(real.sum(1).min()))) if tokens is None else list(tokens)
    places = chosen(real, at)
    batch, width = real.shape
    per = max(1, default_rows(model, width, budget, runs.positions is not None) // batch)
    values = torch.zeros(len(sites), len(at), batch)
    for i, site in enumerate(progress(sites, "erasing")):
        mean = runs.clean[site][ordinary].mean(0)
        start = runs.at(site) + (i > 0)
        for first in range(0, len(at), per):
            part = range(first, min(first + per, len(at)))
            where = torch.cat([torch.arange(width)[None] == places[:, t : t + 1] for t in part])
            _, output = runs.edited(start, engine.replace(site, mean, where), times=len(part), keep=())
            clean = runs.output.repeat(len(part), *[1] * (runs.output.dim() - 1))
            moved = engine.output_change(model, clean, output).amax(1)
            values[i, list(part)] = moved.reshape(len(part), batch).cpu()
    texts = describe_tokens(model, x, real).texts
    return Erasure(model.name, sites, at, values, engine.output_unit(model), texts, clusters)
