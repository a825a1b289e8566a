"""`discover`: score nodes on one part of the prompts, choose the circuit's size on another."""

import time
from collections.abc import Sequence
from typing import Literal

from interp.discovery.auto import AUTO_EXACT
from interp.discovery.curve import check_cut, faithfulness_curve, smallest_within
from interp.discovery.discover_edges import discover_edges
from interp.discovery.edges import EDGE_EXACT
from interp.discovery.methods import Question, check_method, node_scores
from interp.discovery.nodes import nodes as all_nodes
from interp.discovery.runs import Circuits
from interp.hooks import HookedModel
from interp.results import BadInput, Circuit, Node
from interp.results.environment import peak_memory

Level = Literal["nodes", "edges"]
WITHIN = (0.8, 1.2)


def discover(
    model: HookedModel,
    task,
    method: str = "auto",
    *,
    nodes: Sequence[Node] | None = None,
    positions: Sequence[int] | None = None,
    level: Level = "nodes",
    budget: int | None = None,
    within: tuple[float, float] = WITHIN,
    seed: int = 0,
    rows: int | None = None,
    done=None,
) -> Circuit:
    """The circuit of a task: nodes ranked by their mean effect on the metric, cut to the smallest that suffices.

    Scores come from the task's `discover` prompts with `method` (`interp.discovery.METHODS`); the size is the
    smallest C such that C and all larger prefixes of the ranking stay within `within` faithfulness on the `select`
    prompts. Nothing of the `test` prompts is looked at: that is what `evaluate` is for. Sources are put at the task's
    counterfactual. `provenance` keeps the ranking's cost, the curve and the bound of "auto".
    With `level="edges"` it is edges (`interp.discovery.edges.EDGE_METHODS`) that are scored, kept and cut, and the
    circuit's nodes are those that its edges touch. `budget` is how much "auto" scores exactly (nodes 512, edges 2048).
    Raises BadInput for an unknown method or too few prompts, before any long work.
    """
    if level == "edges":
        return _among_edges(model, task, method, nodes, positions, budget, within, seed, rows, done)
    if level != "nodes":
        raise BadInput(f"level is {level!r}; a circuit is found among 'nodes' or 'edges'")
    budget = AUTO_EXACT if budget is None else budget
    check_method(method)
    start = time.perf_counter()
    universe = list(nodes) if nodes is not None else all_nodes(model, positions)
    held = task.part("select")
    select = Circuits(model, held, universe, rows, done=done, name="select")
    check_cut(model.name, held, select)  # now, before any long work
    scored, facts = node_scores(method, Question(model, task.part("discover"), universe, budget, seed, rows, done))
    scores = dict(zip(universe, scored.tolist()))
    whole = Circuit.from_scores(model.name, task.name, method, scores)
    curve = faithfulness_curve(select, whole.nodes, held)
    k = smallest_within(curve, within)
    provenance = _provenance(model, task, within, seed, start) | {
        "universe": len(universe), "curve": curve.to_dict("list"), **facts,
        "ledger": ledger(len(universe), "nodes", method, select.looked),
    }
    return Circuit.from_scores(model.name, task.name, method, scores, k, provenance=provenance)


def ledger(scored: int, what: str, method: str, sized: int) -> dict[str, str]:
    """What was looked at on which part of the prompts: `evaluate` adds what it looks at on its own."""
    return {"discover": f"{scored} {what} scored by {method}", "select": f"{sized} circuits, to choose the size",
            "test": "nothing"}


def _among_edges(model, task, method, nodes, positions, budget, within, seed, rows, done) -> Circuit:
    if nodes is not None or positions is not None:
        raise BadInput("edges are found among all nodes, at all positions; leave nodes and positions out")
    start = time.perf_counter()
    scores, edges, others, facts = discover_edges(
        model, task, method, budget=EDGE_EXACT if budget is None else budget, within=within, seed=seed, rows=rows,
        done=done,
    )
    return Circuit(
        model.name, task.name, method, tuple(scores), scores, edges,
        _provenance(model, task, within, seed, start) | facts
        | {"ledger": ledger(facts["universe"], "edges", method, facts["circuits_sized"])}, others,
    )


def _provenance(model, task, within, seed: int, start: float) -> dict:
    return {
        "seed": seed, "split": {name: int(len(index)) for name, index in task.split.items()},
        "baseline": "counterfactual", "metric": type(task.metric).__name__, "unit": getattr(task.metric, "unit", ""),
        "within": list(within),
        "readings": {name: read(model).to_dict() for name, read in getattr(task, "readings", {}).items()},
        "seconds": round(time.perf_counter() - start, 2), "memory": peak_memory(),
    }
