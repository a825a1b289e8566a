"""hist: how often a token occurs. Friedman, Wettig & Chen 2023 (arXiv 2306.01128), table 1."""

from interp.tasks.sequences.build import of_strings, symbols_for
from interp.tasks.sequences.dataset import Dataset

LINE = "how often each token occurs: a b a c -> 2 1 2 1"
SIZES = {"vocab": 8, "length": 8, "n": 20_000}


def oracle(string: tuple[str, ...]) -> list[str]:
    """The count of each token."""
    return [str(sum(other == token for other in string)) for token in string]


def make(*, vocab: int, length: int, n: int, seed: int) -> Dataset:
    """Strings of vocab - 2 letters, of 1 to length - 1, behind "<s>"."""
    symbols = symbols_for("hist", vocab, 2, 2)
    labels = [str(i) for i in range(1, length)]
    sizes = {"vocab": vocab, "length": length, "n": n}
    return of_strings("hist", symbols, 1, length - 1, oracle, labels, n=n, seed=seed, sizes=sizes)
