"""What the suite's programs are made of: programs of the library, and random ones, with the values they take."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from interp.programs.compile.inputs import drawn as drawn_rows
from interp.programs.compile.suite.drawn import Leaves, Op, copied, draw, leaves
from interp.programs.rasp import evaluate, map, program
from interp.programs.rasp.library import LIBRARY
from interp.programs.rasp.nodes import SOp, Value
from interp.programs.rasp.values import ordered
from interp.results.errors import BadInput

SAMPLE = 60
"""Sequences on which the values of a library program are looked up."""
COPIED = ("hist", "reverse", "shift")
"""Programs of the library that can be built a second time over copied tokens."""


@dataclass(frozen=True)
class Base:
    """A program, and how to build it over other leaves: the same function by another route.

    `op` where its values are listed, which those of a numerical program are not.
    """

    name: str
    kind: str
    sop: SOp
    at: Leaves
    causal: bool
    again: Callable[[Leaves], SOp] | None = None

    def sampled(self, sop: SOp | None = None) -> list[Value]:
        """What the program, or an operator of it, is at every position of some random sequences; None left out."""
        rows = drawn_rows(self.at.tokens.values, self.at.length, SAMPLE, 0)
        found = [value for row in rows for value in evaluate(self.sop if sop is None else sop, row, self.causal)]
        return [value for value in found if value is not None]

    @property
    def op(self) -> Op:
        """The program with its values. Raises: BadInput for a numerical one, or one that has a single value."""
        values = ordered(self.sampled())
        if self.sop.encoding == "numerical" or len(values) < 2:
            raise BadInput(f"{self.name} has no list of different values")
        return Op(self.sop, values)

    def twin(self) -> SOp:
        """The same answers, computed from copies of tokens and indices. Raises: BadInput where it has no twin."""
        if self.again is None:
            raise BadInput(f"{self.name} cannot be built over copied tokens")
        return self.again(copied(self.at))

    def flag(self, label: str) -> SOp:
        """Whether the program has one of about half of what it takes, or more than about half have.

        Raises: BadInput where it has one value.
        """
        found = self.sampled()
        values = ordered(found)
        if len(values) < 2:
            raise BadInput(f"{self.name} has one value")
        shares = np.cumsum([found.count(value) for value in values]) / len(found)
        cut = min(int(np.abs(shares - 0.5).argmin()), len(values) - 2)
        if self.sop.encoding == "numerical":
            return map(lambda x, least=values[cut]: x > least, self.sop).named(label)
        chosen = frozenset(values[: cut + 1])
        return map(lambda v: v in chosen, self.sop).named(label)


def library_base(generator: np.random.Generator, names: tuple[str, ...] = tuple(LIBRARY)) -> Base:
    """A program of the library with parameters drawn at random, on its own vocabulary."""
    name = names[generator.integers(len(names))]
    vocab = LIBRARY[name].vocab
    length = 4 if name.startswith("sort") or name == "shuffle_dyck" else int(generator.integers(4, 6))
    one, two = (vocab[i] for i in generator.permutation(len(vocab))[:2])
    parameters = {
        "count": {"token": one}, "frac_prevs": {"token": one}, "detect": {"pattern": (one, two)},
        "shift": {"by": int(generator.integers(1, 3))}, "count_less_freq": {"n": int(generator.integers(1, 3))},
    }.get(name, {})
    at = leaves(vocab, length)
    again = (lambda of: program(name, of=of.tokens.sop, **parameters)) if name in COPIED else None
    shown = ", ".join(f"{key}={value}" for key, value in parameters.items())
    return Base(f"{name}({shown})" if shown else name, "library", program(name, **parameters), at,
                name == "induction", again)


def random_base(generator: np.random.Generator, at: Leaves | None = None, causal: bool | None = None) -> Base:
    """A random program of two or three steps, on leaves of its own unless they are given."""
    if at is None:
        at = leaves("abcd"[: int(generator.integers(3, 5))], int(generator.integers(4, 6)))
    causal = bool(generator.random() < 0.25) if causal is None else causal
    seed, size = int(generator.integers(1 << 31)), int(generator.integers(2, 4))

    def again(of: Leaves) -> SOp:
        return draw(np.random.default_rng(seed), of, size).sop

    return Base(f"random {seed}", "random", again(at), at, causal, again)
