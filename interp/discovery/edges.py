"""Scoring edges: every method that ranks what one node writes and another reads."""

import numpy as np

from interp.discovery.acdc import acdc_scores
from interp.discovery.auto import ranked
from interp.discovery.edge_runs import EdgeCircuits
from interp.discovery.edge_scores import LINEAR, gradient_sizes, linear_edge_effects
from interp.discovery.graph import Graph
from interp.effects import rule_set
from interp.hooks import HookedModel
from interp.results import BadInput
from interp.results.errors import nearest

EDGE_EXACT = 2048
EDGE_METHODS = {
    "auto": "exact in both directions up to the budget, else a shortlist confirmed so, with a bound on what was missed",
    **{name: f"{rule_set(name).computes}, along one edge" for name in LINEAR},
    "path-patching": "exact: the edge alone cut, everything behind its reader computed anew",
    "acdc": "greedy pruning from the output backwards, at several thresholds",
    "gradient-norm": "a control: size of the gradient at the reader, whatever its writer changes",
    "random": "a control: seeded random scores",
}


def edge_scores(
    model: HookedModel, part, graph: Graph, method: str, *, budget: int = EDGE_EXACT, seed: int = 0,
    rows: int | None = None, done=None,
) -> tuple[np.ndarray, dict]:
    """(score per edge [edge], in the order of `graph.edges`, facts), on the prompts of `part`, in the metric's unit.

    `budget` is how many edges "auto" and "path-patching" cut exactly; "path-patching" refuses more. `done` keeps
    finished cuts, as in `effects`.
    Raises BadInput for an unknown method, and what cannot be had of the model.
    """
    check_edge_method(method)
    if method == "random":
        return np.random.default_rng(seed).standard_normal(len(graph.edges)), {"forwards": 0.0}
    if method in LINEAR:
        found, facts = linear_edge_effects(model, part.clean, part.corrupt, graph, part.metric, method)
        return found.double().mean(1).numpy(), facts | {"limits": rule_set(method).limits}
    if method == "gradient-norm":
        return gradient_sizes(model, part.clean, graph, part.metric).double().mean(1).numpy(), {"forwards": 3.0}
    n = len(graph.edges)
    if method == "path-patching" and n > budget:
        raise BadInput(f"the model has {n} edges and the budget is {budget}; method='auto' confirms a shortlist, or "
                       "raise the budget")
    circuits = EdgeCircuits(model, part, graph, rows, done=done, name="discover")
    if method == "acdc":
        return acdc_scores(circuits)
    if method == "auto":
        return ranked(BothEdges(circuits), n, budget, seed)
    return cut_singly(circuits, np.arange(n)), {"forwards": circuits.forwards, "exact": n}


def check_edge_method(method: str) -> None:
    """Raise BadInput, naming the nearest, for a method that there is not for edges."""
    if method not in EDGE_METHODS:
        raise BadInput(f"there is no method {method!r} for edges.{nearest(method, EDGE_METHODS)} "
                       f"There are: {', '.join(EDGE_METHODS)}")


class BothEdges:
    """Effects of cutting edges on clean prompts and of restoring them into corrupt ones: what `ranked` asks for."""

    def __init__(self, circuits: EdgeCircuits):
        self.circuits, self.forwards = circuits, 0.0

    def ways(self, chosen: np.ndarray, rules: str | None = None) -> list[np.ndarray]:
        """[edge] each for cutting (clean minus cut) and restoring (restored minus corrupt), in the metric's unit."""
        ways = (self.circuits, 1.0), (self.circuits.mirrored, -1.0)
        if rules is not None:
            return [sign * self._linear(circuits.part, rules)[chosen] for circuits, sign in ways]
        found = [sign * cut_singly(circuits, chosen) for circuits, sign in ways]
        self.forwards += sum(circuits.forwards for circuits, _ in ways)
        return found

    def _linear(self, part, rules: str) -> np.ndarray:
        of = self.circuits
        found, facts = linear_edge_effects(of.model, part.clean, part.corrupt, of.graph, part.metric, rules)
        self.forwards += facts["forwards"]
        return found.double().mean(1).numpy()


def cut_singly(circuits: EdgeCircuits, chosen: np.ndarray) -> np.ndarray:
    """What cutting each edge alone costs, [edge], mean over the prompts."""
    masks = np.ones((len(chosen), len(circuits.universe)), dtype=bool)
    masks[np.arange(len(chosen)), chosen] = False
    return circuits.full.mean() - circuits.keep_masks(masks).mean(1)
