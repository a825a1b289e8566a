"""sort: the numbers in order. Friedman, Wettig & Chen 2023 (arXiv 2306.01128), table 1."""

from interp.tasks.sequences.build import of_strings, symbols_for
from interp.tasks.sequences.dataset import Dataset

LINE = "the numbers in rising order: 3 1 2 1 -> 1 1 2 3"
SIZES = {"vocab": 8, "length": 8, "n": 20_000}


def oracle(string: tuple[str, ...]) -> list[str]:
    """The numbers in order: at each place, the one with as many below it (and equal, before it) as places."""
    place = [sum(int(b) < int(a) for b in string) + string[:i].count(a) for i, a in enumerate(string)]
    return [string[place.index(i)] for i in range(len(string))]


def make(*, vocab: int, length: int, n: int, seed: int) -> Dataset:
    """Strings of the numbers below vocab - 3, of 1 to length - 2, between "<s>" and "</s>"."""
    symbols = symbols_for("sort", vocab, 3, 2, "digits")
    sizes = {"vocab": vocab, "length": length, "n": n}
    return of_strings("sort", symbols, 1, length - 2, oracle, symbols, n=n, seed=seed, sizes=sizes, end="</s>")
