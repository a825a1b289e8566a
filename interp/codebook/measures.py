"""What codebooks cost and how they are used: loss with and without them, reconstruction, live and dead codes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from interp.codebook.books import Books, Watched
from interp.hooks.baselines import rows as rows_of
from interp.hooks.model import Inputs
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_ratio
from interp.results.progress import progress
from interp.tasks.sequences.dataset import IGNORE

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Measured:
    """`scores`: "loss" and "accuracy" with books, "loss without books" and "accuracy without books" of the model before
    it was attached to, trained or not; nats, and shares, per target. Empty where there were no targets.

    `table` has a row per site: `unexplained` is the squared distance of codes from what they should match, as a share
    of its squared length; `cosine` the mean cosine between the two; `live` the codes that were active on any token,
    `dead` the share that were not; `effective` the exponential of the entropy of use, a number of codes; lengths are
    root mean squares.
    """

    scores: dict[str, Estimate]
    table: "pd.DataFrame"
    n_tokens: int

    def frame(self) -> "pd.DataFrame":
        return self.table

    def figure(self) -> "go.Figure":
        """Live codes and what is unexplained, by site."""
        import plotly.graph_objects as go

        from interp.results.plots import styled

        figure = go.Figure()
        figure.add_bar(x=self.table["site"], y=1 - self.table["dead"], name="live codes")
        figure.add_bar(x=self.table["site"], y=self.table["unexplained"], name="unexplained")
        return styled(figure, title="Codebooks in use", x_title="site", y_title="share")

    def save(self, run) -> None:
        """Table, figure and scores into a run."""
        run.save_views("codebooks", self)
        run.record(**{name: score.to_dict() for name, score in self.scores.items()})


@torch.no_grad()
def measure(books: Books, x: Inputs, targets: Tensor | None = None, *, rows: int = 32) -> Measured:
    """Measure on inputs with targets [batch, pos] (-100: none) or classes [batch]. Nothing is counted in the books.

    Raises BadInput for targets of another number of rows.
    """
    import pandas as pd

    n = books.model.batch_of(x)[0]
    if targets is not None and len(targets) != n:
        raise BadInput(f"{n} inputs and targets for {len(targets)} were given; one row of targets per input is needed")
    use = {name: _Use(books.of(name)) for name in books.sites}
    inside, clean = [], []
    starts = range(0, n, rows)
    for start in progress(starts, "measuring codebooks"):
        part = rows_of(x, slice(start, start + rows))
        with books.model.edit(Watched(books, lambda site, book, snap, real: use[site.name].add(snap, real))):
            output = books.model(part)
        if targets is not None:
            inside.append(_per_row(output, targets[start : start + rows]))
    with books.untrained() as model:
        for start in progress(starts if targets is not None else (), "measuring without codebooks"):
            output = model(rows_of(x, slice(start, start + rows)))
            clean.append(_per_row(output, targets[start : start + rows]))
    scores = {}
    for ending, found in (("", inside), (" without books", clean)):
        if found:
            count, loss, right = np.concatenate(found, 1)
            scores[f"loss{ending}"] = bootstrap_ratio(loss, count)
            scores[f"accuracy{ending}"] = bootstrap_ratio(right, count)
    table = pd.DataFrame([{"site": name} | found.row() for name, found in use.items()])
    return Measured(scores, table, max(found.tokens for found in use.values()))


def _per_row(output: Tensor, targets: Tensor) -> np.ndarray:
    """[3, row]: how many targets, their summed loss, how many are predicted."""
    asked = targets != IGNORE
    loss = cross_entropy(output.movedim(-1, 1).float(), targets, ignore_index=IGNORE, reduction="none")
    right = (output.argmax(-1) == targets) & asked
    return np.stack([v.reshape(len(targets), -1).double().sum(1).cpu().numpy() for v in (asked, loss, right)])


class _Use:
    """Sums over tokens of one site."""

    def __init__(self, book):
        self.book, self.tokens = book, 0
        self.counts = torch.zeros(book.groups, book.n_codes, dtype=torch.long, device=book.codes.device)
        self.error = self.given = self.made = self.cosine = 0.0
        self.vectors = 0

    def add(self, snap, real: Tensor | None) -> None:
        self.counts += self.book.count(snap.ids, real)
        there = (torch.ones(snap.error.shape, dtype=torch.bool, device=snap.ids.device) if real is None
                 else real.expand(*snap.error.shape, 1)[..., 0])
        target, decoded = snap.target[there].double(), snap.decoded[there].double()
        self.error += float((target - decoded).square().sum())
        self.given += float(target.square().sum())
        self.made += float(decoded.square().sum())
        self.cosine += float(cosine_similarity(target, decoded, dim=-1).sum())
        self.vectors += len(target)
        self.tokens += len(target) // self.book.groups

    def row(self) -> dict[str, float | int]:
        share = self.counts.double() / self.counts.sum(1, keepdim=True).clamp(min=1)
        entropy = -(share * share.clamp(min=1e-30).log()).sum(1)
        live = self.counts > 0
        return {
            "groups": self.book.groups, "codes": self.book.n_codes, "live": int(live.sum()),
            "dead": float(1 - live.double().mean()), "effective": float(entropy.exp().sum()),
            "unexplained": self.error / max(self.given, 1e-30), "cosine": self.cosine / max(self.vectors, 1),
            "length_in": (self.given / max(self.vectors, 1)) ** 0.5,
            "length_out": (self.made / max(self.vectors, 1)) ** 0.5,
            "length_codes": float(self.book.codes.square().sum(-1).mean().sqrt()),
        }
