"""Why a `Program` gave one answer: what each variable adds to the margin, and the rows that made its value."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from interp.programs.debug.coverage import shown
from interp.programs.evaluate import answers, closeness, closest, encode, matches, scores, values
from interp.programs.inputs import Tokens
from interp.programs.program import NOWHERE, CountingHead, Embedding, Head, Input, Lookup, Ones, Operator, Program
from interp.results.errors import BadInput


@dataclass(frozen=True)
class Trace:
    """A variable's value at a position (of the framed sequence), the row that made it, and what that row read."""

    variable: str
    pos: int
    value: str
    because: str
    reads: tuple["Trace", ...] = ()

    def lines(self, told: set[tuple[str, int]], depth: int = 0) -> Iterator[str]:
        """The trace as text, what was read indented below; what is in `told` is not told again."""
        known = (self.variable, self.pos) in told
        told.add((self.variable, self.pos))
        again = "as above" if known and self.reads else self.because
        yield f"{'  ' * depth}{self.variable}[{self.pos}] = {self.value}: {again}"
        for read in () if known else self.reads:
            yield from read.lines(told, depth + 1)


@dataclass(frozen=True)
class Explanation:
    """Answer against runner-up: `margin` is the difference of their scores, the sum of `bias` and all `parts`.

    parts: (what the variable adds to the margin, how it got its value), largest first; negative ones speak for the
    runner-up. In pooled programs they are means over positions, traced at the position that adds most.
    """

    answer: str
    runner_up: str
    margin: float
    bias: float
    parts: tuple[tuple[float, Trace], ...]

    def __str__(self) -> str:
        lines = [f"{self.answer!r} rather than {self.runner_up!r}, by {self.margin:.6g}", f"{self.bias:+.6g}  bias"]
        told: set[tuple[str, int]] = set()
        for added, trace in self.parts:
            if added:
                first, *rest = trace.lines(told)
                lines += [f"{added:+.6g}  {first}", *(f"        {line}" for line in rest)]
        if nothing := [trace.variable for added, trace in self.parts if not added]:
            lines.append(f"+0  {', '.join(nothing)}")
        return "\n".join(lines)


def explain(program: Program, tokens: Tokens, pos: int | None = None) -> Explanation:
    """Why `program.run(tokens)` has its answer at `pos` (0 is the first of `tokens`; None for pooled programs).

    Raises BadInput for a position that is not there, and for programs with a single possible answer.
    """
    ids = encode(program, list(tokens))[None]
    found = values(program, ids)
    here = _place(program, len(tokens), pos)
    total = scores(program, found)
    best = int(np.ravel(answers(program, total, np.ones(ids.shape, dtype=bool)))[0 if here is None else here])
    sums = total[0].mean(0) if here is None else total[0, here]
    others = [i for i, label in enumerate(program.labels) if i != best and label not in program.never]
    if not others:
        raise BadInput(f"{program.name} can answer nothing but {program.labels[best]!r}")
    second = max(others, key=lambda label: sums[label])
    tracer = _Tracer(program, found)
    parts = []
    for name in program.readout:
        added = scores(program, found, {name})[0] - program.bias
        added = added[:, best] - added[:, second]
        at = int(added.argmax()) if here is None else here
        parts.append((float(added.mean() if here is None else added[at]), tracer.trace(name, at)))
    parts.sort(key=lambda part: -part[0])
    bias = float(program.bias[best] - program.bias[second])
    return Explanation(
        program.labels[best], program.labels[second], float(sums[best] - sums[second]), bias, tuple(parts)
    )


class _Tracer:
    """Traces in one sequence, each made once: a value that many steps read is one object."""

    def __init__(self, program: Program, found: dict[str, np.ndarray]) -> None:
        self.program, self.found = program, found
        self.order = closeness(next(iter(found.values())).shape[1], program.causal)
        self.made: dict[tuple[str, int], Trace] = {}

    def trace(self, name: str, pos: int) -> Trace:
        """How variable `name` got its value at `pos`, back to the inputs."""
        if (name, pos) not in self.made:
            step = self.program.writer(name)
            because, reads = self._because(step, pos)
            made = tuple(self.trace(*read) for read in dict.fromkeys(reads))
            self.made[name, pos] = Trace(name, pos, shown(step.out, self.found[name][0, pos]), because, made)
        return self.made[name, pos]

    def _because(self, step: Input | Operator, pos: int) -> tuple[str, list[tuple[str, int]]]:
        """What made the value, and the (variable, position) pairs it was made from."""
        if isinstance(step, Lookup):
            return f"table entry of {' and '.join(dict.fromkeys(step.reads))}", [(read, pos) for read in step.reads]
        if not isinstance(step, Head):
            return "the word" if isinstance(step, Embedding) else "input", []
        match = (matches(step, self.found) & (self.order > 0))[0, pos]
        row, query = self._row(step, pos), (step.query, pos)
        if isinstance(step, CountingHead):
            places = np.flatnonzero(match).tolist()
            ones = isinstance(self.program.writer(step.value), Ones)
            summed = [] if ones else [(step.value, place) for place in places]
            return f"{row}; {step.value} is summed over positions {places}", [query, *summed]
        if not match.any():
            return f"{row}; none matches, so position 0 is read", [query, (step.value, 0)]
        source = int(closest(match, self.order[pos]))
        return f"{row}; the closest is position {source}", [query, (step.key, source), (step.value, source)]

    def _row(self, step: Head, pos: int) -> str:
        kinds, query = self.program.variables, self.found[step.query][0, pos]
        wanted = step.predicate[query]
        looked_for = "nothing" if wanted == NOWHERE else f"{step.key} = {shown(kinds[step.key], wanted)}"
        return f"{step.query} = {shown(kinds[step.query], query)} looks for {looked_for}"


def _place(program: Program, length: int, pos: int | None) -> int | None:
    if program.pooled:
        if pos is not None:
            raise BadInput(f"{program.name} gives one answer a sequence: leave `pos` out")
        return None
    if pos is None or not 0 <= pos < length:
        raise BadInput(f"there is no answer at position {pos}; the sequence has 0 to {length - 1}")
    return pos + (program.begin is not None)
