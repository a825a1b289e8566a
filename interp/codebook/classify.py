"""Codes as classifiers of labelled tokens: chosen on some rows, scored on others, beside neurons and shuffled labels.

A code detects a label where it is active: precision is the share of its activations on tokens with the label, recall
the share of such tokens on which it is active. Tamkin et al. 2023, section 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from interp.results.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

PADDING = -200
LEAST_RECALL = 0.01
ROWS = 2048  # at once


class Counts(NamedTuple):
    """How often each code is active at each label, `hits` [label, group, code]; at any token, `active` [group, code];
    and how many tokens have each label, `tokens` [label]."""

    hits: Tensor
    active: Tensor
    tokens: Tensor

    @property
    def precision(self) -> Float[Tensor, "label group code"]:
        """0 for a code that was not active."""
        return self.hits / self.active.clamp(min=1)

    @property
    def recall(self) -> Float[Tensor, "label group code"]:
        return self.hits / self.tokens.clamp(min=1)[:, None, None]


def count(
    ids: Int[Tensor, "row pos group k"], labels: Int[Tensor, "row pos"], n_labels: int, n_codes: int
) -> Counts:
    """Counts over all tokens; those labelled -100 are activations without a label. Padding is given as -200.

    Raises BadInput for another number of labels, and for labels that are no whole numbers.
    """
    check(labels)
    if ids.shape[:2] != labels.shape:
        raise BadInput(f"codes of {list(ids.shape[:2])} tokens and labels of {list(labels.shape)}; one label per token")
    groups = ids.shape[2]
    table = torch.zeros((n_labels + 1) * groups * n_codes, dtype=torch.long)
    tokens = torch.zeros(n_labels + 1, dtype=torch.long)
    for some, given in zip(ids.split(ROWS), labels.split(ROWS)):  # in parts: codes may be larger than memory
        real = given != PADDING
        own = given.where(given >= 0, n_labels)[real]
        kept = some[real].long()  # [token, group, k]
        place = torch.arange(groups)[:, None] * n_codes + kept
        flat = (own[:, None, None] * (groups * n_codes) + place)[kept >= 0]
        table += torch.bincount(flat, minlength=len(table))
        tokens += torch.bincount(own, minlength=n_labels + 1)
    table = table.view(n_labels + 1, groups, n_codes)
    return Counts(table[:-1], table.sum(0), tokens[:-1])


def check(labels: Tensor) -> None:
    """Raise BadInput for labels that are no whole numbers."""
    if labels.is_floating_point() or labels.is_complex():
        raise BadInput(f"labels are whole numbers from 0 on, negative for none; {labels.dtype} were given")


def on_both(select: Bool[Tensor, " row"], *labels: Int[Tensor, "row pos"]) -> tuple[list[int], tuple[int, ...]]:
    """(labels that both halves have, in each of the ways to label them: detectors of these can be chosen and scored;
    the other labels that are there).

    Raises BadInput where both halves have none.
    """
    there = [set(half[half >= 0].tolist()) for given in labels for half in (given[select], given[~select])]
    both = set.intersection(*there)
    if not both:
        raise BadInput("no label is on both the rows to choose on and those to score on: give more rows, or labels "
                       "that are not all negative")
    return sorted(both), tuple(sorted(set.union(*there) - both))


def purity(
    ids: Int[Tensor, "row pos group k"], labels: Int[Tensor, "row pos"], n_codes: int, *, seed: int = 0
) -> dict[str, float]:
    """How much of a code's activations fall on its commonest label, for all live codes.

    "purity" weighs codes by their activations, "mean" counts each once (rare codes are pure by chance), "shuffled" is
    "purity" with the labels exchanged between tokens, "live" the number of codes.
    """
    labelled = labels >= 0
    if not labelled.any():
        raise BadInput("no token has a label (all are negative)")
    n_labels = int(labels.max()) + 1
    found = {}
    order = torch.randperm(int(labelled.sum()), generator=Generator().manual_seed(seed))
    shuffled = labels.masked_scatter(labelled, labels[labelled][order])
    for name, given in (("purity", labels), ("shuffled", shuffled)):
        counts = count(ids, given.where(labelled, PADDING), n_labels, n_codes)
        best, active = counts.hits.amax(0), counts.active
        found[name] = float(best.sum() / active.sum().clamp(min=1))
        if name == "purity":
            live = active > 0
            found |= {"mean": float((best[live] / active[live]).mean()), "live": int(live.sum())}
    return found


@dataclass(frozen=True)
class Detectors:
    """The best detector of each label at each site: `table` has a row per site and label.

    `precision`, `recall`, `f1` are of the tokens that nothing was chosen on; `selected_precision` and
    `selected_recall` of those it was. `union_recall` is what all codes find together whose selected precision is at
    least `threshold`, `union_precision` how much of it is right; `codes` says how many they are. Labels that one half
    does not have cannot be chosen for and scored: they are `left_out`.
    """

    table: "pd.DataFrame"
    threshold: float
    left_out: tuple[int, ...] = ()

    def frame(self) -> "pd.DataFrame":
        return self.table

    def means(self) -> "pd.DataFrame":
        """Means over labels, a row per site; a label that no code detects counts as 0."""
        numbers = self.table.drop(columns=["label", "group", "code"])
        return numbers.fillna(0.0).groupby("site", sort=False).mean().reset_index()

    def figure(self) -> "go.Figure":
        """Held-out precision and recall of each label's best code."""
        import plotly.graph_objects as go

        from interp.results.plots import styled

        figure = go.Figure()
        for site, rows in self.table.groupby("site", sort=False):
            figure.add_scatter(x=rows["recall"], y=rows["precision"], mode="markers", name=str(site),
                               text=[f"label {label}" for label in rows["label"]])
        figure.update_xaxes(range=[-0.03, 1.03])
        figure.update_yaxes(range=[-0.03, 1.03])
        return styled(figure, title="The best code of each label", x_title="recall, held out",
                      y_title="precision, held out")

    def save(self, run) -> None:
        """Table and figure into a run, as "detectors"."""
        run.save_views("detectors", self)


def detectors(
    codes: Mapping[str, Int[Tensor, "row pos group k"]], labels: Int[Tensor, "row pos"], n_codes: int, *,
    select: Tensor, threshold: float = 0.9, least_recall: float = LEAST_RECALL,
) -> Detectors:
    """For each site and label the code with the highest precision among those that find more than `least_recall` of it.

    Chosen on the rows where `select` [row] is True, scored on the others. Labels below 0 are activations that detect
    nothing; -200 is padding. Raises BadInput where no label is on both.
    """
    import pandas as pd

    select = halves(select, labels)
    both, left_out = on_both(select, labels)
    n_labels = int(labels.max()) + 1
    rows = []
    for site, ids in codes.items():
        here, there = (count(ids[part], labels[part], n_labels, n_codes) for part in (select, ~select))
        eligible = here.precision.where(here.recall > least_recall, -1.0).flatten(1)
        best = eligible.argmax(1)
        for label in both:
            group, code = divmod(int(best[label]), n_codes)
            found = eligible[label, best[label]] >= 0
            row = {"site": site, "label": label, "group": group if found else None, "code": code if found else None}
            at = (label, group, code)
            row |= _scores(here, at, "selected_") | _scores(there, at) if found else {}
            together = (here.precision[label] >= threshold) & (here.recall[label] > 0)
            row |= _union(ids[~select], labels[~select], label, together)
            rows.append(row)
    return Detectors(pd.DataFrame(rows), threshold, left_out)


def halves(select: Tensor, labels: Tensor) -> Tensor:
    """`select` as booleans. Raises BadInput where it is not True for some rows of labels and False for others, and for
    labels that are no whole numbers."""
    check(labels)
    select = torch.as_tensor(select, dtype=torch.bool)
    if select.shape != labels.shape[:1] or select.all() or not select.any():
        raise BadInput(f"select is True for some rows and False for others, [{len(labels)}]; codes are chosen on the "
                       "former and scored on the latter")
    return select


def _scores(counts: Counts, at: tuple[int, int, int], prefix: str = "") -> dict[str, float]:
    precision, recall = float(counts.precision[at]), float(counts.recall[at])
    found = {f"{prefix}precision": precision, f"{prefix}recall": recall}
    return found if prefix else found | {"f1": 2 * precision * recall / (precision + recall or 1.0)}


def _union(ids: Tensor, labels: Tensor, label: int, together: Tensor) -> dict[str, float]:
    """Precision and recall of "any of these codes is active"."""
    groups = torch.arange(ids.shape[2])[:, None]
    active = (together[groups, ids.long().clamp(min=0)] & (ids >= 0)).any(-1).any(-1) & (labels != PADDING)
    hits = float((active & (labels == label)).sum())
    return {"codes": int(together.sum()), "union_precision": hits / max(int(active.sum()), 1),
            "union_recall": hits / max(int((labels == label).sum()), 1)}


def neurons(
    values: Float[Tensor, "row pos unit"], labels: Int[Tensor, "row pos"], recalls: Mapping[int, float], *,
    select: Tensor,
) -> dict[int, tuple[float, float]]:
    """{label: (precision, recall)} held out, of the best single neuron thresholded to find the share `recalls[label]`.

    Both signs of each neuron are tried; sign, neuron and threshold are chosen on the rows of `select`. Labels that are
    not on both halves are left out.
    """
    select = halves(select, labels)
    (here, own), (there, other) = (_tokens(values[part], labels[part]) for part in (select, ~select))
    found = {}
    for label, recall in recalls.items():
        positives = here[own == label].sort(0, descending=True)[0]
        if not len(positives) or not (other == label).any():
            continue
        least = positives[min(len(positives) - 1, max(0, round(recall * len(positives)) - 1))]
        precision = (positives >= least).sum(0) / (here >= least).sum(0)
        unit = int(precision.argmax())
        active = there[:, unit] >= least[unit]
        hits = float((active & (other == label)).sum())
        found[label] = hits / max(int(active.sum()), 1), hits / max(int((other == label).sum()), 1)
    return found


def _tokens(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    real = labels != PADDING
    return torch.cat([values[real], -values[real]], -1), labels[real]
