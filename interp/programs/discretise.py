"""From a trained model to its program: every choice at its argmax, every MLP as the table of all it can be asked.

Friedman, Wettig & Chen 2023, arXiv 2306.01128, section 3.6.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from interp.programs.gumbel import Choice
from interp.programs.heads import CategoricalHeads, NumericalHeads
from interp.programs.mlps import Mlps
from interp.programs.model import TransformerProgramModel
from interp.programs.program import (
    NOWHERE,
    Categorical,
    ClosestHead,
    CountingHead,
    Embedding,
    Input,
    Lookup,
    Numerical,
    Ones,
    Operator,
    Positions,
    Program,
    Variable,
)
from interp.results.errors import BadInput

_ARGMAX = Choice("argmax")
_CHUNK = 65_536  # pairs of numbers that an MLP is asked at a time
_LARGEST = 50_000_000  # entries of a table that are worth a program


@torch.no_grad()
def discretise(
    model: TransformerProgramModel, *, name: str = "program", vocab: Sequence[str] | None = None,
    labels: Sequence[str] | None = None, begin: str | None = None, end: str | None = None, unknown: str | None = None,
    provenance: dict[str, Any] | None = None,
) -> Program:
    """The program that the model is in eval mode: on any input both give the same values of all variables.

    `vocab` names the token ids but for the last, which is padding, and `labels` the outputs; they are numbered where
    nothing is given. A pair of values in a table that no input can bring about is marked `NOWHERE`. That is decided by
    what each variable can hold: words but for padding, positions up to n_ctx, copies what the original can, counts 0 to
    n_ctx times the largest thing counted; two reads of one variable agree.
    Raises BadInput for names that do not fit, and numbers that can grow so large that no table holds them.
    """
    sizes = model.sizes
    vocab = tuple(map(str, range(sizes.pad))) if vocab is None else tuple(vocab)
    labels = tuple(map(str, range(sizes.d_vocab_out))) if labels is None else tuple(labels)
    if len(vocab) != sizes.pad or len(labels) != sizes.d_vocab_out:
        raise BadInput(f"the model knows {sizes.pad} words and {sizes.d_vocab_out} labels; "
                       f"{len(vocab)} and {len(labels)} names were given")
    return _Reading(model, vocab).program(
        name=name, labels=labels, begin=begin, end=end, unknown=unknown, provenance=provenance or {}
    )


@dataclass
class _Reading:
    """A model being read, front to back: the variables met so far, and the values that each can hold."""

    model: TransformerProgramModel
    vocab: tuple[str, ...]
    known: dict[str, Variable] = field(default_factory=dict)
    possible: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.symbols, self.numbers = self.model.sizes.names()

    def program(self, labels: tuple[str, ...], **facts: Any) -> Program:
        """All of it, in order."""
        sizes = self.model.sizes
        inputs = tuple(self.inputs())
        layers = tuple(tuple(self.layer(depth)) for depth in range(sizes.n_layers))
        return Program(
            vocab=self.vocab, labels=labels, n_ctx=sizes.n_ctx, inputs=inputs, layers=layers, readout=self.readout(),
            bias=np.zeros(len(labels)), causal=sizes.causal, pooled=sizes.pooled, **facts,
        )

    def add(self, variable: Variable, possible: Any) -> Variable:
        self.known[variable.name] = variable
        self.possible[variable.name] = np.unique(possible)
        return variable

    def inputs(self) -> Iterator[Input]:
        sizes = self.model.sizes
        codes = self.model.embed.table(_ARGMAX).argmax(-1).numpy()[:, : len(self.vocab)]
        for name, code in zip(self.symbols, codes):
            words = _numbered(sizes.cardinality) if sizes.factors else self.vocab
            yield Embedding(self.add(Categorical(name, words), code), code)
        yield Positions(self.add(Categorical("positions", _numbered(sizes.n_ctx)), np.arange(sizes.n_ctx)))
        yield Ones(self.add(Numerical("ones", 1), [1]))

    def layer(self, depth: int) -> Iterator[Operator]:
        block = self.model.blocks[depth]
        if block.heads.categorical is not None:
            yield from self.closest(block.heads.categorical, f"head_{depth}")
        if block.heads.numerical is not None:
            yield from self.counting(block.heads.numerical, f"count_{depth}")
        if block.mlps is not None:
            written = list(self.lookups(block.mlps.categorical, f"mlp_{depth}"))
            yield from [*written, *self.lookups(block.mlps.numerical, f"num_mlp_{depth}")]

    def closest(self, heads: CategoricalHeads, prefix: str) -> Iterator[ClosestHead]:
        reads = zip(*(_named(gate, self.symbols) for gate in (heads.gate_q, heads.gate_k, heads.gate_v)))
        made = []
        for i, ((query, key, value), wanted) in enumerate(zip(list(reads), _predicates(heads))):
            out = Categorical(f"{prefix}_{i}", self.known[value].symbols)
            made.append(ClosestHead(out, query, key, value, self.predicate(query, key, wanted)))
        for head in made:  # heads of a layer do not read each other
            self.add(head.out, self.possible[head.value])
        yield from made

    def counting(self, heads: NumericalHeads, prefix: str) -> Iterator[CountingHead]:
        queries, keys = (_named(gate, self.symbols) for gate in (heads.gate_q, heads.gate_k))
        values = _named(heads.gate_v, self.numbers)
        made = []
        for i, (query, key, value, wanted) in enumerate(zip(queries, keys, values, _predicates(heads))):
            out = Numerical(f"{prefix}_{i}", self.known[value].top * self.model.sizes.n_ctx)
            made.append(CountingHead(out, query, key, value, self.predicate(query, key, wanted)))
        for head in made:
            self.add(head.out, np.arange(head.out.top + 1))
        yield from made

    def predicate(self, query: str, key: str, wanted: np.ndarray) -> np.ndarray:
        """A predicate over the values that query and key have."""
        wanted = wanted[: self.known[query].size]
        return np.where(wanted < self.known[key].size, wanted, NOWHERE)

    def lookups(self, mlps: Mlps | None, prefix: str) -> Iterator[Lookup]:
        if mlps is None:
            return
        reads = _named(mlps.gate, self.numbers if mlps.counts else self.symbols)
        made = []
        for i, (first, second) in enumerate(zip(reads[::2], reads[1::2])):
            out = Categorical(f"{prefix}_{i}", _numbered(mlps.cardinality))
            made.append(Lookup(out, first, second, self.table(mlps, i, first, second)))
        for lookup in made:
            self.add(lookup.out, lookup.table[lookup.table != NOWHERE])
        yield from made

    def table(self, mlps: Mlps, which: int, first: str, second: str) -> np.ndarray:
        """What MLP number `which` makes of every pair of values that can occur."""
        shape = self.known[first].size, self.known[second].size
        if shape[0] * shape[1] > _LARGEST:
            raise BadInput(f"a table of {first} and {second} would have {shape[0] * shape[1]:,} entries: counts of "
                           "counts grow by the context's length with every layer. Use fewer layers, or num_mlps=0")
        table = np.full(shape, NOWHERE)
        pairs = np.stack(np.meshgrid(self.possible[first], self.possible[second], indexing="ij"), -1).reshape(-1, 2)
        if first == second:
            pairs = pairs[pairs[:, 0] == pairs[:, 1]]
        for chunk in np.array_split(pairs, -(-len(pairs) // _CHUNK)):
            table[chunk[:, 0], chunk[:, 1]] = _answers(mlps, which, torch.from_numpy(chunk))
        return table

    def readout(self) -> dict[str, np.ndarray]:
        """Score rows of each variable: its columns of the classifier."""
        sizes, weight = self.model.sizes, self.model.unembed.weight.detach().double().numpy().T
        found = {}
        for i, name in enumerate(self.symbols):
            found[name] = weight[i * sizes.cardinality :][: self.known[name].size]
        for i, name in enumerate(self.numbers):
            found[name] = weight[sizes.numbers_at + i : sizes.numbers_at + i + 1]
        return {name: np.ascontiguousarray(rows) for name, rows in found.items()}


def _answers(mlps: Mlps, which: int, pairs: Tensor) -> np.ndarray:
    """The value that one MLP chooses for each pair [pair, 2]. The others, side by side with it, get the same pairs."""
    like = mlps.w_in
    read = pairs.to(like) if mlps.counts else one_hot(pairs, mlps.cardinality).flatten(1).to(like)
    logits = mlps.logits(read.T[None, :, None].expand(mlps.mlps, -1, -1, -1))
    return logits[which, :, 0].argmax(0).numpy()


def _predicates(heads: CategoricalHeads | NumericalHeads) -> np.ndarray:
    """The key value of each query value, [head, query value]."""
    return heads.predicate(_ARGMAX).argmax(-1).numpy()


def _named(gate: Any, names: list[str]) -> list[str]:
    """The variable behind each gate."""
    return [names[i] for i in gate(_ARGMAX).argmax(-1).tolist()]


def _numbered(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(n)))
