"""Programs written by hand, whose answers are known without running anything."""

import numpy as np

from interp.programs.program import (
    NOWHERE,
    Categorical,
    ClosestHead,
    CountingHead,
    Embedding,
    Lookup,
    Numerical,
    Ones,
    Positions,
    Program,
)


def positions(n_ctx: int) -> Positions:
    """The positions 0, 1, 2 ..."""
    return Positions(Categorical("positions", tuple(map(str, range(n_ctx)))))


def previous(name: str, n_ctx: int, value: Categorical) -> ClosestHead:
    """Copies a variable from the position before."""
    return ClosestHead(Categorical(name, value.symbols), "positions", "positions", value.name, np.arange(n_ctx) - 1)


def histogram(letters: str = "abc", n_ctx: int = 5) -> Program:
    """How often the token of each position occurs, from begin and up to n_ctx - 1 letters."""
    vocab = ("<s>", *letters)
    itself = np.array([NOWHERE, *range(1, len(vocab))])
    same = CountingHead(Numerical("same", n_ctx), "tokens", "tokens", "ones", itself)
    labels = tuple(map(str, range(n_ctx)))
    # score of label j for count c: j * c - j * j / 2, largest at j = c
    return Program(
        name="histogram", vocab=vocab, labels=labels, n_ctx=n_ctx,
        inputs=(Embedding(Categorical("tokens", vocab), np.arange(len(vocab))), Ones(Numerical("ones", 1))),
        layers=((same,),), readout={"same": np.arange(n_ctx)[None].astype(float)},
        bias=-np.arange(n_ctx) ** 2 / 2, begin="<s>",
    )


def induction(letters: str = "ab", digits: str = "12", n_ctx: int = 6) -> Program:
    """The token after the last earlier occurrence of this one; causal, "?" where there is none."""
    vocab = ("?", *letters, *digits)
    tokens = Categorical("tokens", vocab)
    earlier = ClosestHead(
        Categorical("answer", vocab), "tokens", "before", "tokens", np.array([NOWHERE, *range(1, len(vocab))])
    )
    return Program(
        name="induction", vocab=vocab, labels=vocab, n_ctx=n_ctx,
        inputs=(Embedding(tokens, np.arange(len(vocab))), positions(n_ctx)),
        layers=((previous("before", n_ctx, tokens),), (earlier,)),
        readout={"answer": np.eye(len(vocab))}, bias=np.zeros(len(vocab)), causal=True, begin="?",
    )


def either(n_ctx: int = 3) -> Program:
    """Whether this token or the one before is "x"; a table, one of whose pairs cannot occur."""
    vocab = ("<s>", "x", "o")
    tokens = Categorical("tokens", vocab)
    table = np.array([[0, NOWHERE, NOWHERE], [1, 1, 1], [0, 1, 0]])
    which = Lookup(Categorical("or", ("no", "yes")), "tokens", "before", table)
    return Program(
        name="either", vocab=vocab, labels=("no", "yes"), n_ctx=n_ctx,
        inputs=(Embedding(tokens, np.arange(3)), positions(n_ctx)),
        layers=((previous("before", n_ctx, tokens), which),),
        readout={"or": np.eye(2)}, bias=np.zeros(2), begin="<s>",
    )
