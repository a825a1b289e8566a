"""dyck1, dyck2: is the prefix balanced? Friedman, Wettig & Chen 2023 (arXiv 2306.01128), table 1."""

from functools import partial

import numpy as np

from interp.results.errors import BadInput
from interp.tasks.sequences.build import assemble, distinct
from interp.tasks.sequences.dataset import Dataset

LINE = "each prefix: T balanced, P can still become so, F cannot: ( ( ) ) ) -> P P P T F"
SIZES = {"length": 16, "n": 20_000}
PAIRS = ("()", "{}")


def oracle(string: tuple[str, ...]) -> list[str]:
    """T, P or F of every prefix, by a stack; once F, always F."""
    closes = {pair[1]: pair[0] for pair in PAIRS}
    stack: list[str] = []
    answers = []
    failed = False
    for token in string:
        if token not in closes:
            stack.append(token)
        elif not stack or stack.pop() != closes[token]:
            failed = True
        answers.append("F" if failed else "P" if stack else "T")
    return answers


def draw(generator: np.random.Generator, kinds: int, size: int) -> tuple[str, ...]:
    """Half the time a balanced string with a random tail, else all brackets equally likely."""
    brackets = "".join(PAIRS[:kinds])
    start = ""
    if generator.random() < 0.5:
        pairs = int(generator.integers(size // 2 + 1))
        for kind, wrap in zip(generator.integers(kinds, size=pairs), generator.random(pairs) < 0.5):
            opened, closed = PAIRS[kind]
            start = opened + start + closed if wrap else start + opened + closed
    tail = generator.integers(len(brackets), size=size - len(start))
    return (*start, *(brackets[i] for i in tail))


def make(*, length: int, n: int, seed: int, kinds: int) -> Dataset:
    """length - 1 brackets of one or two kinds behind "<s>"."""
    name, pool = f"dyck{kinds}", (2 * kinds) ** (length - 1)
    if length < 3 or n > pool // 2:
        raise BadInput(f"{name} of length={length} has {pool:,} strings of {length - 1} brackets; n={n:,} asks for "
                       "more than half of them")
    found = distinct(partial(draw, kinds=kinds, size=length - 1), n, np.random.default_rng([seed, 0]), name)
    symbols = tuple("".join(PAIRS[:kinds]))
    drawn = f"{n:,} of {pool:,} strings: half grown by wrapping and joining with a random tail, half random"
    return assemble(name, found, oracle, symbols, ("F", "P", "T"), n_ctx=length, seed=seed,
                    sizes={"length": length, "n": n}, drawn=drawn, causal=True)
