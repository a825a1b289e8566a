"""Sequences to ask a `Program` about: all there are up to a length, and answers to many of mixed lengths."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from interp.programs.evaluate import encode, predict
from interp.programs.program import Program
from interp.results.errors import BadInput

Tokens = Sequence[str]
"""Words without `begin` and `end`, as `Program.run` takes them."""


def alphabet(program: Program) -> tuple[str, ...]:
    """The words of the vocabulary that may stand in a sequence: all but `begin` and `end`."""
    return tuple(word for word in program.vocab if word not in (program.begin, program.end))


def longest(program: Program) -> int:
    """How many tokens `Program.run` takes at most."""
    return program.n_ctx - (program.begin is not None) - (program.end is not None)


def how_many(program: Program, length: int | None = None) -> int:
    """Number of sequences of 1 to `length` tokens (default: the longest there are)."""
    symbols = len(alphabet(program))
    return sum(symbols**n for n in range(1, _length(program, length) + 1))


def every(program: Program, length: int | None = None) -> Iterator[tuple[str, ...]]:
    """All sequences of 1 to `length` tokens, short ones first."""
    for n in range(1, _length(program, length) + 1):
        yield from product(alphabet(program), repeat=n)


def draw(program: Program, n: int, seed: int, length: int | None = None) -> list[tuple[str, ...]]:
    """`n` random sequences: a length of 1 to `length`, then tokens, all equally likely. Repeats can occur."""
    random = np.random.default_rng(seed)
    words = np.array(alphabet(program), dtype=object)
    sizes = random.integers(1, _length(program, length) + 1, size=n)
    return [tuple(words[random.integers(len(words), size=size)]) for size in sizes]


def same_length(program: Program, sequences: Sequence[Tokens]) -> Iterator[tuple[list[int], np.ndarray]]:
    """Groups of equal length: (places in `sequences`, ids [group, pos] with begin and end), so no padding is needed."""
    groups: dict[int, list[int]] = defaultdict(list)
    encoded = [encode(program, list(sequence)) for sequence in sequences]
    for place, ids in enumerate(encoded):
        groups[len(ids)].append(place)
    for places in groups.values():
        for start in range(0, len(places), 4096):
            chunk = places[start : start + 4096]
            yield chunk, np.stack([encoded[place] for place in chunk])


def run_many(program: Program, sequences: Sequence[Tokens]) -> list[list[str]]:
    """`program.run` of every sequence, many at once. Raises BadInput as it does."""
    found: list[list[str]] = [[] for _ in sequences]
    for places, ids in same_length(program, sequences):
        labels = predict(program, ids)
        if program.pooled:
            labels = labels[:, None]
        else:
            labels = labels[:, (program.begin is not None) : ids.shape[1] - (program.end is not None)]
        for place, row in zip(places, labels, strict=True):
            found[place] = [program.labels[label] for label in row]
    return found


def _length(program: Program, length: int | None) -> int:
    most = longest(program)
    if length is not None and not 1 <= length <= most:
        raise BadInput(f"sequences of up to {length} tokens were asked for; {program.name} takes 1 to {most}")
    return most if length is None else length
