"""`discover` among edges: score them on one part of the prompts, choose the circuit's size on another."""

from collections import defaultdict

import networkx as nx
import numpy as np

from interp.discovery.curve import check_cut, faithfulness_curve, smallest_within
from interp.discovery.edge_runs import EdgeCircuits
from interp.discovery.edges import EDGE_EXACT, check_edge_method, edge_scores
from interp.discovery.graph import OUTPUT, Graph
from interp.hooks import HookedModel
from interp.hooks.baselines import rows as first_rows
from interp.results import Edge, Node


def discover_edges(
    model: HookedModel, task, method: str, *, budget: int = EDGE_EXACT, within: tuple[float, float], seed: int,
    rows: int | None, done=None,
) -> tuple[dict[Node, float], tuple[Edge, ...], tuple[Edge, ...], dict]:
    """(score of every head, mixer and MLP that a kept edge touches, kept edges, all others, provenance).

    Kept is the smallest prefix of the ranking that holds, less the edges that lie on no path from the embeddings to the
    output (they change nothing). A node's score is the sum of its kept edges' |score|.
    Raises BadInput for an unknown method or a model whose edges cannot be cut.
    """
    check_edge_method(method)
    held, part = task.part("select"), task.part("discover")
    graph = Graph.of(model, first_rows(part.clean, slice(0, 1)))
    circuits = EdgeCircuits(model, held, graph, rows, done=done, name="select")
    check_cut(model.name, held, circuits)  # before any long work
    scores, facts = edge_scores(model, part, graph, method, budget=budget, seed=seed, rows=rows, done=done)
    order = np.argsort(-np.abs(scores), kind="stable")
    ranking = [graph.edges[i] for i in order]
    curve = faithfulness_curve(circuits, ranking, held)
    k = smallest_within(curve, within)
    kept = set(connected(graph, ranking[:k]))
    scored = [graph.edges[i]._replace(score=float(scores[i])) for i in order]
    members = tuple(edge for edge in scored if edge._replace(score=None) in kept)
    others = tuple(edge for edge in scored if edge._replace(score=None) not in kept)
    components = {node for component in graph.components for node in component.nodes}
    nodes: dict[Node, float] = defaultdict(float)
    for edge in members:
        for node in {edge.source, edge.target} & components:
            nodes[node] += abs(edge.score)
    return dict(nodes), members, others, {
        "level": "edges", "universe": len(graph.edges), "prefix": k, "circuits_sized": circuits.looked,
        "curve": curve.to_dict("list"),
        "one_forward_a_circuit": circuits.fast, **facts,
    }


def connected(graph: Graph, edges: list[Edge]) -> list[Edge]:
    """The edges on a path from the stem to the output: the others carry nothing, or carry it nowhere.

    A key/value head belongs to every query head that reads it.
    """
    net = nx.DiGraph()
    net.add_nodes_from([*graph.stem, OUTPUT])
    for component in graph.components:
        for read in component.reads:
            for h, target in enumerate(read.targets):
                if target not in component.nodes:  # a shared key/value head, or a gate: on the way to its query heads
                    share = len(component.nodes) // len(read.targets)
                    net.add_edges_from((target, node) for node in component.nodes[h * share : (h + 1) * share])
    net.add_edges_from((edge.source, edge.target) for edge in edges)
    from_stem = set().union(*({node} | nx.descendants(net, node) for node in graph.stem))
    to_output = {OUTPUT} | nx.ancestors(net, OUTPUT)
    return [edge for edge in edges if edge.source in from_stem and edge.target in to_output]
