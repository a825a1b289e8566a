"""Scores against a known circuit: how well a ranking of nodes or edges brings the true ones to its top.

Ties are broken by nothing: all of a tie come at one threshold, so that a method which gives zero to everything has
the precision of chance. A score is as good as its size; signs say which way an effect goes.
"""

from collections.abc import Sequence

import numpy as np

from interp.results import BadInput, Circuit, Estimate, Node, bootstrap_mean
from interp.results.node import Edge


def ranking(label: Sequence[bool], score: Sequence[float]) -> dict[str, float]:
    """AUPRC, precision at the size of the truth, and AUROC of |score| for `label`, [row] each.

    Raises: BadInput where all or none are true, or a score is not finite.
    """
    truth, size = _checked(label, score)
    return {"AUPRC": average_precision(truth, size), "precision at size": precision_at_size(truth, size),
            "AUROC": auroc(truth, size)}


def average_precision(label: Sequence[bool], score: Sequence[float]) -> float:
    """Area under precision against recall as steps: the sum of precision times what recall gains at each threshold.

    Paper: Davis and Goadrich 2006, on why not trapezoids.
    """
    hits, taken = _swept(label, score)
    gains = np.diff(hits, prepend=0) / hits[-1]
    return float((gains * hits / taken).sum())


def auroc(label: Sequence[bool], score: Sequence[float]) -> float:
    """Area under true against false positives over the full sweep, from (0, 0) to (1, 1), ties as diagonals."""
    hits, taken = _swept(label, score)
    misses = taken - hits
    rise, run = (np.concatenate([[0], counts / counts[-1]]) for counts in (hits, misses))
    return float(np.trapezoid(rise, run))


def precision_at_size(label: Sequence[bool], score: Sequence[float]) -> float:
    """Precision of as many rows as there are true ones; of a tie at the cut, its share of true ones."""
    hits, taken = _swept(label, score)
    return float(np.interp(hits[-1], np.concatenate([[0], taken]), np.concatenate([[0], hits])) / hits[-1])


def f1(label: Sequence[bool], member: Sequence[bool]) -> float:
    """Harmonic mean of the precision and the recall of the members; 0 where nothing true is among them."""
    truth, chosen = np.asarray(label, bool), np.asarray(member, bool)
    either = truth.sum() + chosen.sum()
    return float(2 * (truth & chosen).sum() / either) if either else 0.0


def _swept(label: Sequence[bool], score: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(true rows, all rows) at or above every threshold that occurs, from the highest down."""
    truth, value = np.asarray(label, bool), np.asarray(score, float)
    order = np.argsort(-value, kind="stable")
    last = np.append(np.flatnonzero(np.diff(value[order])), len(order) - 1)
    return np.cumsum(truth[order])[last], last + 1


def _checked(label: Sequence[bool], score: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    truth, size = np.asarray(label, bool), np.abs(np.asarray(score, float))
    if truth.shape != size.shape or not np.isfinite(size).all():
        raise BadInput("a ranking needs one finite score for every label")
    if truth.all() or not truth.any():
        raise BadInput("the truth contains all or none of what was scored; precision and recall need both kinds")
    return truth, size


# -- circuits ------------------------------------------------------------------------------------------------------


def against_truth(circuit: Circuit, truth: Circuit, idle: Sequence[Node] = ()) -> dict[str, float]:
    """A circuit against a known one: AUPRC, precision at size and AUROC over |score| of its scored nodes, F1 of its
    members, and `edge F1` where both have edges. `idle` nodes are left out of all that is about nodes.

    Raises: BadInput where a node of the truth was not scored, or the truth holds all or none of the scored ones.
    """
    if unknown := [n.label for n in truth.nodes if n not in circuit.scores]:
        raise BadInput(f"the truth names {unknown[0]}, which was not scored ({len(unknown)} such); score it too")
    nodes = [n for n in circuit.scores if n not in set(idle)]
    true, members = set(truth.nodes), set(circuit.nodes)
    label = [n in true for n in nodes]
    found = ranking(label, [circuit.scores[n] for n in nodes]) | {"F1": f1(label, [n in members for n in nodes])}
    if circuit.edges and truth.edges:
        ours, theirs = ({edge._replace(score=None) for edge in c.edges} for c in (circuit, truth))
        every = [*(ours | theirs)]
        found["edge F1"] = f1([edge in theirs for edge in every], [edge in ours for edge in every])
    return found


def edge_labels(edges: Sequence[Edge], truth: Circuit) -> np.ndarray:
    """Whether each edge is one of the truth, [edge], by source, target and role.

    Raises: BadInput, naming one, where the truth has an edge that is not among them.
    """
    known = [edge._replace(score=None) for edge in edges]
    true = {edge._replace(score=None) for edge in truth.edges}
    if missing := true - set(known):
        raise BadInput(f"the truth has {min(e.name for e in missing)}, which is not among the edges "
                       f"({len(missing)} such); score all of Graph(model).edges")
    return np.array([edge in true for edge in known])


def over_programs(values: Sequence[float], programs: Sequence[str], seed: int = 0) -> Estimate:
    """The mean over cases with the interval of a cluster bootstrap over the programs that they were made from."""
    return bootstrap_mean(values, programs, unit="programs", seed=seed)
