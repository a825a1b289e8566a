"""A circuit: the nodes a method found, ranked, with scores, edges and where it all came from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.results.circuit_file import circuit_text, read_circuit
from interp.results.errors import BadFile, BadInput
from interp.results.files import atomic_write
from interp.results.node import ROLES, Edge, Node
from interp.results.plain import to_plain
from interp.results.run import Run

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Circuit:
    """What was found of a model's workings on a task.

    `nodes` are the members, ranked: largest |score| first, ties as given. `scores` may also hold candidates
    that did not become members; every member needs one (1.0 each where all count the same). `edges` are Edge
    or tuples of (source, target[, score[, role]]); their ends need not be members (the embedding, the output).
    `candidate_edges` are those that a method scored and left out.
    `provenance` is what is needed to find it again: rules, baseline, metric, seeds, prompts; plain values
    only.
    Raises: BadInput for a score that is missing or not finite, a node or edge given twice, provenance that
    JSON cannot hold.
    """

    model: str
    task: str
    method: str
    nodes: tuple[Node, ...]
    scores: dict[Node, float]
    edges: tuple[Edge, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    candidate_edges: tuple[Edge, ...] = ()

    def __post_init__(self) -> None:
        for name in ("model", "task", "method"):
            if not isinstance(getattr(self, name), str):
                raise BadInput(f"{name} of a circuit is {getattr(self, name)!r:.60}, not text")
        scores = {_a_node(node): _score(node, score) for node, score in self.scores.items()}
        missing = [node.name for node in self.nodes if node not in scores]
        if missing:
            raise BadInput(
                f"no score for {missing[0]} ({len(missing)} such); use 1.0 where all count the same"
            )
        if len(set(self.nodes)) != len(self.nodes):
            raise BadInput("a circuit names the same node twice")
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "nodes", tuple(sorted(self.nodes, key=lambda node: -abs(scores[node]))))
        object.__setattr__(self, "edges", _edges(self.edges))
        object.__setattr__(self, "candidate_edges", _edges(self.candidate_edges))
        if set(_apart(self.edges)) & set(_apart(self.candidate_edges)):
            raise BadInput("an edge is a member of the circuit and a candidate outside it at once")
        object.__setattr__(self, "provenance", to_plain(dict(self.provenance), "provenance"))

    @classmethod
    def from_scores(
        cls,
        model: str,
        task: str,
        method: str,
        scores: Mapping[Node, float],
        k: int | None = None,
        **more: Any,
    ) -> "Circuit":
        """The k best-scored candidates as members (all, without k); the other scores are kept.

        `more`: edges, provenance.
        """
        whole = cls(model, task, method, tuple(scores), dict(scores), **more)
        return whole if k is None else whole.prune(k)

    def prune(self, k: int) -> "Circuit":
        """The k members of largest |score|, all if there are fewer.

        Edges that touch a dropped member go with it.
        """
        if type(k) is not int or k < 0:
            raise BadInput(f"a circuit is pruned to a number of nodes, 0 or more, not {k!r:.40}")
        dropped = set(self.nodes[k:])
        edges = tuple(
            edge for edge in self.edges if edge.source not in dropped and edge.target not in dropped
        )
        return replace(self, nodes=self.nodes[:k], edges=edges)

    def frame(self, candidates: bool = False) -> "pd.DataFrame":
        """One row a member, best first; with `candidates` the scored nodes outside the circuit follow.

        Columns: rank (from 1), label, score, depth, head, pos, kind, member, name. Whole numbers that can be
        absent are of pandas' Int64.
        """
        import pandas as pd

        outside = sorted(
            set(self.scores) - set(self.nodes), key=lambda node: (-abs(self.scores[node]), node.name)
        )
        nodes = [*self.nodes, *(outside if candidates else [])]
        columns = {
            "rank": range(1, len(nodes) + 1),
            "label": [node.label for node in nodes],
            "score": pd.array([self.scores[node] for node in nodes], dtype="float64"),
            "depth": pd.array([node.depth for node in nodes], dtype="Int64"),
            "head": pd.array([node.head for node in nodes], dtype="Int64"),
            "pos": pd.array([node.pos for node in nodes], dtype="Int64"),
            "kind": [node.kind for node in nodes],
            "member": [i < len(self.nodes) for i in range(len(nodes))],
            "name": [node.name for node in nodes],
        }
        return pd.DataFrame(columns)

    def figure(self) -> "go.Figure":
        """Depth x head grid of all scores, with columns for MLPs and other sites, members outlined."""
        from interp.results.circuit_figure import circuit_figure

        return circuit_figure(self)

    def edge_frame(self, candidates: bool = False) -> "pd.DataFrame":
        """One row an edge, members first, each part by |score|; with `candidates` the scored edges outside follow.

        Columns: rank (from 1), edge, source, target, role, score, member.
        """
        import pandas as pd

        parts = [(self.edges, True), (self.candidate_edges if candidates else (), False)]
        rows = [
            {"edge": e.label, "source": e.source.label, "target": e.target.label, "role": e.role, "score": e.score,
             "member": member}
            for edges, member in parts for e in sorted(edges, key=lambda e: -abs(e.score or 0.0))
        ]
        frame = pd.DataFrame(rows, columns=["edge", "source", "target", "role", "score", "member"])
        frame.insert(0, "rank", range(1, len(frame) + 1))
        return frame

    def graph_figure(self) -> "go.Figure":
        """The members' edges between nodes in rows by depth."""
        from interp.results.graph_figure import graph_figure

        return graph_figure(self)

    def save(self, target: "str | Path | Run") -> Path:
        """Write JSON to a path, or circuit.json with its table and figure into a run.

        Returns the path of the JSON.
        """
        if isinstance(target, Run):
            target.save_views("circuit", self)
            target = target.path / "circuit.json"
        return atomic_write(target, circuit_text(self))

    @classmethod
    def load(cls, path: str | Path) -> "Circuit":
        """The circuit in a file, equal to the one that was saved. Raises: BadFile with the reason."""
        fields = read_circuit(path)
        try:
            return cls(**fields)
        except BadInput as error:
            raise BadFile(f"{path}: {error}") from error


def _a_node(node: Any) -> Node:
    if not isinstance(node, Node):
        raise BadInput(f"{node!r:.60} is not a Node; Node.from_label reads L3H5 and MLP3")
    return node


def _score(node: Node, score: Any) -> float:
    number = float(score)
    if not math.isfinite(number):
        raise BadInput(f"the score of {node.name} is {number}")
    return number


def _edges(given: Any) -> tuple[Edge, ...]:
    edges = tuple(Edge(*edge) for edge in given)
    for edge in edges:
        _a_node(edge.source), _a_node(edge.target)
        if edge.role is not None and edge.role not in ROLES:
            raise BadInput(f"the role of the edge {edge.name} is {edge.role!r:.20}, not one of {', '.join(ROLES)}")
    scored = [edge if edge.score is None else edge._replace(score=_edge_score(edge)) for edge in edges]
    if len({(edge.source, edge.target, edge.role) for edge in scored}) != len(scored):
        raise BadInput("a circuit names the same edge twice")
    return tuple(scored)


def _apart(edges: tuple[Edge, ...]) -> list[Edge]:
    """The edges without their scores."""
    return [edge._replace(score=None) for edge in edges]


def _edge_score(edge: Edge) -> float:
    number = float(edge.score)
    if not math.isfinite(number):
        raise BadInput(f"the score of the edge {edge.name} is {number}")
    return number
