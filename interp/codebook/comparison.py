"""Codes against what else could have been used, as detectors of labelled tokens: one table, chosen and scored apart.

The critique to answer (arXiv 2407.19532, and every reader of Tamkin et al. 2023): are codes better than neurons, than
k-means of the same activations, than a sparse autoencoder, and than chance, when all of them are counted?
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from interp.codebook.books import Books, real_vectors
from interp.codebook.classify import PADDING, count, halves, on_both
from interp.codebook.rivals import Rival, principal, rivals
from interp.codebook.thresholds import Ranked, Scored, detect, trust
from interp.hooks.model import Inputs
from interp.results.errors import BadInput
from interp.results.progress import progress

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

RECALLS = (0.5, 0.9)
GRADED = ("neurons", "PCA", "linear probe")


@dataclass(frozen=True)
class Compared:
    """`table` has a row per site and detector, means over labels, all but `bits` and `live` of held-out tokens:

    `bits` a token's features can tell per group (codes and rivals are matched in it; a value is not counted);
    `precision_matched` at the recall at which the codes' most precise single code works, `precision_0.5` and
    `precision_0.9` at those recalls; `one_f1` of the best single feature; `union_precision`, `union_recall` of all
    features together whose selected precision is `threshold` or more; `live` features were active at all, and
    `live_precision` is the mean precision of every one of them for its own commonest label, `live_good` the share of
    them at `threshold` or more. NaN where a detector has no such number. `by_label` has the rows before the mean.
    Labels that one half does not have, as they are or shuffled, are `left_out` for all detectors alike.
    """

    table: "pd.DataFrame"
    by_label: "pd.DataFrame"
    threshold: float
    left_out: tuple[int, ...] = ()

    def frame(self) -> "pd.DataFrame":
        return self.table

    def figure(self) -> "go.Figure":
        """Union recall and the precision of all live features, by detector."""
        import plotly.graph_objects as go

        from interp.results.plots import styled

        figure = go.Figure()
        for name in ("precision_0.5", "union_recall", "live_precision"):
            figure.add_bar(x=[f"{r.detector}, {r.site}" for r in self.table.itertuples()], y=self.table[name],
                           name=name.replace("_", " "))
        return styled(figure, title="Codes and rivals on held-out tokens", x_title="detector", y_title="share")

    def save(self, run) -> None:
        """Table and figure into a run, as "compared"."""
        run.save_views("compared", self)


@torch.no_grad()
def compare(
    books: Books, fit: Inputs, x: Inputs, labels: Int[Tensor, "row pos"], *, select: Tensor, threshold: float = 0.9,
    sites: Sequence[str] | None = None, seed: int = 0, steps: int = 600,
) -> Compared:
    """Codes and their rivals as detectors of `labels` (below 0: none; -200: padding) on inputs `x`, chosen on the rows
    where `select` is True and scored on the others.

    Rivals are fitted on the activations that the model without books has on `fit`, without padding, the autoencoder in
    `steps` steps. The probe is the one that sees labels, of the selected rows, and so an upper bound for what is
    linear. Sites are [batch, pos, ..., d]. Raises BadInput where labels are not one per token, or none is on both.
    """
    import pandas as pd

    select = halves(select, labels)
    names = list(sites or books.sites)
    shuffled = _shuffled(labels, seed)
    both, left_out = on_both(select, labels, shuffled)
    own_codes = books.codes(x)
    with books.untrained() as model:
        plain = {name: (_fitted(books, name, fit, model.read(fit, [name])[name]),
                        _vectors(books, name, model.read(x, [name])[name])) for name in names}
    rows = []
    for name in progress(names, "comparing codes with rivals"):
        fitted, seen = plain[name]
        if seen.shape[:2] != labels.shape:
            raise BadInput(f"{name!r} has vectors for {list(seen.shape[:2])} tokens, labels are for "
                           f"{list(labels.shape)}: one label per token is needed")
        book = books.of(name)
        others = rivals(fitted, book.n_codes, book.k, seed=seed, steps=steps)
        codes = Rival(lambda given: given, book.n_codes, book.k)  # as read in the model with books, not encoded anew
        split = _Split(labels, select, threshold, both)
        matched = split.matched(own_codes[name], book.n_codes)
        given = {"codes": (codes, own_codes[name])} | {
            rival: (made, made.encode(seen.flatten(0, 1)).unflatten(0, seen.shape[:2]))
            for rival, made in others.items()}
        for rival, (made, ids) in given.items():
            live = split.live(ids, made.n)
            detected = (split.graded(_values(rival, fitted, seen), matched) if rival in GRADED
                        else split.discrete(ids, made.n, matched))
            rows += [{"site": name, "detector": rival, "bits": made.bits} | live | row for row in detected]
        rows += [{"site": name, "detector": "linear probe"} | row for row in split.graded(
            _probe(seen.flatten(2), labels, select), matched, own_unit=True)]
        null = _Split(shuffled, select, threshold, both)
        rows += [{"site": name, "detector": "codes, shuffled labels", "bits": codes.bits}
                 | null.live(own_codes[name], book.n_codes) | row
                 for row in null.discrete(own_codes[name], book.n_codes, matched)]
    by_label = pd.DataFrame(rows)
    table = by_label.drop(columns="label").groupby(["site", "detector"], sort=False).mean().reset_index()
    return Compared(table, by_label, threshold, left_out)


class _Split:
    """Labels of tokens to choose on and of tokens to score on; detectors are made of those in `asked`."""

    def __init__(self, labels: Tensor, select: Tensor, threshold: float, asked: Sequence[int]):
        self.threshold, self.n, self.asked = threshold, int(labels.max()) + 1, asked
        self.rows, self.labels = (select, ~select), (labels[select], labels[~select])
        self.real = tuple(part != PADDING for part in self.labels)
        self.own = tuple(part[real] for part, real in zip(self.labels, self.real))

    def tokens(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Values [row, pos, ...] of the real tokens of both parts."""
        here, there = (values[rows][real] for rows, real in zip(self.rows, self.real))
        return here, there

    def matched(self, ids: Tensor, n: int) -> list[float]:
        """Per label the recall of the most precise code that finds a hundredth of it, where it was chosen."""
        counts = count(ids[self.rows[0]], self.labels[0], self.n, n)
        best = counts.precision.where(counts.recall > 0.01, -1.0).flatten(1).argmax(1, keepdim=True)
        return counts.recall.flatten(1).gather(1, best)[:, 0].tolist()

    def live(self, ids: Tensor, n: int) -> dict[str, float]:
        """All features that are active on both parts, each as a detector of its commonest label on the first."""
        here, there = (count(ids[rows], labels, self.n, n) for rows, labels in zip(self.rows, self.labels))
        hits, label = here.hits.max(0)
        both = (hits > 0) & (there.active > 0)
        precision = there.precision.gather(0, label[None])[0][both]
        return {"live": int((here.active > 0).sum()), "live_precision": float(precision.mean()),
                "live_good": float((precision >= self.threshold).double().mean())}

    def discrete(self, ids: Tensor, n: int, matched: list[float]) -> list[dict]:
        """A row per label for features that are on or off: several are put together where one is not enough."""
        counts = count(ids[self.rows[0]], self.labels[0], self.n, n)
        there = count(ids[self.rows[1]], self.labels[1], self.n, n)
        here_ids, there_ids = self.tokens(ids)
        f1 = (2 * counts.hits / (counts.active + counts.tokens[:, None, None]).clamp(min=1)).flatten(1)
        rows = []
        for label in self.asked:
            best = int(f1[label].argmax())
            alone = Scored(*(float(part[label].flatten()[best]) for part in (there.precision, there.recall)))
            here, beyond = (trust(counts, label, given) for given in (here_ids, there_ids))
            rows.append(self._row(label, Ranked(here), beyond, matched) | {"one_f1": alone.f1})
        return rows

    def graded(self, values: Tensor, matched: list[float], own_unit: bool = False) -> list[dict]:
        """A row per label for units [row, pos, unit] with values; `own_unit`: unit i is for label i."""
        here, there = self.tokens(values)
        if own_unit:
            return [self._row(label, Ranked(here[:, [label]]), there[:, [label]], matched) for label in self.asked]
        ranked = Ranked(here)
        return [self._row(label, ranked, there, matched) for label in self.asked]

    def _row(self, label: int, here: Ranked, there: Tensor, matched: list[float]) -> dict:
        found = detect(here, self.own[0] == label, there, self.own[1] == label, least=self.threshold,
                       recalls=(matched[label], *RECALLS))
        return {"label": label, "precision_matched": found["at 0"].precision,
                **{f"precision_{r}": found[f"at {i}"].precision for i, r in enumerate(RECALLS, 1)},
                "one_f1": found["f1"].f1, "union_precision": found["union"].precision,
                "union_recall": found["union"].recall}


def _vectors(books: Books, name: str, value: Tensor) -> Tensor:
    """[row, pos, group, d] in single precision, which rivals are fitted in."""
    return books.place(name).layout.vectors(value.float())


def _fitted(books: Books, name: str, x: Inputs, value: Tensor) -> Tensor:
    """[token, group, d] without padding."""
    return real_vectors(books.model, books.place(name).layout, _vectors(books, name, value), x)


def _values(rival: str, fitted: Tensor, seen: Tensor) -> Tensor:
    """Both signs of every unit, [row, pos, unit]."""
    if rival == "PCA":
        seen = principal(fitted)(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
    values = seen.flatten(2)
    return torch.cat([values, -values], -1)


def _shuffled(labels: Tensor, seed: int) -> Tensor:
    labelled = labels >= 0
    order = torch.randperm(int(labelled.sum()), generator=Generator().manual_seed(seed))
    return labels.masked_scatter(labelled, labels[labelled][order])


def _probe(values: Tensor, labels: Tensor, select: Tensor, *, steps: int = 60, decay: float = 1e-4) -> Tensor:
    """Logits [row, pos, label] of a multinomial regression with one more class for tokens without a label."""
    n = int(labels.max()) + 1
    real = select[:, None] & (labels != PADDING)
    values = (values - values[real].mean(0)) / values[real].std(0).clamp(min=1e-6)
    x, y = values[real], labels[real].where(labels[real] >= 0, n)
    weight = torch.zeros(x.shape[1] + 1, n + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        with torch.enable_grad():
            found = cross_entropy(x @ weight[:-1] + weight[-1], y) + decay * weight[:-1].square().sum()
            found.backward()
        return found

    optimiser.step(loss)
    return (values @ weight[:-1] + weight[-1]).detach().log_softmax(-1)[..., :n]


def means(frames: Sequence["pd.DataFrame"]) -> "pd.DataFrame":
    """Tables of several seeds as one: the mean of every number, with the least and the largest as "low" and "high"."""
    import pandas as pd

    every = pd.concat(frames)
    found = every.groupby(["site", "detector"], sort=False).agg(["mean", "min", "max"])
    found.columns = [name if what == "mean" else f"{name} {'low' if what == 'min' else 'high'}"
                     for name, what in found.columns]
    return found.replace({np.inf: np.nan}).reset_index()
