"""Inputs to check a program on: all of them where they are few, else the extreme ones and random ones."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from interp.programs.rasp.nodes import Value

MOST = 20_000
"""Up to so many sequences are all tried."""
Row = tuple[Value, ...]


def count(vocab: Sequence[Value], length: int) -> int:
    """Number of sequences of 1 to `length` tokens."""
    return sum(len(vocab) ** n for n in range(1, length + 1))


def every(vocab: Sequence[Value], length: int) -> Iterator[Row]:
    """All sequences of 1 to `length` tokens."""
    for n in range(1, length + 1):
        yield from product(vocab, repeat=n)


def extremes(vocab: Sequence[Value], length: int) -> Iterator[Row]:
    """Sequences of exactly `length`: all tokens the same, and all but one (first, middle, last) the same."""
    for token in vocab:
        yield (token,) * length
        for at in sorted({0, length // 2, length - 1}):
            for other in vocab[:3]:
                if other != token:
                    yield (token,) * at + (other,) + (token,) * (length - at - 1)


def drawn(vocab: Sequence[Value], length: int, n: int, seed: int, shortest: int = 1) -> list[Row]:
    """`n` random sequences: a length uniform from `shortest` to `length`, then uniform tokens."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(shortest, length + 1, n)
    return [tuple(vocab[i] for i in generator.integers(0, len(vocab), size)) for size in lengths]


def some(vocab: Sequence[Value], length: int, n: int | None, seed: int) -> list[Row]:
    """All sequences where n is None and they are at most `MOST`; else the extremes of every length and `n` (2,000)
    random ones."""
    if n is None and count(vocab, length) <= MOST:
        return list(every(vocab, length))
    ends = [row for size in range(1, length + 1) for row in extremes(vocab, size)]
    few = ends if len(ends) <= MOST else ends[-MOST:]
    return list(dict.fromkeys([*few, *drawn(vocab, length, 2_000 if n is None else n, seed)]))
