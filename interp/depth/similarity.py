"""How alike the streams at two depths are, within a model or between two of any architectures.

    cosine    mean over tokens of cos(h_i, h_j)                    needs one space: depths of one model
    centred   the same after each depth's mean over tokens was taken away
    cka       HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), K = X X^T, L = Y Y^T        any two sets of rows

CKA (Kornblith et al. 2019, 1905.00414) with the unbiased HSIC (Song et al. 2012; Nguyen et al. 2021, 2010.15327): no
rotation, scale or shift of either side changes it, and unrelated rows give 0 on average where the biased one gives
values near 1 for few rows of many dimensions. Surprise: it can be negative, and a few tokens with massive activations
decide it, so `masked` rows are worth looking at beside all of them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from interp.depth.streams import Streams
from interp.results import plots
from interp.results.errors import BadInput

if TYPE_CHECKING:
    import plotly.graph_objects as go

Kind = Literal["cosine", "centred", "cka"]


@dataclass(frozen=True, eq=False)
class Similarity:
    """`values` [point of a, point of b]; of one model, `a` and `b` are its name. `n` rows were compared."""

    values: np.ndarray
    kind: str
    a: str
    b: str
    n: int

    @property
    def distances(self) -> np.ndarray:
        """1 - similarity, [point, point]."""
        return 1.0 - self.values

    def frame(self) -> pd.DataFrame:
        """One row a pair of depth points."""
        i, j = np.indices(self.values.shape)
        frame = pd.DataFrame({"depth_a": i.ravel(), "depth_b": j.ravel(), "similarity": self.values.ravel()})
        frame.attrs |= {"kind": self.kind, "a": self.a, "b": self.b, "rows": self.n}
        return frame

    def figure(self) -> "go.Figure":
        """The matrix, depth 0 (the embeddings) on top and at the left."""
        low = float(np.nanmin(self.values))
        return plots.heatmap(self.values, diverging=low < 0, largest=1.0, unit=self.kind,
                             title=f"{self.kind} of streams, {self.n} rows", x_title=f"depth in {self.b}",
                             y_title=f"depth in {self.a}")

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views(f"similarity_{self.kind}", self)


def similarity(a: Streams, b: Streams | None = None, kind: Kind = "cosine") -> Similarity:
    """The similarity of every depth of `a` with every depth of `b` (None: of `a` itself), row by row.

    Raises BadInput for rows that do not stand beside each other, widths that differ (cosines), fewer than 4 rows (CKA).
    """
    if kind not in get_args(Kind):
        raise BadInput(f"kind is {kind!r}; choose among {', '.join(get_args(Kind))}")
    other = a if b is None else b
    n = len(a.values[0])
    if len(other.values[0]) != n or not torch.equal(a.prompt, other.prompt):
        raise BadInput(f"{a.name} has {n} rows and {other.name} {len(other.values[0])}, or of other prompts; rows are "
                       "compared one by one: use one tokenizer, or pooled() on both")
    values = cka_matrix(a.values, other.values) if kind == "cka" else _cosines(a, other, kind == "centred")
    return Similarity(values.numpy(), kind, a.name, other.name, n)


def _cosines(a: Streams, b: Streams, centred: bool) -> Tensor:
    if len({v.shape[1] for v in (*a.values, *b.values)}) > 1:
        raise BadInput(f"the streams of {a.name} and {b.name} differ in width, so that their cosine means nothing: use "
                       "kind='cka'")
    def units(s: Streams) -> Tensor:
        return torch.stack([F.normalize(v - v.mean(0) if centred else v, dim=-1) for v in s.values])

    one = units(a)
    two = one if b is a else units(b)
    return torch.stack([(row * two).sum(-1).mean(-1) for row in one])


def cka(x: Tensor, y: Tensor) -> float:
    """Debiased linear CKA of rows x [n, d] and y [n, e]. Raises BadInput for fewer than 4 rows, and for a side whose
    rows do not differ."""
    return float(cka_matrix([x], [y])[0, 0])


def cka_matrix(xs: list[Tensor], ys: list[Tensor]) -> Tensor:
    """Debiased linear CKA of every x [n, d] with every y [n, e], [x, y]; every Gram matrix is made once."""
    n = len(xs[0])
    if n < 4:
        raise BadInput(f"{n} rows; the unbiased estimate of CKA needs 4 at least")
    one = torch.stack([_gram(x) for x in xs])
    two = one if ys is xs else torch.stack([_gram(y) for y in ys])
    return one @ two.T


def _gram(x: Tensor) -> Tensor:
    """The U-centred Gram matrix of rows as a unit vector: their inner product is the debiased CKA."""
    n = len(x)
    x = x.double() - x.double().mean(0)
    k = x @ x.T
    k.fill_diagonal_(0.0)
    rows = k.sum(0) / (n - 2)
    k = k - rows[:, None] - rows[None] + k.sum() / ((n - 1) * (n - 2))
    k = k.fill_diagonal_(0.0).flatten()
    norm = k.norm()
    if not norm > 0:
        raise BadInput("all rows are the same, so that nothing can be said about what varies with them")
    return (k / norm).float()
