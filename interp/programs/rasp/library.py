"""Known programs, each a short function. Most are those of Lindner et al. 2023 (Tracr), arXiv 2301.05062, and of
Weiss et al. 2021, arXiv 2106.06981; `names()` lists them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any

from interp.programs.rasp.build import (
    aggregate,
    map,
    numerical,
    select,
    select_all,
    select_closest,
    selector_width,
    sequence_map,
)
from interp.programs.rasp.nodes import SOp, Value, indices, tokens
from interp.results.errors import BadInput, nearest


def length() -> SOp:
    """The length of the sequence."""
    return selector_width(select_all()).named("length")


def hist(of: SOp = tokens) -> SOp:
    """How often the token of this position occurs."""
    return selector_width(select(of, of, lambda k, q: k == q)).named("hist")


def count(token: Value = "a") -> SOp:
    """How often `token` occurs."""
    return selector_width(select(tokens, tokens, lambda k, q: k == token)).named("count")


def double_hist() -> SOp:
    """How many different tokens occur as often as the token of this position."""
    same = select(tokens, tokens, lambda k, q: k == q) & select(indices, indices, lambda k, q: k < q)
    first = (selector_width(same) == 0).named("first")
    counts = sequence_map(lambda n, new: n if new else 0, hist(), first).named("count_at_first")
    return selector_width(select(counts, hist(), lambda k, q: k == q)).named("double_hist")


def shift(by: int = 1, of: SOp = tokens) -> SOp:
    """The token `by` positions before."""
    return aggregate(select(indices, indices, lambda k, q: k == q - by), of).named(f"shift_{by}")


def frac_prevs(token: Value = "a") -> SOp:
    """The share of `token` among the tokens so far."""
    return _share(map(lambda t: t == token, tokens).named(f"is_{token}")).named("frac_prevs")


def _share(flags: SOp) -> SOp:
    return aggregate(select(indices, indices, lambda k, q: k <= q), numerical(flags))


def sort_unique(values: SOp = tokens, keys: SOp = tokens) -> SOp:
    """The values in ascending order of their keys, which are to be all different."""
    place = selector_width(select(keys, keys, lambda k, q: k < q)).named("place")
    return aggregate(select(place, indices, lambda k, q: k == q), values).named("sort_unique")


def sort(values: SOp = tokens, keys: SOp = tokens) -> SOp:
    """The values in ascending order of their keys; equal ones stay in order."""
    ordered = sequence_map(lambda key, i: (key, i), keys, indices).named("key_and_index")
    return sort_unique(values, ordered).named("sort")


def sort_freq() -> SOp:
    """The tokens by how often they occur, the most frequent first."""
    return sort(tokens, map(lambda n: -n, hist()).named("minus_hist")).named("sort_freq")


def most_freq() -> SOp:
    """The most frequent token, of equals the one that comes first; at every position."""
    key = sequence_map(lambda n, i: (-n, i), hist(), indices).named("rarer_or_later")
    place = selector_width(select(key, key, lambda k, q: k < q)).named("place")
    return aggregate(select(place, tokens, lambda k, q: k == 0), tokens).named("most_freq")


def count_less_freq(n: int = 2) -> SOp:
    """How many tokens are at positions whose token occurs at most `n` times."""
    return selector_width(select(hist(), hist(), lambda k, q: k <= n)).named("count_less_freq")


def reverse(of: SOp = tokens) -> SOp:
    """The sequence backwards."""
    opposite = (length() - indices - 1).named("opposite")
    return aggregate(select(indices, opposite, lambda k, q: k == q), of).named("reverse")


def detect(pattern: Sequence[Value] = "ab") -> SOp:
    """Whether the tokens that end here are `pattern`."""
    if not len(pattern):
        raise BadInput("detect needs a pattern of one token or more")
    checks = []
    for back, token in enumerate(reversed(pattern)):
        here = shift(back) if back else tokens
        checks.append(map(lambda t, token=token: t == token, here).named(f"{token}_at_-{back}"))
    return reduce(and_, checks).named("detect")


def pair_balance(opening: Value = "(", closing: Value = ")") -> SOp:
    """(opening - closing) / tokens so far: 0 where balanced, negative where too many were closed."""
    shares = [_share(map(lambda t, sign=sign: t == sign, tokens).named(f"is_{sign}")).named(f"share_{sign}")
              for sign in (opening, closing)]
    return (shares[0] - shares[1]).named(f"balance_{opening}{closing}")


def shuffle_dyck(pairs: Sequence[Sequence[Value]] = ("()", "{}")) -> SOp:
    """Whether every kind of bracket is balanced, each by itself (1 or 0, at every position)."""
    balances = [pair_balance(*pair) for pair in pairs]
    negative = reduce(or_, [balance < 0 for balance in balances]).named("any_negative")
    ever = aggregate(select_all(), numerical(negative)).named("share_negative")
    zero = reduce(and_, [balance == 0 for balance in balances]).named("all_zero")
    last = select(indices, length() - 1, lambda k, q: k == q)
    return map(int, aggregate(last, zero).named("zero_at_end") & (ever == 0)).named("shuffle_dyck")


def induction() -> SOp:
    """The token behind the nearest other place where this token stood (causal: the last time); else the first one."""
    match = select_closest(shift(1).named("previous"), tokens, lambda k, q: k == q)
    return aggregate(match, tokens).named("induction")


@dataclass(frozen=True)
class Entry:
    """A program of the library: its builder, the vocabulary it is shown with, and one line of help."""

    name: str
    build: Callable[..., SOp]
    vocab: tuple[Value, ...]
    help: str


_ABCD, _NUMBERS, _BRACKETS = tuple("abcd"), (1, 2, 3, 4), tuple("()a")
_VOCAB: dict[Callable[..., SOp], tuple[Value, ...]] = {
    length: _ABCD, hist: _ABCD, count: _ABCD, double_hist: _ABCD, shift: _ABCD, frac_prevs: _ABCD,
    sort_unique: _NUMBERS, sort: _NUMBERS, sort_freq: _NUMBERS, most_freq: _ABCD, count_less_freq: _ABCD,
    reverse: _ABCD, detect: _ABCD, pair_balance: _BRACKETS, shuffle_dyck: tuple("(){}"), induction: _ABCD,
}
LIBRARY: dict[str, Entry] = {
    build.__name__: Entry(build.__name__, build, vocab, str(build.__doc__).splitlines()[0])
    for build, vocab in _VOCAB.items()
}


def names() -> dict[str, str]:
    """One line of help for every program of the library, by name."""
    return {name: entry.help for name, entry in LIBRARY.items()}


def entry(name: str) -> Entry:
    """The library's entry for `name`. Raises: BadInput, naming the nearest."""
    if name not in LIBRARY:
        raise BadInput(f"no program is called {name!r}.{nearest(str(name), LIBRARY)} There are: {', '.join(LIBRARY)}")
    return LIBRARY[name]


def program(name: str, **parameters: Any) -> SOp:
    """A program of the library, `parameters` being those of its function: program("detect", pattern="abc").

    Raises: BadInput for an unknown name or parameter.
    """
    try:
        return entry(name).build(**parameters)
    except TypeError as error:
        raise BadInput(f"{name}: {error}") from error
