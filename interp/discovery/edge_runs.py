"""Running a model with only some edges intact: where an edge is cut, its reader sees the writer's counterfactual value.

Everything else in the run is what it becomes: a node whose inputs are cut writes what it computes from them. Where
every component reads its stream through one module (`entries`) a circuit takes one forward; elsewhere one small run for
every set of inputs that differs, which is right for any model and slow. Both give the same numbers (tests/discovery).
Paper: Conmy 2023 (2304.14997), edges; Hanna 2024 (2403.17806), their evaluation.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from interp.discovery.edge_rows import Rows
from interp.discovery.edge_streams import Streams
from interp.discovery.entries import entries
from interp.discovery.graph import Graph
from interp.discovery.runs import Apart
from interp.effects.patched import BUDGET
from interp.effects.skip import default_rows
from interp.hooks import HookedModel
from interp.hooks.baselines import rows as first_rows
from interp.results import BadInput
from interp.results.node import Edge
from interp.results.progress import progress


class EdgeCircuits:
    """Metric values of a model cut down to sets of edges, on one part of a task; the calls of `runs.Circuits`.

    `universe` are the edges that can be cut. `full` and `empty` are the metric with all and with none of them, [batch].
    `done` keeps finished circuits, as in `effects`; `name` is of the part.
    Raises BadInput for a model whose attentions pass something around their heads, so that an edge is not all that is
    between two nodes.
    """

    def __init__(
        self, model: HookedModel, part, graph: Graph | None = None, rows: int | None = None, *, slow: bool = False,
        done=None, name: str = "",
    ):
        self.done = None if done is None else Apart(done, f"{name} edges")
        self._rows = rows
        one = first_rows(part.clean, slice(0, 1))
        self.model, self.part = model, part
        self.graph = graph or Graph.of(model, one)
        if self.graph.bypassed:
            raise BadInput(
                f"{self.graph.bypassed[0]} of {model.name} depends on more than its heads' queries, keys and values (a "
                "gate or a router), so cutting its edges would not cut it off; use nodes"
            )
        self.universe = list(self.graph.edges)
        self._index = {edge: i for i, edge in enumerate(self.universe)}
        found = None if slow else entries(model, one, self.graph)
        self.runner = (Rows if found is None else Streams)(model, part, self.graph, found)
        batch, n_pos = model.batch_of(part.clean)
        most = default_rows(model, n_pos, BUDGET, True) // batch
        self._each = rows // batch if rows else min(most, BUDGET // self.runner.bytes)
        self._each = max(1, self._each)
        self.forwards = 0.0
        self._known: dict[bytes, np.ndarray] = {}
        self.full, self.empty = self.keep([self.universe, []])

    @property
    def fast(self) -> bool:
        """Whether a circuit takes one forward."""
        return isinstance(self.runner, Streams)

    @property
    def looked(self) -> int:
        """How many different circuits were measured on this part, with the whole and the emptied model."""
        return len(self._known)

    def keep(self, circuits: Iterable[Iterable[Edge]]) -> np.ndarray:
        """Metric with only these edges intact, [circuit, batch]. Raises BadInput for an edge that is not there."""
        return self.keep_masks(np.stack([self._mask(circuit) for circuit in circuits]))

    def remove(self, sets: Iterable[Iterable[Edge]]) -> np.ndarray:
        """Metric with these edges cut, [set, batch]."""
        return self.keep_masks(~np.stack([self._mask(edges) for edges in sets]))

    def restored(self, pieces: Sequence[Edge]) -> np.ndarray:
        """What each edge alone brings back on the counterfactual prompts: m(corrupt, edge from clean) - m(corrupt),
        [edge, batch]."""
        other = self.mirrored
        before = other.forwards
        found = other.remove([[edge] for edge in pieces]) - other.full
        self.forwards += other.forwards - before
        return found

    @cached_property
    def mirrored(self) -> "EdgeCircuits":
        """The same on the counterfactual prompts, where a cut edge brings what it has on the clean ones."""
        part = replace(self.part, clean=self.part.corrupt, corrupt=self.part.clean)
        return EdgeCircuits(
            self.model, part, self.graph, self._rows, slow=not self.fast, done=self.done, name="restored"
        )

    def keep_masks(self, masks: np.ndarray) -> np.ndarray:
        """Metric with the edges intact where `masks` [circuit, edge] is True, in the order of `universe`."""
        keys = [np.packbits(mask).tobytes() for mask in masks]
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        for key in first if self.done is not None else ():
            if key not in self._known and (kept := self.done.get(0, _label(key))) is not None:
                self._known[key] = kept.double().numpy()
        new = sorted(i for key, i in first.items() if key not in self._known)
        chunks = [new[i : i + self._each] for i in range(0, len(new), self._each)]
        for chunk in progress(chunks, "edges"):
            values = self.runner.run(torch.from_numpy(masks[chunk]))
            self.forwards += len(chunk) * self.runner.cost
            if self.done is not None:
                self.done.put(0, [_label(keys[i]) for i in chunk], values)
            for i, row in zip(chunk, values.double().cpu().numpy()):
                self._known[keys[i]] = row
        return np.stack([self._known[key] for key in keys])

    def _mask(self, edges: Iterable[Edge]) -> np.ndarray:
        mask = np.zeros(len(self.universe), dtype=bool)
        given: Sequence[Edge] = list(edges)
        try:
            mask[[self._index[edge if edge.score is None else edge._replace(score=None)] for edge in given]] = True
        except KeyError:
            self.graph.check(given)
        return mask


def _label(key: bytes) -> str:
    """A short name of a set of edges."""
    return hashlib.blake2b(key, digest_size=12).hexdigest()
