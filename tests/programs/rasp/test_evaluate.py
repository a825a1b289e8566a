from fractions import Fraction as F
from itertools import product

import pytest

from interp.programs.rasp import (
    LIBRARY,
    aggregate,
    aggregate_sum,
    evaluate,
    indices,
    linear,
    map,
    names,
    numerical,
    program,
    readout,
    select,
    select_all,
    select_closest,
    selector_width,
    sequence_map,
    tokens,
)
from interp.programs.rasp.library import sort_unique
from interp.results.errors import BadInput


def same(key, query):
    return key == query


# what each program is to give, by hand (codebook_programs.md, section 3.4)
CASES = [
    (program("frac_prevs", token="l"), "hello", [0, 0, F(1, 3), F(1, 2), F(2, 5)]),
    (program("shift"), "abcd", [None, "a", "b", "c"]),
    (program("shift", by=2), "abcd", [None, None, "a", "b"]),
    (program("detect", pattern="ab"), "aaba", [None, False, True, False]),
    (program("detect", pattern="abc"), "abcabc", [None, None, True, False, False, True]),
    (program("reverse"), "abcd", list("dcba")),
    (program("reverse"), "c", ["c"]),
    (program("length"), "abc", [3, 3, 3]),
    (numerical(program("length")), "abc", [3, 3, 3]),
    (program("pair_balance"), "a()b(c))", [0, F(1, 2), 0, 0, F(1, 5), F(1, 6), 0, F(-1, 8)]),
    (program("shuffle_dyck"), "({)}", [1] * 4),
    (program("shuffle_dyck"), "(){)}", [0] * 5),
    (program("shuffle_dyck"), "{}(", [0] * 3),
    (program("shuffle_dyck", pairs=("()", "{}", "[]")), "({)[}]", [1] * 6),
    (program("hist"), "abac", [2, 1, 2, 1]),
    (program("sort"), [2, 4, 1, 3], [1, 2, 3, 4]),
    (program("sort"), [2, 4, 1, 2], [1, 2, 2, 4]),
    (sort_unique(tokens, 1 - indices), "abcd", list("dcba")),
    (program("sort_freq"), [2, 4, 2, 1], [2, 2, 4, 1]),
    (program("count_less_freq", n=2), "aaabbc", [3] * 6),
    (program("count_less_freq", n=2), "aacbbc", [6] * 6),
    (program("count", token="a"), "aaabbc", [3] * 6),
    (program("count", token="a"), "bbc", [0] * 3),
    (tokens + tokens - indices, [1, 2, 3], [2, 3, 4]),
    (sequence_map(lambda x, y, z: x * y / z, indices, indices, tokens), [1, 2, 3], [0, 1 / 2, 4 / 3]),
    (program("most_freq"), "abbc", ["b"] * 4),
    (program("double_hist"), "abbca", [2, 2, 2, 1, 2]),
    (program("induction"), "abcab", list("bcabc")),
]
IDS = [f"{what}-{''.join(str(t) for t in inputs)}" for what, inputs, _ in CASES]


@pytest.mark.parametrize(("what", "inputs", "expected"), CASES, ids=IDS)
def test_cases_solved_by_hand(what, inputs, expected):
    assert evaluate(what, inputs) == expected


def test_a_causal_width_counts_the_past():
    assert evaluate(selector_width(select_all()), "abcd", causal=True) == [1, 2, 3, 4]


@pytest.mark.parametrize("name", names())
def test_library_against_plain_python(name):
    """Every program that has a one-line definition without attention, on all strings of up to 4 tokens."""
    def dyck(s):
        kinds = [[(c == a) - (c == b) for c in s] for a, b in ("()", "{}")]
        return int(all(sum(k) == 0 and all(sum(k[:i]) >= 0 for i in range(len(k))) for k in kinds))

    def balance(s):
        return [F(s[: i + 1].count("(") - s[: i + 1].count(")"), i + 1) for i in range(len(s))]

    def induction(s, i):
        places = [j for j in range(1, len(s)) if s[j - 1] == s[i] and j != i]
        own = i > 0 and s[i - 1] == s[i]
        return s[min(places, key=lambda j: (abs(j - i), j)) if places else i if own else 0]

    literal = {
        "length": lambda s: [len(s)] * len(s),
        "hist": lambda s: [s.count(c) for c in s],
        "count": lambda s: [s.count("a")] * len(s),
        "double_hist": lambda s: [sum(s.count(d) == s.count(c) for d in set(s)) for c in s],
        "shift": lambda s: [None, *s[:-1]],
        "frac_prevs": lambda s: [F(s[: i + 1].count("a"), i + 1) for i in range(len(s))],
        "sort": sorted,
        "sort_unique": lambda s: sorted(s) if len(set(s)) == len(s) else None,
        "sort_freq": lambda s: sorted(s, key=lambda c: -s.count(c)),
        "most_freq": lambda s: [max(s, key=s.count)] * len(s),
        "count_less_freq": lambda s: [sum(s.count(c) <= 2 for c in s)] * len(s),
        "reverse": lambda s: list(s[::-1]),
        "detect": lambda s: [None, *("".join(s[i - 1 : i + 1]) == "ab" for i in range(1, len(s)))],
        "pair_balance": balance,
        "shuffle_dyck": lambda s: [dyck(s)] * len(s),
        "induction": lambda s: [induction(s, i) for i in range(len(s))],
    }[name]
    for n in range(1, 5):
        for s in product(LIBRARY[name].vocab, repeat=n):
            expected = literal(s)
            if expected is not None:
                assert evaluate(program(name), s) == list(expected), s


@pytest.mark.parametrize("causal", [False, True])
def test_closest_for_every_match_set(causal):
    """Nearest other, left of two as near, itself only alone, position 0 for none; all match sets, up to 6 positions."""
    for n in range(1, 7):
        for matches in product((False, True), repeat=n):
            where = evaluate(aggregate(select_closest(tokens, tokens, lambda k, q: k), indices), matches, causal)
            for query in range(n):
                seen = [j for j in range(query + 1 if causal else n) if matches[j]]
                ranked = sorted(seen, key=lambda j: (j == query, abs(j - query), j))
                assert where[query] == (ranked[0] if ranked else 0)


def test_joined_selectors_count_what_both_or_either_select():
    left, right = select(tokens, tokens, same), select(indices, indices, lambda k, q: k <= q)
    for s in product("ab", repeat=4):
        for joined, both in ((left & right, lambda a, b: a and b), (left | right, lambda a, b: a or b),
                             (left & ~right, lambda a, b: a and not b)):
            assert evaluate(selector_width(joined), s) == [
                sum(both(s[j] == s[i], j <= i) for j in range(4)) for i in range(4)
            ]


def test_sum_is_the_mean_times_the_width():
    order = map(lambda t: {"a": 2, "b": -1}[t], tokens, "numerical")
    before = select(indices, indices, lambda k, q: k < q)
    for s in product("ab", repeat=4):
        total = evaluate(aggregate_sum(before, order), s)
        means, widths = evaluate(aggregate(before, order), s), evaluate(selector_width(before), s)
        assert total == [mean * width for mean, width in zip(means, widths)]


def test_readout_adds_rows_and_takes_the_first_of_equals():
    flag = map(lambda t: int(t == "b"), tokens, "numerical")
    scores = readout({tokens: {"a": [1, 0, 0], "b": [0, 0, 1]}, flag: [0, 1, 0]}, "xyz", [0, 0.5, 0])
    assert evaluate(scores, "ab") == ["x", "y"]
    assert evaluate(readout({tokens: {"a": [1, 1]}}, "xy"), "ab") == ["x", "x"]


def test_numerical_arithmetic_stays_numerical_and_exact():
    third = aggregate(select_all(), numerical(tokens == "a"))
    assert evaluate(2 * third - third / 2 + 1, "abb") == [F(3, 2)] * 3
    assert (2 * third - third / 2 + 1).encoding == "numerical"
    assert (third < 1).encoding == "categorical"
    assert len((third + third + third).reads) == 1


REFUSED = {
    "several values": (lambda: evaluate(aggregate(select_all(), tokens), "ab"), "different values"),
    "None in a mean": (lambda: evaluate(aggregate(select_all(), numerical(program("shift"))), [1, 2]), "default"),
    "numerical keys": (lambda: select(numerical(indices), indices, same), "selector reads"),
    "truth value": (lambda: bool(tokens), "neither true nor false"),
    "and of selectors": (lambda: select(tokens, tokens, same) and select_all(), "neither true nor false"),
    "joined closest": (lambda: select_closest(tokens, tokens, same) & select_all(), "join two selectors"),
    "width of closest": (lambda: selector_width(select_closest(tokens, tokens, same)), "one position"),
    "no selector": (lambda: aggregate(tokens, tokens), "needs a selector"),
    "selector as value": (lambda: aggregate(select_all(), select_all()), "sequence operator"),
    "failing map": (lambda: evaluate(map(lambda t: t + 1, tokens), "a"), "fails at 'a'"),
    "linear of categories": (lambda: linear({indices: 1}), "numerical"),
    "short row": (lambda: readout({tokens: {"a": [1]}}, "xy"), "not 2 finite"),
    "unknown program": (lambda: program("histt"), 'Did you mean "hist"'),
    "unknown parameter": (lambda: program("hist", pattern="ab"), "hist"),
    "odd encoding": (lambda: map(len, tokens, "onehot"), "categorical or numerical"),
}


@pytest.mark.parametrize(("what", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_meaning_is_refused_by_name(what, says):
    with pytest.raises(BadInput, match=says):
        what()
