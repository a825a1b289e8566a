"""The sequence tasks by name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from interp.results.errors import BadInput, nearest
from interp.tasks.sequences import (
    double_hist,
    dyck,
    hist,
    induction,
    most_freq,
    reverse,
    sort,
    sotu,
    tagger,
)
from interp.tasks.sequences.dataset import Dataset


@dataclass(frozen=True)
class _Entry:
    line: str
    make: Callable[..., Dataset]
    sizes: dict[str, int] = field(default_factory=dict)


_TASKS = {
    "reverse": _Entry(reverse.LINE, reverse.make, reverse.SIZES),
    "hist": _Entry(hist.LINE, hist.make, hist.SIZES),
    "double_hist": _Entry(double_hist.LINE, double_hist.make, double_hist.SIZES),
    "sort": _Entry(sort.LINE, sort.make, sort.SIZES),
    "most_freq": _Entry(most_freq.LINE, most_freq.make, most_freq.SIZES),
    "dyck1": _Entry(dyck.LINE, partial(dyck.make, kinds=1), dyck.SIZES | {"n": 15_000}),
    "dyck2": _Entry(dyck.LINE, partial(dyck.make, kinds=2), dyck.SIZES),
    "induction": _Entry(induction.LINE, induction.make, induction.SIZES),
    "tagger": _Entry(tagger.LINE, tagger.make, tagger.SIZES),
    "sotu": _Entry(sotu.LINE, sotu.make, sotu.SIZES),
}


def names() -> list[str]:
    """The tasks that `dataset` builds."""
    return list(_TASKS)


def help_lines() -> dict[str, str]:
    """What each task asks, in a line."""
    return {name: entry.line for name, entry in _TASKS.items()}


def dataset(
    name: str, *, vocab: int | None = None, length: int | None = None, n: int | None = None, seed: int = 0
) -> Dataset:
    """The task called `name`, drawn from `seed` alone; global random state is left as it is.

    `vocab` counts all words, specials included; `length` all positions of a row; `n` the different sequences of the
    three parts together (81, 9 and 10 %). Left out, they are those of the paper (`dyck1` has fewer sequences: its
    strings of 15 brackets are 32,768). Raises BadInput for an unknown task, a size that it does not have, and sizes
    too small or too large.
    """
    if name not in _TASKS:
        there = ", ".join(_TASKS)
        raise BadInput(f"there is no sequence task {name!r}.{nearest(str(name), _TASKS)} There are: {there}")
    entry = _TASKS[name]
    given = {size: value for size, value in (("vocab", vocab), ("length", length), ("n", n)) if value is not None}
    for size, value in given.items():
        if size not in entry.sizes:
            raise BadInput(f"{name} has no size {size!r}; it takes {', '.join(entry.sizes)}")
        if type(value) is not int or value < 3:
            raise BadInput(f"{size}={value!r} was asked for {name}; a whole number of 3 or more is needed")
    return entry.make(**(entry.sizes | given), seed=seed)
