"""Running a model with only a circuit intact: everything else at the task's counterfactual."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from interp.discovery.nodes import source
from interp.effects import effects
from interp.hooks import Counterfactual, HookedModel
from interp.results import Edge, Node

Piece = Node | Edge


class Cut(Protocol):
    """A model cut down to sets of nodes (`Circuits`) or of edges (`edge_runs.EdgeCircuits`): metric values of rows.

    `universe` is what can be removed, `full` and `empty` the metric with nothing and with all of it removed, [batch].
    """

    universe: list
    full: np.ndarray
    empty: np.ndarray
    forwards: float
    looked: int

    def keep(self, circuits: Iterable[Iterable]) -> np.ndarray: ...
    def remove(self, sets: Iterable[Iterable]) -> np.ndarray: ...
    def restored(self, pieces: Sequence) -> np.ndarray: ...


class Circuits:
    """Metric values of a model cut down to sets of nodes, on one part of a task.

    `universe` is what can be removed; anything outside it (embeddings, norms) always stays. `full` and `empty` are the
    metric with nothing and with all of the universe removed, [batch]. `done` keeps finished ones, as in `effects`;
    `name` is of the part of the task, whose circuits must not be taken for another's.
    """

    def __init__(
        self, model: HookedModel, part, universe: Sequence[Node], rows: int | None = None, *, done=None, name: str = ""
    ):
        self.model, self.part, self.universe, self.rows = model, part, list(universe), rows
        self.done = None if done is None else Apart(done, name)
        self.baseline = Counterfactual(part.corrupt)
        self.forwards = 0.0
        self._known: dict[frozenset[Node], np.ndarray] = {}
        self.full, self.empty = self.keep([self.universe, []])

    def keep(self, circuits: Iterable[Iterable[Node]]) -> np.ndarray:
        """Metric of m(C) for every C, [circuit, batch]: clean inputs, the complement of C at its counterfactual."""
        wanted = [frozenset(c) for c in circuits]
        new = list(dict.fromkeys(c for c in wanted if c not in self._known))
        removed = [[n for n in self.universe if n not in c] for c in new]
        groups = [[source(n) for n in nodes] for nodes in removed]
        cut = [i for i, nodes in enumerate(removed) if nodes]
        if cut:
            found = effects(
                self.model, self.part.clean, [groups[i] for i in cut], self.part.metric, baseline=self.baseline,
                rows=self.rows, done=self.done,
            )
            self.forwards += found.cost["forwards"]
            clean = found.clean.double().numpy()
            for row, i in enumerate(cut):
                self._known[new[i]] = clean - found.values[row].double().numpy()
            self._known[frozenset(self.universe)] = clean
        elif new:
            self._known[new[0]] = self._clean()
        return np.stack([self._known[c] for c in wanted])

    def remove(self, sets: Iterable[Iterable[Node]]) -> np.ndarray:
        """Metric of m(M without K) for every K, [set, batch]."""
        universe = set(self.universe)
        return self.keep([universe - set(k) for k in sets])

    def restored(self, pieces: Sequence[Node]) -> np.ndarray:
        """What each node alone brings back on the counterfactual prompts: m(corrupt, node from clean) - m(corrupt),
        [node, batch]."""
        found = effects(
            self.model, self.part.corrupt, [source(n) for n in pieces], self.part.metric,
            baseline=Counterfactual(self.part.clean), rows=self.rows,
        )
        self.forwards += found.cost["forwards"]
        return -found.values.double().numpy()

    @property
    def looked(self) -> int:
        """How many different circuits were measured on this part, with the whole and the emptied model."""
        return len(self._known)

    def _clean(self) -> np.ndarray:
        with torch.no_grad(), self.model.edit():
            values: Tensor = self.part.metric(self.model(self.part.clean))
        return values.double().cpu().numpy()


class Apart:
    """A store of finished effects (see `effects`) whose labels are those of one part of a task."""

    def __init__(self, store, name: str):
        self.store, self.name = store, name

    def get(self, draw: int, label: str) -> Tensor | None:
        return self.store.get(draw, f"{self.name}: {label}")

    def put(self, draw: int, labels: list[str], effects: Tensor) -> None:
        self.store.put(draw, [f"{self.name}: {label}" for label in labels], effects)


def sizes(n: int) -> list[int]:
    """Circuit sizes of a curve: every size to 24, then steps of a tenth, and n."""
    grid, k = list(range(min(n, 24) + 1)), 24
    while k < n:
        k = min(n, max(k + 1, round(k * 1.1)))
        grid.append(k)
    return grid
