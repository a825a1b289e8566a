"""A Transformer Program as data: named variables, operators that read some and write one, an additive readout.

This is what a trained model becomes (`discretise`), what is saved, run, pruned, printed as Python and compiled back
into weights. Friedman, Wettig & Chen 2023, Learning Transformer Programs, arXiv 2306.01128, section 3.

Every value is a whole number: of a categorical variable the index of a symbol, of a numerical one the number itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.results.errors import BadInput, nearest

if TYPE_CHECKING:
    from networkx import DiGraph

NOWHERE = -1  # in a predicate: matches no key; in a table: a pair of values that cannot occur


@dataclass(frozen=True)
class Categorical:
    """A variable with one of `symbols` at every position."""

    name: str
    symbols: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of values; they are 0 to size - 1."""
        return len(self.symbols)


@dataclass(frozen=True)
class Numerical:
    """A variable with a whole number from 0 to `top` at every position; `top` is proven, not observed."""

    name: str
    top: int

    @property
    def size(self) -> int:
        """Number of values; they are 0 to size - 1."""
        return self.top + 1


Variable = Categorical | Numerical


@dataclass(frozen=True, eq=False)
class Embedding:
    """Input: the value of every word of the vocabulary, codes [vocab]. `tokens` itself has codes 0, 1, 2 ..."""

    out: Categorical
    codes: np.ndarray
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Positions:
    """Input: the index of the position."""

    out: Categorical
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Ones:
    """Input: the number 1 everywhere, so that a counting head can count."""

    out: Numerical
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Head:
    """Attention: of the positions whose `key` is `predicate[query]`, something is done with `value`.

    predicate [size of query]: an index of `key`, or NOWHERE.
    """

    out: Variable
    query: str
    key: str
    value: str
    predicate: np.ndarray

    @property
    def reads(self) -> tuple[str, ...]:
        return self.query, self.key, self.value


class ClosestHead(Head):
    """Categorical attention: copies `value` from the closest position that matches.

    Closest: any other position before the query's own; of two as near the left one; position 0 where nothing
    matches. Causal programs look left only.
    """

    out: Categorical


class CountingHead(Head):
    """Numerical attention: the sum of `value` over all positions that match; 0 without any."""

    out: Numerical


@dataclass(frozen=True, eq=False)
class Lookup:
    """MLP: table [size of first, size of second] -> an index of `out`, NOWHERE where the pair cannot occur."""

    out: Categorical
    first: str
    second: str
    table: np.ndarray

    @property
    def reads(self) -> tuple[str, ...]:
        return self.first, self.second


Input = Embedding | Positions | Ones
Operator = Head | Lookup


@dataclass(frozen=True, eq=False)
class Program:
    """A whole program. `layers` holds the operators of every layer: heads first, then lookups, which may read them.

    `readout` has a score row [size, label] for every value of a categorical variable and one [1, label], times the
    value, for a numerical one. The label of largest sum is the answer, the first of equals; labels in `never` are left
    out. `pooled` programs give one answer a sequence, from mean scores.
    Raises BadInput where a name is read before it is written, or a table does not fit its variables.
    """

    name: str
    vocab: tuple[str, ...]
    labels: tuple[str, ...]
    n_ctx: int
    inputs: tuple[Input, ...]
    layers: tuple[tuple[Operator, ...], ...]
    readout: Mapping[str, np.ndarray]
    bias: np.ndarray
    causal: bool = False
    pooled: bool = False
    never: tuple[str, ...] = ()
    begin: str | None = None
    end: str | None = None
    unknown: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from interp.programs.program_check import check

        check(self)

    @property
    def operators(self) -> Iterator[Operator]:
        """All operators in the order they can run in."""
        return (operator for layer in self.layers for operator in layer)

    @property
    def steps(self) -> tuple[Input | Operator, ...]:
        """Inputs, then operators."""
        return (*self.inputs, *self.operators)

    @property
    def variables(self) -> dict[str, Variable]:
        """Every variable by name, in the order of writing."""
        return {step.out.name: step.out for step in self.steps}

    def writer(self, name: str) -> Input | Operator:
        """The input or operator that writes variable `name`. Raises BadInput, naming the nearest."""
        found = {step.out.name: step for step in self.steps}
        if name not in found:
            raise BadInput(f"the program has no variable {name!r}.{nearest(name, found)} It has: {', '.join(found)}")
        return found[name]

    def run(self, tokens: list[str]) -> list[str]:
        """The answers to one sequence, one a token (one in all for a pooled program).

        `begin` and `end` are added around `tokens` and taken off the answers where the program has them.
        Raises BadInput for a word outside the vocabulary (where there is no `unknown`) and a sequence too long.
        """
        from interp.programs.evaluate import run

        return run(self, tokens)

    def predict(self, ids: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Index of the answer: [batch, pos] ([batch] where pooled) from ids [batch, pos], begin and end included."""
        from interp.programs.evaluate import predict

        return predict(self, ids, mask)

    def to_python(self) -> str:
        """The program as one readable Python file that needs nothing but the standard library."""
        from interp.programs.python import to_python

        return to_python(self)

    def to_graph(self) -> "DiGraph":
        """Its variables as nodes of a networkx graph, what each reads as edges with their role."""
        from interp.programs.graph import to_graph

        return to_graph(self)

    def to_rasp(self) -> Any:
        """The program as an expression that `interp.programs.compile` turns into weights."""
        from interp.programs.to_rasp import to_rasp

        return to_rasp(self)

    def prune(self, *, framed: bool = False) -> "Program":
        """The program without what cannot change an answer; see `interp.programs.prune`."""
        from interp.programs.prune import prune

        return prune(self, framed=framed)

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, wholly or not at all. Returns the path."""
        from interp.programs.program_file import save_program

        return save_program(self, path)

    @staticmethod
    def load(path: str | Path) -> "Program":
        """The program in a file. Raises BadFile, with the reason, for one that is damaged, foreign or cannot run."""
        from interp.programs.program_file import load_program

        return load_program(path)
