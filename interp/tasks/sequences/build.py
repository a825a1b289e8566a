"""From drawn sequences and an oracle to a `Dataset`: numbered, labelled, without repeats, in three parts."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from interp.results.errors import BadInput
from interp.tasks.sequences.dataset import IGNORE, PARTS, Dataset, Examples

Sequence_ = tuple[str, ...]
Labels = Sequence[str | None]
Oracle = Callable[[Sequence_], Labels]
Draw = Callable[[np.random.Generator], Sequence_]

SHARES = {"val": 0.09, "test": 0.10}  # of the sequences; train has the rest
_PATIENCE = 20_000  # draws in a row that bring nothing new before the task counts as exhausted


def strings(symbols: Sequence[str], shortest: int, longest: int) -> Draw:
    """Draws a length, all equally likely, then every symbol."""
    def draw(generator: np.random.Generator) -> Sequence_:
        size = int(generator.integers(shortest, longest + 1))
        return tuple(symbols[i] for i in generator.integers(len(symbols), size=size))

    return draw


def every_string(symbols: Sequence[str], shortest: int, longest: int) -> Iterator[Sequence_]:
    """All strings of the symbols, short ones first."""
    return (s for size in range(shortest, longest + 1) for s in itertools.product(symbols, repeat=size))


def how_many(symbols: int, shortest: int, longest: int) -> int:
    """How many strings `every_string` gives."""
    return sum(symbols**size for size in range(shortest, longest + 1))


def distinct(draw: Draw, n: int, generator: np.random.Generator, name: str) -> list[Sequence_]:
    """n different draws, in the order they came. Raises BadInput where the task does not have that many."""
    found: dict[Sequence_, None] = {}
    fruitless = 0
    while len(found) < n:
        before = len(found)
        found[draw(generator)] = None
        fruitless = fruitless + 1 if len(found) == before else 0
        if fruitless > _PATIENCE:
            raise BadInput(f"{name} of these sizes has about {before:,} different sequences, and n={n:,} asks for more")
    return list(found)


def of_strings(
    name: str, symbols: Sequence[str], shortest: int, longest: int, oracle: Oracle, labels: Sequence[str], *,
    n: int, seed: int, sizes: dict[str, int], **facts,
) -> Dataset:
    """A task on all strings of some symbols: n of them, or all where there are no more."""
    pool = how_many(len(symbols), shortest, longest)
    if n >= pool:
        found, drawn = list(every_string(symbols, shortest, longest)), f"all {pool:,} strings there are"
    else:
        draws = strings(symbols, shortest, longest)
        found = distinct(draws, n, np.random.default_rng([seed, 0]), name)
        drawn = f"{n:,} of {pool:,} strings: a length, then symbols, all equally likely, repeats left out"
    return assemble(name, found, oracle, symbols, labels, n_ctx=sizes["length"], seed=seed, sizes=sizes, drawn=drawn,
                    **facts)


def assemble(
    name: str, sequences: list[Sequence_], oracle: Oracle, symbols: Sequence[str], labels: Sequence[str], *,
    n_ctx: int, seed: int, sizes: dict[str, int], drawn: str, end: str | None = None, **facts,
) -> Dataset:
    """Label different sequences, put "<s>" (and `end`) around them, number them and share them out.

    Every length that has 3 sequences is in the test part.
    """
    vocab = ("<s>", *filter(None, [end]), *symbols, "<pad>")
    order = parts_of([len(s) for s in sequences], np.random.default_rng([seed, 1]))
    word, label = ({w: i for i, w in enumerate(names)} for names in (vocab, labels))
    tokens = torch.full((len(sequences), n_ctx), len(vocab) - 1)
    targets = torch.full_like(tokens, IGNORE)
    for row, sequence in enumerate(sequences):
        ids = [word[w] for w in ("<s>", *sequence, *filter(None, [end]))]
        answers = [IGNORE if a is None else label[a] for a in oracle(sequence)]
        tokens[row, : len(ids)] = torch.tensor(ids)
        targets[row, 1 : len(answers) + 1] = torch.tensor(answers)
    whole = Examples(tokens, targets, np.arange(len(sequences)), len(vocab) - 1)
    parts = {part: whole.rows(order[part]) for part in PARTS}
    return Dataset(name, vocab, tuple(labels), **parts, sizes=sizes, seed=seed, drawn=drawn, end=end, **facts)


def parts_of(strata: Sequence[int], generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Shuffled row numbers of each part, every stratum shared out by itself."""
    strata = np.asarray(strata)
    parts: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    for stratum in np.unique(strata):
        rows = generator.permutation(np.flatnonzero(strata == stratum))
        sizes = {part: max(round(share * len(rows)), int(len(rows) >= 3)) for part, share in SHARES.items()}
        ends = np.cumsum([sizes["test"], sizes["val"]])
        for part, chosen in zip(("test", "val", "train"), np.split(rows, ends)):
            parts[part].append(chosen)
    return {part: generator.permutation(np.concatenate(pieces)) for part, pieces in parts.items()}


def symbols_for(name: str, vocab: int, specials: int, least: int, kinds: str = "letters") -> tuple[str, ...]:
    """The symbols that a vocabulary of this size leaves beside its specials.

    Raises BadInput for fewer than `least`.
    """
    count = vocab - specials
    if count < least:
        raise BadInput(f"{name} needs vocab={specials + least} or more ({specials} specials and {least} symbols); "
                       f"vocab={vocab} was asked for")
    if kinds == "digits":
        return tuple(str(i) for i in range(count))
    if count > 26:
        raise BadInput(f"{name} writes its symbols as letters, of which there are 26; vocab={vocab} asks for {count}")
    return tuple("abcdefghijklmnopqrstuvwxyz"[:count])
