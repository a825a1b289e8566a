"""double_hist: how many tokens share a count. Friedman, Wettig & Chen 2023 (arXiv 2306.01128), table 1."""

from interp.tasks.sequences.build import of_strings, symbols_for
from interp.tasks.sequences.dataset import Dataset

LINE = "how many different tokens occur as often as this one: a b a c -> 1 2 1 2"
SIZES = {"vocab": 8, "length": 8, "n": 20_000}


def oracle(string: tuple[str, ...]) -> list[str]:
    """The number of different tokens with the count of each token."""
    return [str(sum(string.count(other) == string.count(token) for other in set(string))) for token in string]


def make(*, vocab: int, length: int, n: int, seed: int) -> Dataset:
    """Strings of vocab - 2 letters, of 1 to length - 1, behind "<s>"."""
    symbols = symbols_for("double_hist", vocab, 2, 2)
    labels = [str(i) for i in range(1, len(symbols) + 1)]
    sizes = {"vocab": vocab, "length": length, "n": n}
    return of_strings("double_hist", symbols, 1, length - 1, oracle, labels, n=n, seed=seed, sizes=sizes)
