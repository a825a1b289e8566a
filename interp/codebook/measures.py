"""What codebooks cost and how they are used: loss with and without them, reconstruction, live and dead codes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from interp.codebook.books import Books, Watched
from interp.hooks import Ablate
from interp.hooks.baselines import Mean
from interp.hooks.baselines import rows as rows_of
from interp.hooks.model import Inputs
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean, bootstrap_ratio
from interp.results.progress import progress
from interp.tasks.sequences.dataset import IGNORE

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Measured:
    """`scores`: "loss" and "accuracy" with books, "loss without books" and "accuracy without books" of the model before
    it was attached to, trained or not; "loss at means" and "accuracy at means" of that model with all the sites at
    their mean over the inputs, which is what no books at all would need to say there; nats, and shares, per target.
    "loss recovered" is (at means - with books) / (at means - without books): 1 where books cost nothing, 0 where they
    say no more than the mean. It is left out where means cost nothing that can be told from none, since such sites
    cannot tell good books from bad ones by the loss. Empty where there were no targets.

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

    Raises BadInput for targets of another number of rows, and where none is given.
    """
    import pandas as pd

    n = books.model.batch_of(x)[0]
    if targets is not None and len(targets) != n:
        raise BadInput(f"{n} inputs and targets for {len(targets)} were given; one row of targets per input is needed")
    if targets is not None and not (targets != IGNORE).any():
        raise BadInput(f"all targets are {IGNORE}, which stands for none: there is nothing to measure")
    use = {name: _Use(books.of(name)) for name in books.sites}
    starts = range(0, n, rows)
    inside: list[np.ndarray] = []
    for start in progress(starts, "measuring codebooks"):
        part = rows_of(x, slice(start, start + rows))
        with books.model.edit(Watched(books, lambda site, book, snap, real: use[site.name].add(snap, real))):
            output = books.model(part)
        if targets is not None:
            inside.append(_per_row(output, targets[start : start + rows]))
    scores = {} if targets is None else _scores(books, x, targets, inside, starts)
    table = pd.DataFrame([{"site": name} | found.row() for name, found in use.items()])
    return Measured(scores, table, max(found.tokens for found in use.values()))


def _scores(
    books: Books, x: Inputs, targets: Tensor, inside: list[np.ndarray], starts: range
) -> dict[str, Estimate]:
    """Of what ran with books, of the model without them, and of that model with the sites at their means."""
    found = {"": np.concatenate(inside, 1)}
    with books.untrained() as model:
        means = Ablate(books.sites, baseline=Mean(over=x, per="all"))
        for ending, edits in ((" without books", ()), (" at means", (means,))):
            with model.edit(*edits):
                found[ending] = np.concatenate(
                    [_per_row(model(rows_of(x, slice(at, at + starts.step))), targets[at : at + starts.step])
                     for at in progress(starts, f"measuring{ending}")], 1)
    scores = {}
    for ending, (count, loss, right) in found.items():
        scores[f"loss{ending}"] = _per_target(loss, count)
        scores[f"accuracy{ending}"] = _per_target(right, count)
    loss = {ending: part[1] for ending, part in found.items()}
    lost = loss[" at means"] - loss[" without books"]
    if len(lost) > 1 and bootstrap_mean(lost).low > 0:
        scores["loss recovered"] = bootstrap_ratio(loss[" at means"] - loss[""], lost)
    return scores


def _per_target(sums: np.ndarray, count: np.ndarray) -> Estimate:
    """Of all rows together; one row alone has a value and no interval."""
    return bootstrap_ratio(sums, count) if len(count) > 1 else bootstrap_mean(sums / count)


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
