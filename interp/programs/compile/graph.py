"""A program as the compiler sees it: variables and the operations that write them, with every function a table.

Tables make equality plain: two operations that read the same and have the same table are one (common
sub-expressions), whoever wrote their functions.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from interp.programs.rasp.nodes import Encoding, Value
from interp.programs.rasp.values import Numbers


@dataclass(frozen=True)
class Variable:
    """What an operation writes. A categorical one has `values`, in order; a numerical one its `numbers` where they
    could be listed, and always its bounds `low` and `high`. `partial`: it may be None (no value) at a position."""

    values: tuple[Value, ...] | None = None
    numbers: Numbers | None = None
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)
    partial: bool = False

    @property
    def encoding(self) -> Encoding:
        return "numerical" if self.values is None else "categorical"

    @property
    def width(self) -> int:
        """Directions of the stream it takes."""
        return 1 if self.values is None else len(self.values)


@dataclass(frozen=True)
class Embed:
    """A variable that the embeddings write."""

    source: Literal["tokens", "indices", "constant"]

    @property
    def reads(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class Lookup:
    """Categorical variables -> a value. table: ((an index of each value), out): out an index or a number."""

    reads: tuple[int, ...]
    table: tuple[tuple[tuple[int, ...], "int | Fraction"], ...]


@dataclass(frozen=True)
class Steps:
    """A numerical variable -> a value. outs: for each of its numbers an index, a number, or None."""

    reads: tuple[int]
    outs: tuple["int | Fraction | None", ...]


@dataclass(frozen=True)
class Sum:
    """constant + sum of factor * numerical variable."""

    reads: tuple[int, ...]
    factors: tuple[Fraction, ...]
    constant: Fraction


@dataclass(frozen=True)
class Times:
    """Numerical variable times the factor of a categorical one's value; reads (categorical, numerical)."""

    reads: tuple[int, int]
    factors: tuple[Fraction, ...]


@dataclass(frozen=True)
class Attend:
    """One attention head. `pairs` are the (query index, key index) that match; a side that is None matches with
    index 0 everywhere.

    mean: the mean of `value`, `default` where nothing matches.   width: 1 / (matches + 1).
    share: the sum of `value` / (matches + 1).   closest: `value` at one position (see rasp.Closest); `first` is the
    key at position 0 and no value elsewhere (None: there is never one), `index` the positions.
    """

    kind: Literal["mean", "width", "share", "closest"]
    queries: int | None
    keys: int | None
    pairs: tuple[tuple[int, int], ...]
    value: int | None = None
    default: "int | Fraction | None" = None
    first: int | None = None
    index: int | None = None

    @property
    def roles(self) -> tuple[tuple[str, int], ...]:
        """(role, variable) of everything it reads: "q", "k", "v"."""
        every = (("q", self.queries), ("q", self.index), ("k", self.keys), ("k", self.first), ("k", self.index),
                 ("v", self.value))
        return tuple(dict.fromkeys((role, read) for role, read in every if read is not None))

    @property
    def reads(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(read for _, read in self.roles))


Op = Embed | Lookup | Steps | Sum | Times | Attend


@dataclass(frozen=True)
class Scores:
    """An additive readout. tables: (variable, rows [value][label], or the one row of a numerical variable)."""

    labels: tuple[Value, ...]
    bias: tuple[float, ...]
    tables: tuple[tuple[int, tuple[tuple[float, ...], ...]], ...]


@dataclass
class Graph:
    """A lowered program. Operations stand behind those they read; `out` is a variable or an additive readout,
    `others` are the outputs of distractors."""

    vocab: tuple[Value, ...]
    length: int
    causal: bool
    variables: list[Variable] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    out: int | Scores = 0
    others: tuple[int, ...] = ()

    @property
    def outputs(self) -> tuple[int, ...]:
        """The variables that the program's output reads."""
        return (self.out,) if isinstance(self.out, int) else tuple(read for read, _ in self.out.tables)

    def below(self, *roots: int) -> set[int]:
        """Every operation that the roots need, themselves included."""
        seen: set[int] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack += self.ops[node].reads
        return seen
