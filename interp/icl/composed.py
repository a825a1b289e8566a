"""Composition and copying: what the weights of heads say about who reads whom (Elhage et al. 2021, A mathematical
framework for transformer circuits).

    K  |QK_2 OV_1^T| / (|QK_2| |OV_1|)       the later head's keys read what the earlier one wrote
    Q  |QK_2^T OV_1^T| / (|QK_2| |OV_1|)     its queries
    V  |OV_1 OV_2| / (|OV_1| |OV_2|)         its values                                       all Frobenius norms

    copying = sum Re(lam) / sum |lam|,  lam the eigenvalues of W_E OV W_U: 1 raises the token that is read, -1 lowers it

Two random heads do not score 0: matrices of rank d_head that live in d_model directions overlap by chance. So every
score stands beside a baseline that is measured, on Gaussian heads of the same shapes. The norm of a product says
nothing of its direction: a score far from its baseline is a reason for an ablation, not a finding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.hooks import HookedModel
from interp.icl.weights import HeadWeights, head_weights, token_maps
from interp.results import plots
from interp.results.errors import BadInput

if TYPE_CHECKING:
    import plotly.graph_objects as go

KINDS = ("K", "Q", "V")


@dataclass(frozen=True, eq=False)
class Composition:
    """`scores` [kind, writer, reader] of heads, `writers` and `readers` their (depth, head); the baseline is the mean
    and the largest of `draws` random pairs of the same shapes, by kind."""

    model: str
    scores: np.ndarray
    writers: list[tuple[int, int]]
    readers: list[tuple[int, int]]
    baseline: dict[str, float]
    highest: dict[str, float]
    draws: int
    seed: int

    def frame(self) -> pd.DataFrame:
        """One row a pair of heads and kind: score, baseline, and whether it passes every random pair."""
        rows = []
        for kind, table in zip(KINDS, self.scores):
            for i, writer in enumerate(self.writers):
                for j, reader in enumerate(self.readers):
                    if writer[0] < reader[0]:
                        rows.append({"kind": kind, "writer": f"L{writer[0]}H{writer[1]}",
                                     "reader": f"L{reader[0]}H{reader[1]}", "score": float(table[i, j]),
                                     "baseline": self.baseline[kind], "highest_random": self.highest[kind],
                                     "above_all_random": bool(table[i, j] > self.highest[kind])})
        return pd.DataFrame(rows)

    def figure(self) -> "go.Figure":
        """Score minus baseline of every pair, one panel a kind."""
        from plotly.subplots import make_subplots

        figure = make_subplots(1, 3, subplot_titles=[f"{kind} composition" for kind in KINDS], shared_yaxes=True,
                               horizontal_spacing=0.04)
        wrote, read = (~np.isnan(self.scores[0]).all(axis) for axis in (1, 0))  # heads with a pair in order
        grids = [(table - self.baseline[kind])[wrote][:, read] for kind, table in zip(KINDS, self.scores)]
        top = plots.max_size(np.stack(grids))
        for i, grid in enumerate(grids):
            figure.add_heatmap(z=grid, zmin=-top, zmax=top, colorscale=plots.DIVERGING, xgap=1, ygap=1, row=1,
                               col=i + 1, showscale=i == 2, hoverongaps=False,
                               colorbar={"title": {"text": "above<br>random"}, "thickness": 14, "outlinewidth": 0})
        plots.styled(figure, title=f"{self.model}: composition above random heads of the same shapes", x_title="reader")
        sides = ((figure.update_yaxes, self.writers, wrote), (figure.update_xaxes, self.readers, read))
        for axes, heads, kept in sides:
            axes(**plots.ticks([f"L{d}H{h}" for (d, h), there in zip(heads, kept) if there], 24), showgrid=False)
        figure.update_yaxes(autorange="reversed")
        figure.update_yaxes(title_text="writer", col=1)
        return figure.update_layout(height=220 + 26 * min(int(wrote.sum()), 20), margin={"t": 90, "b": 76})

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views("composition", self)


def composition(
    model: HookedModel, writers: Sequence[int] | None = None, readers: Sequence[int] | None = None, *, draws: int = 200,
    seed: int = 0,
) -> Composition:
    """K, Q and V composition of every head at depths `writers` with every head at later depths `readers` (all by
    default), NaN where the reader is not later.

    Raises BadInput where no pair is in order, RequiresPattern for depths without attention heads.
    """
    depths = [d for d in range(model.n_layers) if f"blocks.{d}.attn.hook_z" in model.map.sites]
    writers, readers = list(depths if writers is None else writers), list(depths if readers is None else readers)
    if not any(a < b for a in writers for b in readers):
        raise BadInput(f"no writer of {writers} is below a reader of {readers}; attention of {model.name} is at depths "
                       f"{depths}")
    weights = {d: head_weights(model, d) for d in dict.fromkeys([*writers, *readers])}
    above = [np.concatenate([_pair(weights[a], weights[b], a < b) for b in readers], 2) for a in writers]
    random = random_scores(weights[readers[-1]], draws, seed)
    heads = [[(d, h) for d in part for h in range(len(weights[d].q))] for part in (writers, readers)]
    return Composition(model.name, np.concatenate(above, 1), *heads,
                       {kind: float(row.mean()) for kind, row in zip(KINDS, random)},
                       {kind: float(row.max()) for kind, row in zip(KINDS, random)}, draws, seed)


def _pair(a: HeadWeights, b: HeadWeights, in_order: bool) -> Float[np.ndarray, "kind writer reader"]:
    if not in_order:
        return np.full((len(KINDS), len(a.q), len(b.q)), np.nan)
    return np.stack([pair_scores(a, b, i) for i in range(len(a.q))], 1)


def pair_scores(a: HeadWeights, b: HeadWeights, i: int) -> Float[np.ndarray, "kind reader"]:
    """The three scores of head `i` of `a` with every head of `b`."""
    wrote = a.o[i]  # [d_head, d_model]; OV = v o, and the norm of v x is that of R x with v = Q R
    r = torch.linalg.qr(a.v[i]).R
    own = (r @ wrote).norm()
    keys = _norm(r @ wrote @ b.k, b.q) / (_norm(b.k, b.q) * own)
    queries = _norm(r @ wrote @ b.q, b.k) / (_norm(b.q, b.k) * own)
    values = _norm(r @ wrote @ b.v, b.o.mT) / (_norm(b.v, b.o.mT) * own)
    return torch.stack([keys, queries, values]).numpy()


def _norm(left: Tensor, right: Tensor) -> Float[Tensor, " head"]:
    """|left right^T| of every head, from the small factors: sqrt of the trace of (l^T l)(r^T r)."""
    return ((left.mT @ left) * (right.mT @ right)).sum((-1, -2)).clamp_min(0).sqrt()


def random_scores(like: HeadWeights, draws: int, seed: int) -> Float[np.ndarray, "kind draw"]:
    """Scores of `draws` pairs of Gaussian heads with the shapes of `like`."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(draws):
        a, b = (HeadWeights(*(torch.randn(1, *w.shape[1:], generator=generator, dtype=torch.float64)
                              for w in (like.q, like.k, like.v, like.o))) for _ in range(2))
        rows.append(pair_scores(a, b, 0)[:, 0])
    return np.stack(rows, 1)


def copying_eigenvalues(model: HookedModel, depth: int, ids: Tensor | None = None) -> Float[np.ndarray, "head d_head"]:
    """Complex eigenvalues of W_E OV W_U of every head at a depth, on the vocabulary or on some token `ids`.

    The map has one row a token but rank d_head: its eigenvalues are those of a matrix [d_head, d_head].
    Raises MissingSite for a model without one vocabulary at both ends.
    """
    embed, unembed = token_maps(model, ids)
    weights = head_weights(model, depth)
    return torch.linalg.eigvals(weights.o @ unembed @ embed @ weights.v).numpy()


def copying_scores(model: HookedModel, depth: int, ids: Tensor | None = None) -> Float[np.ndarray, " head"]:
    """sum Re(lam) / sum |lam| of every head at a depth, -1 to 1: how much of what it moves is copied."""
    values = copying_eigenvalues(model, depth, ids)
    return values.real.sum(-1) / np.abs(values).sum(-1)


def self_tokens(model: HookedModel, depth: int, ids: Tensor | None = None) -> Float[np.ndarray, " head"]:
    """Share of tokens that a head's OV circuit raises above all others when it reads them."""
    embed, unembed = token_maps(model, ids)
    weights = head_weights(model, depth)
    own = torch.arange(len(embed))
    best = [torch.cat([(part @ v @ o @ unembed).argmax(-1) for part in embed.split(512)])
            for v, o in zip(weights.v, weights.o)]
    return np.array([float((b == own).double().mean()) for b in best])
