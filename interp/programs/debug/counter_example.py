"""An input on which a stated property of a `Program` fails: by trying all, or by a search that says it is one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from interp.programs.debug.coverage import uses
from interp.programs.evaluate import values
from interp.programs.inputs import Tokens, alphabet, every, how_many, longest, run_many, same_length
from interp.programs.program import Program

Property = Callable[[list[str], list[str]], bool]
"""(tokens, answers) -> whether all is well."""
_BATCH = 256


@dataclass(frozen=True)
class Search:
    """The outcome: `found` tokens and their `answers`, or None.

    exhaustive: all sequences of up to `length` tokens were tried, so that None is a proof. shortest: the one found is
    proved to be of the least length. Otherwise it was shrunk until no token could be left out, and none, nor all equal
    ones at once, replaced by an earlier one of the vocabulary.
    """

    found: list[str] | None
    answers: list[str] | None
    tried: int
    length: int
    exhaustive: bool
    shortest: bool


def counter_example(
    program: Program, holds: Property, *, length: int | None = None, most: int = 100_000, seed: int = 0
) -> Search:
    """Search at most `most` sequences of up to `length` tokens (default: all that fit) for one where `holds` fails.

    Short sequences are tried first, all of them as far as half of `most` reaches. The rest goes to random ones and
    changed copies of those that used a row of the program, or a pair of values, that none had used before.
    """
    length = longest(program) if length is None else length
    total = how_many(program, length)
    full = max((n for n in range(1, length + 1) if how_many(program, n) <= (most if total <= most else most // 2)),
               default=0)
    tried = 0
    if full:
        for batch in _batches(every(program, full)):
            tried += len(batch)
            if (bad := _first_bad(program, holds, batch)) is not None:
                return Search(*bad, tried, length, exhaustive=False, shortest=True)
    if full == length:
        return Search(None, None, tried, length, exhaustive=True, shortest=False)
    search = _Guided(program, length, seed)
    while tried < most:
        batch = search.batch(min(_BATCH, most - tried))
        tried += len(batch)
        if (bad := _first_bad(program, holds, batch)) is not None:
            small, extra = _shrunk(program, holds, bad)
            return Search(*small, tried + extra, length, exhaustive=False, shortest=len(small[0]) == full + 1)
        search.learn(batch)
    return Search(None, None, tried, length, exhaustive=False, shortest=False)


def _batches(sequences: Iterator[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    size = 16  # grows, so that an early find is cheap
    while batch := list(islice(sequences, size)):
        yield batch
        size = min(4096, size * 2)


def _first_bad(program: Program, holds: Property, batch: Sequence[Tokens]) -> tuple[list[str], list[str]] | None:
    for tokens, answers in zip(batch, run_many(program, batch), strict=True):
        if not holds(list(tokens), list(answers)):
            return list(tokens), answers
    return None


def _shrunk(program: Program, holds: Property, bad: tuple[list[str], list[str]]):
    """A smaller violation, and how many sequences that took."""
    words, tried, before = alphabet(program), 0, None
    while bad != before:
        before = bad
        tokens = bad[0]
        shorter = [tokens[:i] + tokens[i + 1 :] for i in range(len(tokens))] if len(tokens) > 1 else []
        earlier = {token: words[: words.index(token)] if token in words else words for token in tokens}
        everywhere = [[new if t == old else t for t in tokens] for old in earlier for new in earlier[old]]
        once = [[*tokens[:i], new, *tokens[i + 1 :]] for i, old in enumerate(tokens) for new in earlier[old]]
        for batch in (shorter, everywhere, once):
            tried += len(batch)
            if batch and (smaller := _first_bad(program, holds, batch)) is not None:
                bad = smaller
                break
    return bad, tried


class _Guided:
    """Random sequences, and changed copies of those that did something new: fuzzing led by coverage."""

    def __init__(self, program: Program, length: int, seed: int) -> None:
        self.program, self.length = program, length
        self.words = alphabet(program)
        self.random = np.random.default_rng(seed)
        self.pool: list[list[str]] = []
        self.seen: set[tuple[str, str, int]] = set()

    def batch(self, n: int) -> list[list[str]]:
        """The next sequences to try."""
        return [self._changed() if self.pool and self.random.random() < 0.7 else self._fresh() for _ in range(n)]

    def learn(self, batch: list[list[str]]) -> None:
        """Keep the sequences that used a branch none had used."""
        for places, ids in same_length(self.program, batch):
            for (name, part), branch in uses(self.program, values(self.program, ids)).items():
                # the count of positions on a branch is part of what is new: programs count
                for row, held in zip(places, branch):
                    new = {(name, part, (int(i), int(c))) for i, c in zip(*np.unique(held, return_counts=True))}
                    if not new <= self.seen:
                        self.seen |= new
                        self.pool.append(batch[row])

    def _word(self) -> str:
        return self.words[self.random.integers(len(self.words))]

    def _fresh(self) -> list[str]:
        return [self._word() for _ in range(self.random.integers(1, self.length + 1))]

    def _changed(self) -> list[str]:
        tokens = list(self.pool[self.random.integers(len(self.pool))])
        for _ in range(self.random.integers(1, 4)):
            place = int(self.random.integers(len(tokens)))
            kind = self.random.integers(4)
            if kind == 0 and len(tokens) < self.length:
                tokens.insert(place, self._word())
            elif kind == 1 and len(tokens) > 1:
                del tokens[place]
            elif kind == 2:
                tokens[place] = tokens[self.random.integers(len(tokens))]
            else:
                tokens[place] = self._word()
        return tokens
