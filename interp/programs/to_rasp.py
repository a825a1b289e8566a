"""A `Program` as a RASP expression, which `interp.programs.compile` turns into weights again."""

from typing import Any

import numpy as np

from interp.programs.program import (
    NOWHERE,
    Categorical,
    ClosestHead,
    Embedding,
    Head,
    Lookup,
    Operator,
    Positions,
    Program,
)
from interp.programs.python_text import is_whole
from interp.programs.rasp import (
    SOp,
    aggregate,
    aggregate_sum,
    categorical,
    constant,
    indices,
    numerical,
    readout,
    select,
    select_all,
    select_closest,
    sequence_map,
    tokens,
)
from interp.programs.rasp import map as rasp_map
from interp.programs.rounding import grain


def to_rasp(program: Program) -> SOp:
    """The answer at every position as an expression over `tokens` and `indices`.

    Its input is the framed sequence, `begin` and `end` among its tokens, of length 1 to n_ctx: compile it with
    vocab=program.vocab, length=program.n_ctx, causal=program.causal. Labels in `never` are no answers of it; a pair
    that a table marks as impossible has no value (None). A pooled program has its answer at the last position.
    """
    return _Rasp(program).answer()


class _Rasp:
    """Operators by variable, with the Python value of each of a variable's symbols."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.made: dict[str, SOp] = {}
        self.held: dict[str, tuple[Any, ...]] = {}

    def answer(self) -> SOp:
        p = self.program
        for step in p.steps:
            name = step.out.name
            if isinstance(step, Embedding):
                node, held = self._embedding(step)
            elif isinstance(step, Positions):
                node, held = indices, tuple(range(step.out.size))
            elif isinstance(step, Head | Lookup):
                node, held = self._operator(step)
            else:
                node, held = numerical(constant(1)), tuple(range(step.out.size))
            self.made[name] = node if isinstance(step, Positions) or node is tokens else node.named(name)
            self.held[name] = held
        kept = [i for i, label in enumerate(p.labels) if label not in p.never]
        tables: dict[SOp, Any] = {}
        for name in p.readout:
            tables |= self._sums(name, kept) if p.pooled else self._table(name, kept)
        bias = p.bias[kept]
        if p.pooled:  # of sums in place of means, which have the same order: once a position
            tables[aggregate_sum(select_all(), numerical(constant(1)))] = bias.tolist()
            bias = np.zeros(len(kept))
        if step := grain(p):
            # a model adds with small errors: less than a step apart, so that the first of equals wins and no other
            bias = bias - step * np.arange(len(kept)) / (2 * len(kept))
        return readout(tables, [p.labels[i] for i in kept], bias.tolist()).named(p.name)

    def _embedding(self, step: Embedding) -> tuple[SOp, tuple[Any, ...]]:
        vocab, codes = self.program.vocab, step.codes.tolist()
        if step.out.symbols == vocab and codes == list(range(len(vocab))):
            return tokens, vocab
        held = _values(step.out)
        classes = {word: held[code] for word, code in zip(vocab, codes, strict=True)}
        return rasp_map(classes.__getitem__, tokens), held

    def _operator(self, step: Operator) -> tuple[SOp, tuple[Any, ...]]:
        if isinstance(step, Lookup):
            return self._lookup(step), _values(step.out)
        keys, queries = self.made[step.key], self.made[step.query]
        wanted = {
            query: self.held[step.key][key]
            for query, key in zip(self.held[step.query], step.predicate.tolist()) if key != NOWHERE
        }

        def matches(key: Any, query: Any) -> bool:
            return query in wanted and wanted[query] == key

        if isinstance(step, ClosestHead):
            return aggregate(select_closest(keys, queries, matches), self.made[step.value]), self.held[step.value]
        selector = select(keys, queries, matches)
        return aggregate_sum(selector, self.made[step.value]), tuple(range(step.out.size))

    def _lookup(self, step: Lookup) -> SOp:
        table, out = step.table.tolist(), (*_values(step.out), None)
        places = [{value: i for i, value in enumerate(self.held[read])} for read in step.reads]
        reads = [categorical(self.made[read]) for read in step.reads]
        if step.first == step.second:
            return rasp_map(lambda one: out[table[places[0][one]][places[0][one]]], reads[0])
        return sequence_map(lambda one, two: out[table[places[0][one]][places[1][two]]], *reads)

    def _table(self, name: str, kept: list[int]) -> dict[SOp, Any]:
        rows = self.program.readout[name][:, kept].tolist()
        if isinstance(self.program.variables[name], Categorical):
            return {self.made[name]: dict(zip(self.held[name], rows, strict=True))}
        return {self.made[name]: rows[0]}

    def _sums(self, name: str, kept: list[int]) -> dict[SOp, Any]:
        """A pooled program's scores: each row times the number of positions that have its value."""
        rows, node = self.program.readout[name][:, kept].tolist(), self.made[name]
        if not isinstance(self.program.variables[name], Categorical):
            return {aggregate_sum(select_all(), node): rows[0]}
        flags = [rasp_map(lambda x, value=value: int(x == value), node, "numerical") for value in self.held[name]]
        return {aggregate_sum(select_all(), flag): row for flag, row in zip(flags, rows, strict=True)}


def _values(variable: Categorical) -> tuple[Any, ...]:
    return tuple(map(int, variable.symbols)) if is_whole(variable) else variable.symbols
