"""`suite`: as many compiled programs as one likes, each with a trap, hard negatives and a task, from one seed."""

from collections.abc import Iterator

import numpy as np
import torch

from interp.programs.compile.api import compile
from interp.programs.compile.compiled import Compiled
from interp.programs.compile.module import NormName
from interp.programs.compile.suite.bases import COPIED, Base, library_base, random_base
from interp.programs.compile.suite.case import Case
from interp.programs.compile.suite.prompts import task
from interp.programs.compile.suite.traps import LEFT, RIGHT, TRAPS, TWINS, Trap, idle_programs
from interp.programs.rasp.library import entry
from interp.programs.rasp.nodes import SOp, walk
from interp.results.errors import BadInput

PROMPTS = 64
TRIES = 60
VARIANTS = tuple((norm, rotate) for rotate in (False, True) for norm in (None, "layernorm", "rmsnorm"))
"""The stream of a case: its norm, and whether it is rotated; in turn, once through all traps each."""


def suite(n: int = 200, seed: int = 0, prompts: int = PROMPTS) -> Iterator[Case]:
    """`n` cases, made one by one: all traps in turn, all of them in every norm, rotated and not."""
    return (case(index, seed, prompts) for index in range(n))


def case(index: int, seed: int = 0, prompts: int = PROMPTS) -> Case:
    """Case `index` of the suite that `seed` draws, the same whichever cases were made before.

    What cannot be compiled, has no negatives or does not tell enough prompts apart is drawn again.
    Raises: BadInput where that goes on for long.
    """
    trap = list(TRAPS)[index % len(TRAPS)]
    why: list[str] = []
    for attempt in range(TRIES):
        generator = np.random.default_rng([seed, index, attempt])
        try:
            return _case(index, trap, generator, prompts)
        except BadInput as error:
            why.append(str(error))
    raise BadInput(f"case {index} ({trap}) was drawn {TRIES} times without success; last: {why[-1]}")


def library_case(name: str, seed: int = 0, prompts: int = PROMPTS) -> Case:
    """A program of the library beside random distractors that `seed` draws, in a plain stream."""
    entry(name)
    for attempt in range(TRIES):
        generator = np.random.default_rng([seed, attempt])
        try:
            return _made(seed, "distractor", library_base(generator, (name,)), generator, prompts)
        except BadInput as error:
            why = str(error)
    raise BadInput(f"{name} was drawn {TRIES} times without success; last: {why}")


def _case(index: int, trap: str, generator: np.random.Generator, prompts: int) -> Case:
    norm, rotated = VARIANTS[index // len(TRAPS) % len(VARIANTS)]
    if generator.random() < 0.5:
        base = library_base(generator, COPIED) if trap in TWINS else library_base(generator)
    else:
        base = random_base(generator)
    return _made(index, trap, base, generator, prompts, norm, rotated)


def _made(
    index: int, trap: str, base: Base, generator: np.random.Generator, prompts: int, norm: NormName = None,
    rotated: bool = False,
) -> Case:
    set_up = TRAPS[trap](base, generator)
    others = (*set_up.distractors, *idle_programs(base, generator, _distractors(set_up)))
    compiled = _compiled(base, set_up, others, norm, int(generator.integers(1 << 31)) if rotated else None)
    name = f"{index:03d} {trap}: {base.name}"
    made = Case(index, name, base.kind, trap, base.name, set_up.sop, compiled,
                task(compiled, prompts, int(generator.integers(1 << 31)), name, set_up.wanted))
    _check(made)
    return made


def _distractors(set_up: Trap) -> int:
    """So many random programs that about as many nodes are outside the truth as in it, or more."""
    return 3 + sum(1 for _ in walk(set_up.sop)) // 4


def _compiled(base: Base, set_up: Trap, others: tuple[SOp, ...], norm: NormName, rotate: int | None) -> Compiled:
    def made(dtype: torch.dtype) -> Compiled:
        return compile(set_up.sop, base.at.tokens.values, base.at.length, causal=base.causal, norm=norm, rotate=rotate,
                       distractors=others, name=base.name, dtype=dtype)

    try:
        compiled = made(torch.float32)
    except BadInput as error:
        if "more digits" not in str(error):
            raise
        compiled = made(torch.float64)
    if set_up.wanted is not None and not {LEFT, RIGHT} <= set(compiled.labels):
        raise BadInput(f"the two sides of {base.name} came out as one variable")
    return compiled


def _check(made: Case) -> None:
    """Raises: BadInput for a case on which nothing can be told apart: no negatives, or no member, that is active; and
    for prompts of one length, along whose paths through the length nothing varies."""
    if len({len(row) for row in made.rows(made.task.part("discover").clean)}) == 1:
        raise BadInput(f"the prompts of {made.name} are all of one length")
    if not any(made.labels.values()) or all(made.labels.values()):
        raise BadInput(f"{made.name} has no active nodes of both kinds")
    if made.trap == "reader" and not made.negatives["reader"]:
        raise BadInput(f"{made.name} has no active reader of its variables")
