"""reverse: the string backwards. Friedman, Wettig & Chen 2023 (arXiv 2306.01128), table 1."""

from interp.tasks.sequences.build import of_strings, symbols_for
from interp.tasks.sequences.dataset import Dataset

LINE = "the string read backwards: a b c -> c b a"
SIZES = {"vocab": 8, "length": 8, "n": 20_000}


def oracle(string: tuple[str, ...]) -> list[str]:
    """The string backwards."""
    return [string[len(string) - 1 - i] for i in range(len(string))]


def make(*, vocab: int, length: int, n: int, seed: int) -> Dataset:
    """Strings of vocab - 3 letters, of 1 to length - 2, between "<s>" and "</s>"."""
    symbols = symbols_for("reverse", vocab, 3, 2)
    sizes = {"vocab": vocab, "length": length, "n": n}
    return of_strings("reverse", symbols, 1, length - 2, oracle, symbols, n=n, seed=seed, sizes=sizes, end="</s>")
