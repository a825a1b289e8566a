"""`compare`: what circuits have in common, across methods, models, checkpoints and architectures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.discovery.depth_mass import depth_mass, mass_by_chance, mass_overlap
from interp.discovery.evidence import Compared, read_compared
from interp.discovery.overlap import DEPTH, SIZE, overlap, rank_correlation
from interp.results import BadInput, Circuit, Edge, Estimate, Node

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COMPONENTS = ("hook_z", "hook_mlp_out", "hook_mixer_out")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Circuits side by side: `pairs` as `frame` says, `circuits` with their names A, B, ... and their evidence."""

    circuits: tuple[Compared, ...]
    pairs: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """One row a pair and statistic.

        Columns: a, b, statistic, value, low, high (nan where there is no interval), n (nodes or edges it is of),
        expected and p (by chance, of the kind named in `null`), note.
        """
        return self.pairs

    def evidence(self) -> pd.DataFrame:
        """One row a circuit: name, model, task, method, members, candidates, edges, scored_edges, seed, n,
        faithfulness, low, high, p_same_size_and_depths (against random circuits), origin. The evidence is of the
        evaluation that lies beside the circuit, nan where there is none."""
        return pd.DataFrame([circuit.row() for circuit in self.circuits])

    def matched(self, first: int = 0, second: int = 1) -> bool:
        """Whether nodes of these two circuits can be matched by name."""
        return _matched(*self._two(first, second))

    def nodes(self, first: int = 0, second: int = 1) -> pd.DataFrame:
        """One row a node scored in either of two circuits: node, label, score_a, score_b, member ("both", "A only" ...
        by their names, "" for neither), of largest |score| first. Raises BadInput where nodes cannot be matched."""
        a, b = self._two(first, second)
        if not _matched(a, b):
            raise BadInput(f"{a.model} and {b.model} have other nodes, which cannot be matched; see the depth profile")
        a, b = _on_one_footing(a, b)
        one, other = self.circuits[first].name, self.circuits[second].name
        said = {(True, True): "both", (True, False): f"{one} only", (False, True): f"{other} only"}
        members = set(a.nodes), set(b.nodes)
        rows = [
            {"node": node.name, "label": node.label, "score_a": a.scores.get(node, np.nan),
             "score_b": b.scores.get(node, np.nan), "member": said.get((node in members[0], node in members[1]), "")}
            for node in sorted({**a.scores, **b.scores}, key=lambda n: (-_largest(n, a, b), n.name))
        ]
        return pd.DataFrame(rows)

    def figure(self, first: int = 0, second: int = 1) -> "go.Figure":
        """Depth x head grid of the difference in scores, members of one and of both outlined; where nodes cannot be
        matched, both depth profiles."""
        from interp.discovery.compare_figure import difference_figure, profile_figure

        a, b = self._two(first, second)
        names = (self.circuits[first].name, self.circuits[second].name)
        if not _matched(a, b):
            return profile_figure(a, b, names)
        return difference_figure(*_on_one_footing(a, b), names)

    def save(self, run) -> None:
        """Tables and the figure of every pair into a run directory."""
        run.save_table("comparison", self.pairs)
        run.save_table("circuits", self.evidence())
        for i, j in combinations(range(len(self.circuits)), 2):
            name = f"{self.circuits[i].name}-{self.circuits[j].name}"
            run.save_figure(f"difference-{name}", self.figure(i, j))
            if self.matched(i, j):
                run.save_table(f"nodes-{name}", self.nodes(i, j))

    def _two(self, first: int, second: int) -> tuple[Circuit, Circuit]:
        return self.circuits[first].circuit, self.circuits[second].circuit


def compare(*circuits: Circuit | str | Path, seed: int = 0) -> Comparison:
    """What two or more circuits have in common; each is a Circuit, its JSON file, or the run folder that it is in.

    Where nodes can be matched (one model, or models of the same nodes): the Jaccard overlap of members, beside what
    chance gives at the same size, and at the same size and depths; the rank correlation of scores over common
    candidates; the same for edges where both have them. Always: the overlap of depth profiles, the share of |score| at
    each relative depth and kind of node, which is all that can be compared where nodes differ.
    Raises BadInput for fewer than two; BadFile for one that cannot be read.
    """
    if len(circuits) < 2:
        raise BadInput(f"a comparison is of two circuits or more, not {len(circuits)}")
    read = tuple(read_compared(given, _letters(i)) for i, given in enumerate(circuits))
    rows = [row for a, b in combinations(read, 2) for row in _pair(a, b, seed)]
    columns = ["a", "b", "statistic", "value", "low", "high", "n", "expected", "p", "null", "note"]
    return Comparison(read, pd.DataFrame(rows, columns=columns))


def _letters(i: int) -> str:
    return chr(65 + i) if i < 26 else f"C{i + 1}"


def _pair(one: Compared, other: Compared, seed: int) -> list[dict[str, Any]]:
    a, b = one.circuit, other.circuit
    found = []
    if _matched(a, b):
        note = "" if a.model == b.model else "matched by name: right for checkpoints, not for models trained apart"
        a, b = _on_one_footing(a, b)
        found += _overlaps("nodes", a.nodes, b.nodes, _candidates(a, b), note)
        common = [node for node in a.scores if node in b.scores]
        scores = [[c.scores[node] for node in common] for c in (a, b)]
        found.append(_correlation("nodes", *scores, seed))
        if bool(a.edges) != bool(b.edges):
            found[-1]["note"] += "; a node of an edge circuit scores the sum of its edges' |scores|"
        if a.edges and b.edges:
            found += _edges(a, b, seed)
    found.append(_profiles(a, b, seed))
    return [{"a": one.name, "b": other.name} | row for row in found]


def _matched(a: Circuit, b: Circuit) -> bool:
    return a.model == b.model or _places(a) == _places(b)


def _places(circuit: Circuit) -> set[Node]:
    """Its candidates, positions aside."""
    return {replace(node, pos=None) for node in _candidates(circuit)}


def _candidates(*circuits: Circuit) -> list[Node]:
    """What was scored in any of them: nodes, and heads, mixers and MLPs at the ends of edges."""
    ends = {end for c in circuits for edge in (*c.edges, *c.candidate_edges) for end in edge[:2]}
    ends = {node for node in ends if node.depth is not None and node.kind.endswith(_COMPONENTS)}
    return sorted(ends.union(*(c.scores for c in circuits)), key=lambda node: node.name)


def _on_one_footing(a: Circuit, b: Circuit) -> tuple[Circuit, Circuit]:
    """The two without positions where only one of them tells positions apart."""
    split = [any(node.pos is not None for node in c.scores) for c in (a, b)]
    return (a, b) if split[0] == split[1] else (_folded(a), b) if split[0] else (a, _folded(b))


def _folded(circuit: Circuit) -> Circuit:
    """Every node with the largest of its positions' scores; a member where one of its positions is."""
    scores: dict[Node, float] = {}
    for node, score in sorted(circuit.scores.items(), key=lambda item: abs(item[1])):
        scores[replace(node, pos=None)] = score
    members = dict.fromkeys(replace(node, pos=None) for node in circuit.nodes)
    return replace(circuit, nodes=tuple(members), scores=scores, edges=(), candidate_edges=())


def _overlaps(what: str, a: Sequence, b: Sequence, universe: Sequence, note: str = "") -> list[dict[str, Any]]:
    found = [overlap(a, b, universe, null) for null in (DEPTH, SIZE)]
    said = f"{found[0].both} in both, {len(a)} and {len(b)}" + (f"; {note}" if note else "")
    return [
        {"statistic": f"{what} in common (Jaccard)", "value": o.jaccard, "n": len(universe), "expected": o.expected,
         "p": o.p, "null": o.null, "note": said}
        for o in found
    ]


def _correlation(what: str, x: Sequence[float], y: Sequence[float], seed: int) -> dict[str, Any]:
    found = rank_correlation(x, y, what, seed)
    row = {"statistic": f"rank correlation of scores, {what}", "n": len(x)}
    if isinstance(found, Estimate):
        return row | {"value": found.value, "low": found.low, "high": found.high, "note": f"{found.method} over {what}"}
    why = f"too few {what}, or equal scores" if np.isnan(found) else f"too few distinct {what} for an interval"
    return row | {"value": found, "note": why}


def _edges(a: Circuit, b: Circuit, seed: int) -> list[dict[str, Any]]:
    """Overlap and rank correlation of edges; roles count where both tell them apart."""
    roles = all(any(edge.role for edge in c.edges) for c in (a, b))
    members = [list(_scored(c.edges, roles)) for c in (a, b)]
    scores = [_scored((*c.edges, *c.candidate_edges), roles) for c in (a, b)]
    if not (a.candidate_edges and b.candidate_edges):
        both = len(set(members[0]) & set(members[1]))
        union = len(set(members[0]) | set(members[1]))
        return [{"statistic": "edges in common (Jaccard)", "value": both / union, "n": union,
                 "note": f"{both} in both; without the edges that were left out there is no chance level"}]
    universe = list(dict.fromkeys([*scores[0], *scores[1]]))
    common = [edge for edge in scores[0] if edge in scores[1]]
    x, y = ([s[edge] for edge in common] for s in scores)
    return [*_overlaps("edges", *members, universe), _correlation("edges", x, y, seed)]


def _scored(edges: Sequence[Edge], roles: bool) -> dict[Edge, float]:
    """{edge without its score: score}, the strongest where roles are put together."""
    found: dict[Edge, float] = {}
    for edge in sorted(edges, key=lambda edge: abs(edge.score or 0.0)):
        found[Edge(edge.source, edge.target, None, edge.role if roles else None)] = edge.score or 0.0
    return found


def _profiles(a: Circuit, b: Circuit, seed: int) -> dict[str, Any]:
    row = {"statistic": "depth profile in common", "null": "scores dealt anew"}
    try:
        value, chance = mass_overlap(depth_mass(a), depth_mass(b)), mass_by_chance(a, b, seed=seed)
    except BadInput as error:
        return row | {"value": np.nan, "note": str(error)}
    note = "share of |score| at the same relative depth and kind"
    if not _matched(a, b):
        note = "the models have other nodes, which cannot be matched; " + note
    p = (1 + int((chance >= value - 1e-12).sum())) / (1 + len(chance))
    return row | {"value": value, "expected": float(chance.mean()), "p": p, "note": note}


def _largest(node: Node, *circuits: Circuit) -> float:
    return max(abs(c.scores.get(node, 0.0)) for c in circuits)
