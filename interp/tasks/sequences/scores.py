"""Scores of predicted labels, each an `Estimate` with whole clusters (sequences, speeches) as the unit."""

import numpy as np
from jaxtyping import Bool, Int
from torch import Tensor

from interp.results.estimate import Estimate, binomial, bootstrap_ratio, bootstrap_statistic, share

Span = tuple[int, int, str]


def token_scores(
    predicted: Int[Tensor, "row *pos"], labels: Int[Tensor, "row *pos"], asked: Bool[Tensor, "row *pos"],
    lengths: Int[Tensor, " row"], cluster: Int[np.ndarray, " row"], filler: int | None, unit: str,
) -> dict[str, Estimate]:
    """See `Dataset.score`."""
    rows = len(labels)
    right, there = (((x & asked).view(rows, -1).sum(1)).numpy() for x in (predicted == labels, asked))
    if labels.dim() == 1:
        return {"accuracy": share(right, cluster, unit=unit)}
    kept = there > 0
    found = {
        "accuracy": bootstrap_ratio(right[kept], there[kept], cluster[kept], unit=unit),
        "whole": binomial(int((right == there)[kept].sum()), int(kept.sum()), unit),
        "by_length": by_length(right, there, lengths.numpy(), cluster, unit),
    }
    if filler is not None:
        answers = asked & (labels != filler)
        right, there = (((x & answers).sum(1)).numpy() for x in (predicted == labels, answers))
        found["answers"] = bootstrap_ratio(right, there, cluster, unit=unit)
    return found


def by_length(right: np.ndarray, there: np.ndarray, lengths: np.ndarray, cluster: np.ndarray, unit: str) -> Estimate:
    """The unweighted mean over sequence lengths of the share of labels that are right at that length."""
    kept = there > 0
    right, there, lengths, cluster = right[kept], there[kept], lengths[kept], cluster[kept]

    def mean(right: np.ndarray, there: np.ndarray, lengths: np.ndarray) -> float:
        hits, asked = (np.bincount(lengths.astype(int), values) for values in (right, there))
        return float((hits[asked > 0] / asked[asked > 0]).mean())

    return bootstrap_statistic(mean, [right, there, lengths], cluster, unit=unit)


def span_f1(
    predicted: Int[Tensor, "row pos"], labels: Int[Tensor, "row pos"], asked: Bool[Tensor, "row pos"],
    names: tuple[str, ...], cluster: Int[np.ndarray, " row"], unit: str,
) -> dict[str, Estimate]:
    """Precision, recall and F1 of spans that agree in both ends and in kind, pooled over all rows."""
    counts = []
    for guess, truth, real in zip(predicted.tolist(), labels.tolist(), asked.tolist()):
        found, wanted = (set(spans([names[i] for i, there in zip(ids, real) if there])) for ids in (guess, truth))
        counts.append((len(found & wanted), len(found), len(wanted)))
    both, found, wanted = np.array(counts, dtype=float).T

    def ratio(top: np.ndarray, *below: np.ndarray) -> float:
        total = sum(b.sum() for b in below)
        return float(len(below) * top.sum() / total) if total else 0.0

    def estimate(*arrays: np.ndarray) -> Estimate:
        return bootstrap_statistic(ratio, arrays, cluster, unit=unit)

    return {"precision": estimate(both, found), "recall": estimate(both, wanted), "f1": estimate(both, found, wanted)}


def spans(tags: list[str]) -> list[Span]:
    """The spans (start, stop, kind) of IOB2 tags, strictly: one begins with B-, goes on with I- of the same kind.

    An I- that continues nothing is no span and part of none.
    """
    found: list[Span] = []
    start, kind = 0, ""
    for i, tag in enumerate([*tags, "O"]):
        if kind and tag != f"I-{kind}":
            found.append((start, i, kind))
            kind = ""
        if tag.startswith("B-"):
            start, kind = i, tag[2:]
    return found
