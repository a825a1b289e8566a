"""Random `Program`s for tests: every kind of step, all choices drawn from one seed."""

import numpy as np
from hypothesis import strategies as st

from interp.programs.program import (
    NOWHERE,
    Categorical,
    ClosestHead,
    CountingHead,
    Embedding,
    Lookup,
    Numerical,
    Ones,
    Operator,
    Positions,
    Program,
    Variable,
)

HOSTILE = ("'", '"', "\\", "\n", "__import__('os')", "two words", '"""', "é", "{x}", "#", " ", "\u2028", "%s", "'\"")


def random_program(
    seed: int,
    *,
    layers: int | None = None,
    whole: bool | None = None,
    text: bool | None = None,
    hostile: bool = False,
    causal: bool | None = None,
    pooled: bool | None = None,
    n_ctx: int | None = None,
    words: int | None = None,
    heads: int | None = None,
) -> Program:
    """A program drawn from `seed`: 1-3 layers of 1-2 heads and up to 2 lookups.

    `whole` scores are small whole numbers, so that ties are common; `text` has two learned embeddings in place of
    `tokens`; `hostile` words would be code if anything ran them.
    """
    random = np.random.default_rng(seed)

    def coin(choice: bool | None, chance: float = 0.5) -> bool:
        drawn = bool(random.random() < chance)
        return drawn if choice is None else choice

    n_ctx = n_ctx or int(random.integers(3, 6))
    framed = n_ctx > 2 and coin(None)
    symbols = HOSTILE if hostile else tuple("abcdefgh")
    chosen = random.permutation(len(symbols))[: words or random.integers(2, 5)]
    vocab = (*(("<s>", "</s>") if framed else ()), *(symbols[i] for i in chosen))
    inputs: list = [Positions(Categorical("positions", tuple(map(str, range(n_ctx)))))]
    if coin(text, 0.3):
        for i in range(2):
            size = int(random.integers(2, 4))
            names = tuple(f"class {j}" for j in range(size)) if coin(None) else tuple(map(str, range(size)))
            inputs.append(Embedding(Categorical(f"embedding.{i}", names), random.integers(size, size=len(vocab))))
    else:
        inputs.append(Embedding(Categorical("tokens", vocab), np.arange(len(vocab))))
    inputs.append(Ones(Numerical("ones", 1)))
    known: list[Variable] = [step.out for step in inputs]
    rows = []
    for layer in range(layers or int(random.integers(1, 4))):
        row = [_head(random, known, f"head_{layer}_{i}", n_ctx) for i in range(heads or random.integers(1, 3))]
        readable = [*known, *(step.out for step in row)]
        row += [_lookup(random, readable, f"mlp_{layer}_{i}") for i in range(random.integers(0, 3))]
        known += [step.out for step in row]
        rows.append(tuple(row))
    labels = (*(("</s>",) if framed else ()), "yes", "no", "perhaps")
    whole = coin(whole)
    readout = {}
    for variable in known:
        if coin(None, 0.6):
            shape = (variable.size if isinstance(variable, Categorical) else 1, len(labels))
            readout[variable.name] = random.integers(-2, 3, shape).astype(float) if whole else random.normal(size=shape)
    return Program(
        name=f"random {seed}", vocab=vocab, labels=labels, n_ctx=n_ctx, inputs=tuple(inputs), layers=tuple(rows),
        readout=readout, bias=np.zeros(len(labels)) if whole else random.normal(size=len(labels)),
        causal=coin(causal), pooled=coin(pooled, 0.25), never=("</s>",) if framed and coin(None) else (),
        begin="<s>" if framed else None, end="</s>" if framed else None,
        unknown=vocab[-1] if coin(None, 0.3) else None, provenance={"seed": seed},
    )


def _of(random: np.random.Generator, options: list) -> Variable:
    return options[random.integers(len(options))]


def _head(random: np.random.Generator, known: list[Variable], name: str, n_ctx: int) -> Operator:
    categorical = [v for v in known if isinstance(v, Categorical)]
    numerical = [v for v in known if isinstance(v, Numerical) and v.size * n_ctx < 200]
    query, key = _of(random, categorical), _of(random, categorical)
    low = NOWHERE if random.random() < 0.7 else 0
    predicate = random.integers(low, key.size, size=query.size)
    if query.symbols == key.symbols and random.random() < 0.3:
        predicate = np.arange(key.size)
    if random.random() < 0.5:
        value = _of(random, numerical)
        return CountingHead(Numerical(name, value.top * n_ctx), query.name, key.name, value.name, predicate)
    value = _of(random, categorical)
    return ClosestHead(Categorical(name, value.symbols), query.name, key.name, value.name, predicate)


def _lookup(random: np.random.Generator, known: list[Variable], name: str) -> Operator:
    numerical = [v for v in known if isinstance(v, Numerical) and v.size < 40]
    options = numerical if random.random() < 0.4 else [v for v in known if isinstance(v, Categorical)]
    first, second = _of(random, options), _of(random, options)
    size = int(random.integers(1, 5))
    out = Categorical(name, tuple("wxyz"[:size]) if random.random() < 0.5 else tuple(map(str, range(size))))
    table = random.integers(size, size=(first.size, second.size))
    if random.random() < 0.4:  # as trained ones are: few different rows
        table = table[random.integers(min(2, first.size), size=first.size)]
    return Lookup(out, first.name, second.name, table)


programs = st.integers(0, 10**6).map(random_program)
"""A hypothesis strategy. Shrinking finds a smaller seed, not a smaller program."""
