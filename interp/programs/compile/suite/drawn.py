"""Random RASP programs: every construct a table drawn from one generator, over tokens and indices or copies of them.

A table is drawn by the order of the values, not by the values, so that one state of the generator gives the same
program over `copied` leaves: another route to the same answer, which the compiler does not merge with the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from interp.programs.rasp import aggregate, map, numerical, select, select_closest, selector_width, sequence_map
from interp.programs.rasp.nodes import Selector, SOp, Value, indices, tokens

STEPS = ("width", "move", "share", "closest", "table")
SHIFTS = (-2, -1, 1, 2)


@dataclass(frozen=True)
class Op:
    """A categorical operator with all values that it may take, in order."""

    sop: SOp
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Leaves:
    """What a program reads: the tokens and the indices, as they are or copied."""

    tokens: Op
    indices: Op

    @property
    def length(self) -> int:
        return len(self.indices.values)


def leaves(vocab: Sequence[Value], length: int) -> Leaves:
    """The tokens and indices themselves."""
    return Leaves(Op(tokens, tuple(vocab)), Op(indices, tuple(range(length))))


def copied(of: Leaves) -> Leaves:
    """The same through tables of their own: the copy of "a" is ("copy", "a")."""
    return Leaves(*(
        Op(map(lambda v: ("copy", v), op.sop).named(f"copy({op.sop})"), tuple(("copy", v) for v in op.values))
        for op in (of.tokens, of.indices)
    ))


def draw(generator: np.random.Generator, of: Leaves, size: int) -> Op:
    """A program of `size` random steps, and of as many tables more as it takes to read all of them."""
    pool, unread = [of.tokens, of.indices], []
    for _ in range(size):
        made, read = _step(generator, pool, unread, of)
        unread = [op for op in unread if not any(op is r for r in read)] + [made]
        pool.append(made)
    while len(unread) > 1:
        joined = table(generator, unread[0], unread[1])
        unread = [joined, *unread[2:]]
    return unread[0]


def _step(generator: np.random.Generator, pool: list[Op], unread: list[Op], of: Leaves) -> tuple[Op, tuple[Op, ...]]:
    def some() -> Op:  # what nobody has read yet, more often than not
        options = unread if unread and generator.random() < 0.6 else pool
        return options[generator.integers(len(options))]

    kind = STEPS[generator.integers(len(STEPS))]
    a, b = some(), some()
    if kind == "width":
        return width(generator, a, b, of.length), (a, b)
    if kind == "move":
        return move(a, of, int(generator.choice(SHIFTS))), (a,)
    if kind == "share":
        return share(generator, a, b), (a, b)
    if kind == "closest":
        chosen = select_closest(a.sop, b.sop, _predicate(generator, a, b).predicate)
        return Op(aggregate(chosen, a.sop), a.values), (a, b)
    if a is b:
        b = of.indices if a is of.tokens else of.tokens
    return table(generator, a, b), (a, b)


def width(generator: np.random.Generator, keys: Op, queries: Op, length: int) -> Op:
    """How many keys a random predicate selects."""
    return Op(selector_width(_predicate(generator, keys, queries)), tuple(range(length + 1)))


def move(op: Op, of: Leaves, by: int) -> Op:
    """The operator `by` positions before, its first value where there is none."""
    places = {value: i for i, value in enumerate(of.indices.values)}
    there = select(of.indices.sop, of.indices.sop, lambda k, q: places[k] == places[q] - by)
    return Op(aggregate(there, op.sop, op.values[0]).named(f"move_{by}({op.sop})"), op.values)


def share(generator: np.random.Generator, keys: Op, queries: Op) -> Op:
    """Whether more than a share of what is selected has one of some values."""
    chosen, flag = _predicate(generator, keys, queries), member(generator, keys)
    least = Fraction(*((0, 1), (1, 3), (1, 2))[generator.integers(3)])
    mean = aggregate(chosen, numerical(map(int, flag.sop)))
    return Op(map(lambda x: int(x > least), mean), (0, 1))


def member(generator: np.random.Generator, op: Op) -> Op:
    """Whether the operator has one of some of its values (some, not all)."""
    size = int(generator.integers(1, max(2, len(op.values))))
    chosen = frozenset(op.values[i] for i in generator.permutation(len(op.values))[:size])
    return Op(map(lambda v: v in chosen, op.sop).named(f"member({op.sop})"), (False, True))


def table(generator: np.random.Generator, a: Op, b: Op) -> Op:
    """A random function of two operators that depends on both."""
    outs = int(generator.integers(2, 4))
    cells = _mixed(generator, (len(a.values), len(b.values)), outs)
    rows, columns = ({value: i for i, value in enumerate(op.values)} for op in (a, b))
    return Op(sequence_map(lambda x, y: int(cells[rows[x], columns[y]]), a.sop, b.sop), tuple(range(outs)))


def _predicate(generator: np.random.Generator, keys: Op, queries: Op) -> Selector:
    """A random selector that depends on both of its sides."""
    cells = _mixed(generator, (len(keys.values), len(queries.values)), 2)
    rows, columns = ({value: i for i, value in enumerate(op.values)} for op in (keys, queries))
    return select(keys.sop, queries.sop, lambda k, q: k in rows and q in columns and bool(cells[rows[k], columns[q]]))


def _mixed(generator: np.random.Generator, shape: tuple[int, int], outs: int) -> np.ndarray:
    """Random cells of 0 to outs - 1, in which no axis of two values or more is without effect."""
    while True:
        cells = generator.integers(outs, size=shape)
        if all(size == 1 or (cells != np.take(cells, [0], axis)).any() for axis, size in enumerate(shape)):
            return cells
