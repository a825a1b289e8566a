"""most_freq: tokens by how often they occur. Friedman, Wettig & Chen 2023 (arXiv 2306.01128), table 1."""

from interp.tasks.sequences.build import of_strings, symbols_for
from interp.tasks.sequences.dataset import Dataset

LINE = "the different tokens, most frequent first: a b b c -> b a c <s>"
SIZES = {"vocab": 8, "length": 8, "n": 20_000}
FILLER = "<s>"


def oracle(string: tuple[str, ...]) -> list[str]:
    """Different tokens by falling count, those as frequent in the order they first occur; then fillers."""
    ranked = sorted(set(string), key=lambda token: (-string.count(token), string.index(token)))
    return ranked + [FILLER] * (len(string) - len(ranked))


def make(*, vocab: int, length: int, n: int, seed: int) -> Dataset:
    """Strings of vocab - 2 letters, of 1 to length - 1, behind "<s>". The paper scores fillers too."""
    symbols = symbols_for("most_freq", vocab, 2, 2)
    sizes = {"vocab": vocab, "length": length, "n": n}
    return of_strings("most_freq", symbols, 1, length - 1, oracle, (FILLER, *symbols), n=n, seed=seed, sizes=sizes,
                      filler=FILLER)
