"""The hard cases: what hides a component that matters, or makes one that does not look as if it did.

Every trap takes a program and gives the one to compile, with its distractors and with what the prompts must show.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from interp.programs.compile.suite.bases import Base, random_base
from interp.programs.compile.suite.drawn import Op, draw, width
from interp.programs.compile.suite.prompts import Wanted
from interp.programs.rasp import map, readout, sequence_map
from interp.programs.rasp.nodes import Constant, Indices, SOp, Tokens, walk
from interp.programs.rasp.values import ordered
from interp.results.errors import BadInput

Generator = np.random.Generator
NONE = "none"
LEFT, RIGHT = "left", "right"
"""Labels of the two sides of a gate, by which the prompts are chosen."""


@dataclass(frozen=True)
class Trap:
    """A program set up: `sop` is the output, `distractors` have no part in it, `wanted` restricts the prompts."""

    sop: SOp
    distractors: tuple[SOp, ...] = ()
    wanted: Wanted | None = None


def distractor(base: Base, generator: Generator) -> Trap:
    """Active heads that do not matter: the program alone, all distractors being programs of their own."""
    return Trap(base.sop)


def reader(base: Base, generator: Generator) -> Trap:
    """Heads that read what the program reads: distractors that start from variables inside the program."""
    inside = [node for node in walk(base.sop) if node.encoding == "categorical" and node is not base.sop
              and not isinstance(node, Tokens | Indices | Constant)]
    if not inside:
        raise BadInput(f"{base.name} has nothing inside to read")
    chosen = [inside[i] for i in generator.permutation(len(inside))[:2]]
    ops = [Op(node, ordered(base.sampled(node))) for node in chosen]
    if any(len(op.values) < 2 for op in ops):
        raise BadInput(f"a variable inside {base.name} has one value")
    return Trap(base.sop, tuple(width(generator, op, other, base.at.length).sop
                                for op, other in zip(ops, (ops[-1], base.at.tokens))))


def cancel(base: Base, generator: Generator) -> Trap:
    """A pair whose writes cancel: two routes to one variable, which the output adds and takes away again."""
    op, other = base.op, random_base(generator, base.at, base.causal)
    made = other.op
    rows = generator.choice((-1.0, -0.5, 0.5, 1.0), size=(len(made.values), len(op.values)))
    twin = _renamed(other)
    return Trap(readout({op.sop: _one_hot(op), made.sop: dict(zip(made.values, rows)),
                         twin: dict(zip(made.values, -rows))}, op.values))


def duplicate(base: Base, generator: Generator) -> Trap:
    """Two routes to the answer, each of which gives half of it."""
    op = base.op
    half = {value: [x / 2 for x in row] for value, row in _one_hot(op).items()}
    return Trap(readout({op.sop: half, _renamed(base): half}, op.values))


def backup(base: Base, generator: Generator) -> Trap:
    """Two routes to the answer, of which the second is asked where the first is silent.

    Clean sequences have an answer and corrupt ones none, so that whatever one route loses the other still gives.
    """
    op = base.op
    silent = frozenset(op.values[i] for i in generator.permutation(len(op.values))[: max(1, len(op.values) // 2)])
    first, second = (
        map(lambda v: NONE if v in silent else str(v), sop).named(label)
        for sop, label in ((op.sop, LEFT), (_renamed(base), RIGHT))
    )
    chosen = sequence_map(lambda a, b: b if a == NONE else a, first, second).named("first_or_second")
    names = ordered([*(str(v) for v in op.values if v not in silent), NONE])
    none = names.index(NONE)
    return Trap(chosen, wanted=lambda clean, corrupt: (clean[LEFT] != none) & (corrupt[LEFT] == none))


def both(base: Base, generator: Generator) -> Trap:
    """AND, on against off on both sides: restoring one side alone brings nothing back."""
    left, right = _sides(base, generator)
    return Trap((left & right).named("and"), wanted=_flipped)


def either(base: Base, generator: Generator) -> Trap:
    """OR, on against off on both sides: removing one side alone changes nothing."""
    left, right = _sides(base, generator)
    return Trap((left | right).named("or"), wanted=_flipped)


def different(base: Base, generator: Generator) -> Trap:
    """XOR: what one side does has the sign that the other says."""
    left, right = _sides(base, generator)
    return Trap(sequence_map(lambda a, b: bool(a) != bool(b), left, right).named("xor"))


TRAPS: dict[str, Callable[[Base, Generator], Trap]] = {
    "distractor": distractor, "reader": reader, "cancel": cancel, "duplicate": duplicate, "backup": backup,
    "and": both, "or": either, "xor": different,
}
TWINS = ("duplicate", "backup")
"""Traps that need a second route to the program."""


def idle_programs(base: Base, generator: Generator, n: int) -> tuple[SOp, ...]:
    """`n` random programs over the tokens of `base`."""
    return tuple(draw(generator, base.at, int(generator.integers(1, 4))).sop for _ in range(n))


def _sides(base: Base, generator: Generator) -> tuple[SOp, SOp]:
    other = random_base(generator, base.at, base.causal)
    return base.flag(LEFT), other.flag(RIGHT)


def _flipped(clean: dict[str, np.ndarray], corrupt: dict[str, np.ndarray]) -> np.ndarray:
    on = (clean[LEFT] == 1) & (clean[RIGHT] == 1)
    return on & (corrupt[LEFT] == 0) & (corrupt[RIGHT] == 0)


def _one_hot(op: Op) -> dict:
    return dict(zip(op.values, np.eye(len(op.values)).tolist()))


def _renamed(base: Base) -> SOp:
    """The twin of a program with the values of the program itself where its own are copies of them."""
    return map(lambda v: v[1] if isinstance(v, tuple) else v, base.twin()).named("twin")
