"""Which values an operator can take: ordered sets of categorical values and exact sets of numbers."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product
from numbers import Real
from typing import Any

from interp.programs.rasp.nodes import Value
from interp.results.errors import BadInput

MOST_NUMBERS = 20_000
"""Larger sets of numbers are not listed; what needs the list is then refused."""
Numbers = tuple[Fraction, ...]


def ordered(values: Iterable[Value]) -> tuple[Value, ...]:
    """Different values, sorted where they can be, else by their text; None is left out."""
    found = list(dict.fromkeys(value for value in values if value is not None))
    try:
        return tuple(sorted(found))
    except TypeError:
        return tuple(sorted(found, key=lambda value: (type(value).__name__, repr(value))))


def number(value: Any, where: str) -> Fraction:
    """A number exactly; a float that is a simple fraction but for rounding becomes that one. Raises: BadInput."""
    if not isinstance(value, Real):
        raise BadInput(f"{where} is numerical and its value {value!r:.40} is no number")
    if isinstance(value, float):
        simple = Fraction(value).limit_denominator(10**6)
        return simple if abs(float(simple) - value) <= 1e-12 * max(1.0, abs(value)) else Fraction(value)
    return Fraction(value)


def means(numbers: Numbers, most: int) -> Numbers | None:
    """Every mean of up to `most` of these numbers, repeats allowed, and 0; None where they are too many."""
    found, sums = {Fraction(0)}, {Fraction(0)}
    for size in range(1, most + 1):
        sums = {total + x for total in sums for x in numbers}
        found |= {total / size for total in sums}
        if len(found) > MOST_NUMBERS or len(sums) * len(numbers) > 10 * MOST_NUMBERS:
            return None
    return tuple(sorted(found))


def combinations(sets: Sequence[Numbers | None], factors: Sequence[Fraction], constant: Fraction) -> Numbers | None:
    """Every constant + sum of factor * number with a number of each set; None where they are too many."""
    size = 1
    for numbers in sets:
        size *= len(numbers) if numbers is not None else 10 * MOST_NUMBERS
    if size > 10 * MOST_NUMBERS:
        return None
    found = {sum((f * x for f, x in zip(factors, picked)), constant) for picked in product(*sets)}
    return tuple(sorted(found)) if len(found) <= MOST_NUMBERS else None
