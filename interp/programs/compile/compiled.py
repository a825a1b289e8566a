"""`Compiled`: the model, the program it computes, and everything that is known about where it computes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.hooks.model import HookedModel
from interp.programs.compile.assemble import Assembled, Options, spanned
from interp.programs.compile.graph import Graph, Scores
from interp.programs.compile.inputs import some
from interp.programs.compile.schedule import Place
from interp.programs.compile.simulate import decode as decode_row
from interp.programs.compile.simulate import encode_rows, label_scores, simulate
from interp.programs.compile.truth import idle, negatives, truth
from interp.programs.compile.verify import Verification, verify
from interp.programs.rasp.evaluate import plain
from interp.programs.rasp.nodes import SOp, Value
from interp.results.circuit import Circuit
from interp.results.errors import BadInput, nearest
from interp.results.node import Node


@dataclass
class Compiled:
    """A program as a hooked model with known insides.

    `model`: the hooked model; ids are those of `encode`, BOS first. `truth`: its circuit; `negatives`: nodes that are
    there and do not matter. `check`: how it did when it was compiled (`margin`, `floor` come from there). `program`
    is the expression it was compiled from, None after loading.
    """

    name: str
    graph: Graph
    options: Options
    parts: Assembled
    model: HookedModel
    program: SOp | None = None
    check: Verification | None = None
    leak: float = 0.0
    truth: Circuit = field(init=False)
    negatives: tuple[Node, ...] = field(init=False)

    def __post_init__(self) -> None:
        plan = self.parts.schedule
        provenance = {"vocab": [str(v) for v in self.graph.vocab], "length": self.graph.length,
                      "causal": self.graph.causal, **vars(self.options)}
        self.truth = truth(self.graph, plan, self.model.name, self.name, provenance)
        self.negatives = negatives(self.graph, plan)

    def declared(self) -> "Compiled":
        """This, with the sites and parameters that only distractors use declared in the site map."""
        if self.options.exact:  # elsewhere a trace of everything is everywhere
            parameters, sites = idle(self.parts.module, self.negatives)
            self.model.map.unused_parameters, self.model.map.inert_sites = parameters, sites
        return self

    # -- running -------------------------------------------------------------------------------------------------

    def encode(self, sequence: Sequence[Value], *more: Sequence[Value]) -> "Tensor | dict[str, Tensor]":
        """Input of the model for one or more sequences of tokens: ids [batch, 1 + pos], BOS first.

        Sequences of different lengths are padded on the right and come with their attention mask.
        Raises: BadInput for an empty or too long sequence, or a token outside the vocabulary.
        """
        rows = [self._checked(row) for row in (sequence, *more)]
        n, bos, pad = max(map(len, rows)), len(self.graph.vocab), self.parts.module.sizes.pad
        ids = torch.tensor([[bos, *row, *[pad] * (n - len(row))] for row in rows])
        if all(len(row) == n for row in rows):
            return ids
        return {"input_ids": ids, "attention_mask": (ids != pad).long()}

    def _checked(self, row: Sequence[Value]) -> list[int]:
        index = {value: i for i, value in enumerate(self.graph.vocab)}
        if not 1 <= len(row) <= self.graph.length:
            raise BadInput(f"a sequence of {len(row)} tokens; {self.name} was compiled for 1 to {self.graph.length}")
        for value in row:
            if value not in index:
                raise BadInput(f"{value!r:.40} is no token of {self.name}.{nearest(str(value), map(str, index))} "
                               f"Its vocabulary: {', '.join(map(repr, self.graph.vocab))}"[:300])
        return [index[value] for value in row]

    def decode(self, output: Tensor, lengths: Sequence[int] | None = None) -> list[list[Value]]:
        """The values that an output [batch, 1 + pos, d_out] stands for, BOS left out; None where no value is given.

        `lengths` are those of the sequences where they were padded.
        """
        scores = output.detach().double().numpy()[:, 1:]
        rows = [self._decoded(row) for row in scores]
        return rows if lengths is None else [row[:n] for row, n in zip(rows, lengths)]

    def _decoded(self, scores: np.ndarray) -> list[Value]:
        out = self.graph.out
        if isinstance(out, Scores):
            return [out.labels[i] for i in scores.argmax(-1)]
        variable = self.graph.variables[out]
        if variable.encoding == "numerical":
            return decode_row(variable, scores[:, 0])
        return decode_row(variable, np.where(scores.max(-1) > 0.5, scores.argmax(-1), -1))

    def run(self, sequence: Sequence[Value]) -> list[Value]:
        """The program's answer at every position, computed by the model: [2, 1, 2, 1] for list("abac") of hist."""
        with torch.no_grad():
            return [plain(value) for value in self.decode(self.model(self.encode(sequence)))[0]]

    # -- insides -------------------------------------------------------------------------------------------------

    @property
    def labels(self) -> list[str]:
        """Every variable of the program, inputs first; those of distractors too."""
        return list(self.graph.labels)

    @property
    def places(self) -> dict[str, Place]:
        """Where every variable is computed: depth, and head or MLP units. Embedded variables are not among them."""
        return {self.graph.labels[i]: place for i, place in self.parts.schedule.places.items()}

    @property
    def units(self) -> dict[Node, tuple[int, "int | tuple[int, int]"]]:
        """Every node: (depth, its head), or (depth, (first, last + 1) of its units in the MLP)."""
        found: dict[Node, Any] = {}
        for place in self.parts.schedule.places.values():
            if place.head is not None:
                found[place.node] = (place.depth, place.head)
            else:
                start, stop = found.get(place.node, (0, place.units))[1]
                found[place.node] = (place.depth, (min(start, place.units[0]), max(stop, place.units[1])))
        return found

    @property
    def directions(self) -> dict[str, Tensor]:
        """Every variable's directions in the stream: [number of its values, or 1, d_model]."""
        encode = self.parts.basis.encode
        return {label: encode[:, self.parts.craft.span(i)].T.to(self.model.dtype)
                for i, label in enumerate(self.graph.labels)}

    def value_names(self, label: str) -> tuple[Value, ...]:
        """The values of a categorical variable in the order of its directions; () for a numerical one."""
        if label not in self.graph.labels:
            raise BadInput(f"{self.name} has no variable {label!r}.{nearest(label, self.graph.labels)}")
        return self.graph.variables[self.graph.labels.index(label)].values or ()

    def values(self, inputs: Sequence[Sequence[Value]]) -> dict[str, list[list[Value]]]:
        """What every variable of the program is on these sequences: `{label: [sequence][position]}`.

        These are the program's values, to compare the model's with (probes, interchange interventions).
        """
        rows = [tuple(self.graph.vocab[i] for i in self._checked(row)) for row in inputs]
        found: dict[str, list] = {label: [None] * len(rows) for label in self.graph.labels}
        for group, ids in encode_rows(self.graph, rows):
            arrays = simulate(self.graph, ids)
            for label, variable, array in zip(self.graph.labels, self.graph.variables, arrays):
                for i, row in zip(group, array):
                    found[label][i] = [plain(value) for value in decode_row(variable, row)]
        return found

    def read(self, sequence: Sequence[Value], *more: Sequence[Value]) -> dict[str, Tensor]:
        """What the model's last stream holds of every variable: {label: [batch, pos, values or 1]}, BOS left out."""
        last = f"blocks.{self.model.n_layers - 1}.hook_resid_post"
        stream = self.model.read(self.encode(sequence, *more), last)[last].double()
        inside = stream @ self.parts.basis.decode.T
        return {label: inside[:, 1:, self.parts.craft.span(i)] for i, label in enumerate(self.graph.labels)}

    # -- evidence ------------------------------------------------------------------------------------------------

    def verify(
        self, n: int | None = None, seed: int = 0, rows: Sequence[Sequence[Value]] | None = None
    ) -> Verification:
        """Compare the model with the program on every input, or on `n` random ones and the extremes, or on `rows`.

        Against the literal evaluator where the expression is known, else against the tables.
        """
        return verify(self, n, seed, rows)

    @property
    def margin(self) -> float:
        """Smallest margin of any decision when the model was compiled: 1 is perfect, below 0 a wrong one."""
        return min(self.check.margins.values(), default=float("nan")) if self.check else float("nan")

    @property
    def floor(self) -> float:
        """Effects on the output up to this size are no evidence: what unused components do, and, where variables
        leak into each other, how far the output is from what it should be."""
        if self.options.exact or self.check is None:
            return self.leak
        return max(self.leak, self.check.error)

    def ideal(self, ids: np.ndarray) -> np.ndarray:
        """The output that token indices [batch, pos] should have, [batch, pos, d_out]."""
        found = simulate(self.graph, ids)
        out = self.graph.out
        if isinstance(out, Scores):
            return label_scores(out, self.graph, found)
        variable = self.graph.variables[out]
        if variable.encoding == "numerical":
            return found[out][..., None]
        return np.vstack([np.eye(variable.width), np.zeros(variable.width)])[found[out]]

    def rank(self) -> int:
        """Dimensions that the stream of this program really spans: compressed into so many it loses nothing."""
        graph = self.graph
        samples = [ids for _, ids in encode_rows(graph, some(graph.vocab, graph.length, None, self.options.seed))]
        return spanned(graph, self.options, [ids[:: 1 + len(ids) // 512] for ids in samples])

    def frame(self) -> Any:
        """One row a variable: label, encoding, values, where it is computed, what it reads."""
        import pandas as pd

        rows = []
        for i, (label, variable) in enumerate(zip(self.graph.labels, self.graph.variables)):
            place = self.parts.schedule.places.get(i)
            where = "embedding" if place is None else place.node.label
            reads = ", ".join(self.graph.labels[r] for r in self.graph.ops[i].reads)
            units = place.units[1] - place.units[0] if place and place.units else None
            rows.append({"variable": label, "encoding": variable.encoding, "values": variable.width, "node": where,
                         "units": units, "reads": reads, "op": type(self.graph.ops[i]).__name__.lower()})
        return pd.DataFrame(rows).astype({"units": "Int64"})

    def save(self, path: str | Path) -> Path:
        """Write program.json (tables and options), model.safetensors and truth.json into a directory."""
        from interp.programs.compile.files import save

        return save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "Compiled":
        """What `save` wrote. Raises: BadFile for anything damaged or foreign."""
        from interp.programs.compile.files import load

        return load(path)

    def __repr__(self) -> str:
        sizes = self.parts.module.sizes
        wrong = f", WRONG on {self.check.wrong} of {self.check.inputs}" if self.check and not self.check.ok else ""
        return (f"Compiled({self.name}: {len(sizes.heads)} depths, {sum(sizes.heads)} heads of {sizes.d_head}, "
                f"{sum(sizes.units)} units, d_model {sizes.d_model}{wrong})")

