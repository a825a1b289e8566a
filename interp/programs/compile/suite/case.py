"""One case of the suite: a compiled program, its task, and what is known of every node."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from interp.discovery.truth import edge_labels
from interp.programs.compile.compiled import Compiled
from interp.programs.compile.graph import Graph
from interp.programs.compile.iia import answers, simulate_with
from interp.programs.compile.schedule import edges as reads
from interp.programs.compile.simulate import Arrays, simulate
from interp.programs.compile.suite.prompts import known
from interp.programs.compile.truth import OUTPUT, POSITIONS, source
from interp.programs.rasp.nodes import SOp
from interp.results.circuit import Circuit
from interp.results.errors import BadInput
from interp.results.node import Edge, Node
from interp.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Case:
    """A compiled program with hard negatives.

    `kind`: "library" or "random"; `trap`: the hard case it holds, of `TRAPS`; `base`: the program it was made from,
    the unit that is resampled. `program`: the expression. `idle`: nodes, of the truth or not, of which no variable
    differs between any clean and corrupt sequence of the task's discover part, so that no method can say anything of
    them: scored apart. `negatives`: the other nodes outside the truth by class, "reader" where they read a variable
    that the truth computes, else "distractor".
    """

    index: int
    name: str
    kind: str
    trap: str
    base: str
    program: SOp
    compiled: Compiled
    task: Task

    @property
    def truth(self) -> Circuit:
        """The compiler's circuit: every node and edge of the program's graph, whatever any intervention says."""
        return self.compiled.truth

    @property
    def rotated(self) -> bool:
        return self.compiled.options.rotate is not None

    @property
    def norm(self) -> str:
        return self.compiled.options.norm or "none"

    @property
    def labels(self) -> dict[Node, bool]:
        """Whether each node is in the truth; idle ones left out."""
        members = set(self.truth.nodes)
        return {node: node in members for node in self.truth.scores if node not in self.idle}

    @cached_property
    def idle(self) -> tuple[Node, ...]:
        members, alive = set(self.truth.nodes), self._alive
        active = {place.node for i, place in self.compiled.parts.schedule.places.items()
                  if i in self.varying and (i in alive or place.node not in members)}
        return tuple(node for node in self.truth.scores if node not in active)

    def edge_labels(self, edges: Sequence[Edge]) -> tuple[np.ndarray, np.ndarray]:
        """(whether each edge is in the truth, whether it is idle), [edge] each.

        An edge of the truth is idle where nothing varies that goes along it, another where its source does not vary.
        """
        graph, label = self.compiled.graph, edge_labels(edges, self.truth)
        carried: dict[tuple, bool] = {}
        plan = self.compiled.parts.schedule
        for i in sorted(self._alive):
            if i in plan.places:
                for role, read in reads(graph, i):
                    key = source(graph, plan, read), plan.places[i].node, role
                    carried[key] = carried.get(key, False) or read in self.varying
        for read in graph.outputs:
            key = source(graph, plan, read), OUTPUT, "in"
            carried[key] = carried.get(key, False) or read in self.varying
        still = {*self.idle, POSITIONS}
        idle = [not carried[e.source, e.target, e.role] if true else e.source in still
                for e, true in zip(edges, label)]
        return label, np.array(idle)

    @cached_property
    def varying(self) -> frozenset[int]:
        """Variables that differ somewhere between a clean sequence of the discover part and its corrupt one."""
        graph, part = self.compiled.graph, self.task.part("discover")
        clean, corrupt = (known(self.compiled, self.rows(ids)) for ids in (part.clean, part.corrupt))
        return frozenset(
            i for a, b in zip(clean, corrupt) for i, label in enumerate(graph.labels)
            if (a.variables[label] != b.variables[label][: len(a.answer)]).any()
        )

    @cached_property
    def silent(self) -> tuple[Node, ...]:
        """Members that no single exchange can show: on no discover pair is the program's answer, where the metric reads
        it, another one with the node's variables taken from the other sequence, into the clean one or the corrupt one.

        This asks the program, not the model. They stay in the truth: the compiler built them.
        """
        graph, part = self.compiled.graph, self.task.part("discover")
        pairs = zip(self.rows(part.clean), self.rows(part.corrupt), (part.metric.positions - 1).tolist())
        worlds = [(_world(graph, clean), _world(graph, corrupt), at) for clean, corrupt, at in pairs]
        members = [node for node in self.truth.nodes if node not in self.idle]
        written = {node: [i for i, place in self.compiled.parts.schedule.places.items()
                          if place.node == node and i in self._alive] for node in members}
        return tuple(node for node in members if not any(
            _shows(graph, written[node], a, b, at) or _shows(graph, written[node], b, a, at) for a, b, at in worlds))

    @cached_property
    def _alive(self) -> set[int]:
        """The variables that the program's output needs."""
        return self.compiled.graph.below(*self.compiled.graph.outputs)

    def rows(self, ids) -> list[tuple]:
        """The sequences of input ids, BOS and padding taken off."""
        vocab = self.compiled.graph.vocab
        return [tuple(vocab[i] for i in row[1:] if i < len(vocab)) for row in np.asarray(ids)]

    @cached_property
    def negatives(self) -> dict[str, tuple[Node, ...]]:
        graph, places = self.compiled.graph, self.compiled.parts.schedule.places
        computed = self._alive & places.keys()
        reading = {place.node for i, place in places.items() if computed & set(graph.ops[i].reads)}
        found: dict[str, tuple[Node, ...]] = {"reader": (), "distractor": ()}
        for node, member in self.labels.items():
            if not member:
                found["reader" if node in reading else "distractor"] += (node,)
        return found

    def __repr__(self) -> str:
        held = sum(self.labels.values())
        return (f"Case({self.name}: {held} of {len(self.labels)} nodes in the truth, {len(self.idle)} idle; "
                f"norm {self.norm}{', rotated' if self.rotated else ''})")


World = tuple[np.ndarray, Arrays]
"""Token indices [1, pos] and every variable of the program on them."""


def _world(graph: Graph, row: tuple) -> World:
    index = {value: i for i, value in enumerate(graph.vocab)}
    ids = np.array([[index[value] for value in row]])
    return ids, simulate(graph, ids)


def _shows(graph: Graph, written: list[int], base: World, other: World, at: int) -> bool:
    """Whether the answer at a position is another one where these variables are the other sequence's."""
    put = {i: base[1][i].copy() for i in written}
    for i, value in put.items():
        shared = min(value.shape[1], other[1][i].shape[1])
        value[:, :shared] = other[1][i][:, :shared]
    try:
        after = simulate_with(graph, base[0], put)
    except BadInput:  # the mixture has no answer: something changed
        return True
    a, b = (answers(graph, found)[0, at] for found in (base[1], after))
    return bool(a != b and not (np.isnan(a) and np.isnan(b)))
