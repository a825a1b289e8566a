"""The compiled model computes the program: on all inputs where they are few, else on the extreme and random ones."""

from fractions import Fraction as F

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import interp.programs.compile as compiler
from interp.programs.compile.inputs import count, drawn, extremes
from interp.programs.rasp import (
    LIBRARY,
    aggregate,
    aggregate_sum,
    indices,
    map,
    names,
    numerical,
    program,
    select,
    select_all,
    select_closest,
    selector_width,
    sequence_map,
    tokens,
)
from interp.programs.rasp.library import sort_unique
from interp.results.errors import BadInput

compile = compiler.compile
COUNTING = ("length", "hist", "count", "count_less_freq")


@pytest.mark.parametrize("name", names())
def test_library_on_all_inputs(name):
    compiled = compile(name, length=5)
    check = compiled.verify()
    assert check.inputs == count(LIBRARY[name].vocab, 5)
    assert check.ok, check.examples
    assert min(check.margins.values()) > 0.999 and check.error < 1e-6 and compiled.floor == 0.0


CASES = [
    (program("frac_prevs", token="l"), "helo", "hello", [0, 0, 1 / 3, 1 / 2, 2 / 5]),
    (program("shift", by=2), "abcd", "abcd", [None, None, "a", "b"]),
    (program("detect", pattern="abc"), "abc", "abcabc", [None, None, True, False, False, True]),
    (numerical(program("length")), "abc", "abc", [3, 3, 3]),
    (program("pair_balance"), "abc()", "a()b(c))", [0, 1 / 2, 0, 0, 1 / 5, 1 / 6, 0, -1 / 8]),
    (program("shuffle_dyck", pairs=("()", "{}", "[]")), "(){}[]", "({)[}]", [1] * 6),
    (sort_unique(tokens, 1 - indices), "abcd", "abcd", list("dcba")),
    (program("count_less_freq", n=2), "abc", "aacbbc", [6] * 6),
    (tokens + tokens - indices, (1, 2, 3), [1, 2, 3], [2, 3, 4]),
    (sequence_map(lambda x, y, z: x * y / z, indices, indices, tokens), (0, 1, 2, 3), [1, 2, 3], [0, 1 / 2, 4 / 3]),
    (sequence_map(lambda x, z: x / z, indices, tokens), (0, 2), [2, 0, 2], [0, None, 1]),
]


@pytest.mark.parametrize(("what", "vocab", "inputs", "expected"), CASES, ids=lambda v: str(v)[:30])
def test_cases_solved_by_hand(what, vocab, inputs, expected):
    got = compile(what, vocab, len(inputs)).run(list(inputs))
    assert [e if g is None else g for g, e in zip(got, expected)] == pytest.approx(expected)
    assert all(g is None for g, e in zip(got, expected) if e is None)


def test_causal_width_counts_the_past():
    assert compile(selector_width(select_all()), "abcd", 4, causal=True).run("abcd") == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["hist", "length", "shift", "frac_prevs", "detect", "pair_balance", "induction"])
def test_causal_programs_on_all_inputs(name):
    assert compile(name, length=4, causal=True).verify().ok


@pytest.mark.parametrize("name", COUNTING)
def test_counting_does_not_lose_count(name):
    """At length 20 the reference's one slope for all thresholds does: all tokens the same, all but one the same."""
    compiled = compile(name, "abcd", 20)
    rows = [*extremes("abcd", 20), *drawn("abcd", 20, 100, 0, 20)]
    check = compiled.verify(rows=rows)
    assert check.ok and min(check.margins.values()) > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("length", [10, 20, 30])
@pytest.mark.parametrize("name", COUNTING)
def test_counting_on_two_thousand_strings(name, length):
    rows = [*extremes("abcd", length), *drawn("abcd", length, 2_000, 0, length)]
    check = compile(name, "abcd", length).verify(rows=rows)
    assert check.ok and min(check.margins.values()) > 0.999


def test_one_slope_for_all_thresholds_miscounts_and_the_margin_says_so():
    rows = list(extremes("abcd", 20))
    margins = []
    for sharpness in (100.0, 2 * 20 * 21.0, None):
        check = compile("hist", "abcd", 20, sharpness=sharpness).verify(rows=rows)
        margins.append(min(check.margins.values()))
        assert check.ok == (sharpness != 100.0)
    assert margins[0] < 0 and margins[1] > 0.99 and margins[2] > 0.999


@pytest.mark.parametrize("coldness", [20.0, 40.0, 100.0])
def test_colder_attention_errs_less(coldness):
    compiled = compile("hist", "abcd", 4, coldness=coldness, dtype=torch.float64)
    check = compiled.verify()
    # BOS keeps exp(-coldness / 2) of the weight of a match
    assert check.ok and check.error < 1e3 * torch.tensor(-coldness / 2).exp().item() + 1e-12


def test_positions_beyond_reach_of_a_sum_are_exact_in_double_precision():
    order = map(lambda t: {"a": 2, "b": -1, "c": 0}[t], tokens, "numerical")
    total = aggregate_sum(select(tokens, tokens, lambda k, q: k != q), order)
    check = compile(total, "abc", 4, dtype=torch.float64).verify()
    assert check.ok and check.error < 1e-12


# -- programs drawn at random -----------------------------------------------------------------------------------------

_FLAGS = {"a": 0, "b": 1}


def _number(node):
    """An operator of any kind as small whole numbers."""
    return map(lambda x: hash_of(x) % 3, node)


def hash_of(value):
    return sum(ord(letter) for letter in str(value))


@st.composite
def programs(draw, depth=3):
    """A categorical program over "ab" whose aggregates select one position at most, or numbers."""
    if depth == 0:
        return draw(st.sampled_from([tokens, indices]))
    a, b = draw(programs(depth=depth - 1)), draw(programs(depth=depth - 1))
    salt = draw(st.integers(0, 5))
    pairs = frozenset(draw(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=6)))
    selector = select(_number(a), _number(b), lambda k, q: (k, q) in pairs)
    kind = draw(st.sampled_from(["map", "pair", "width", "mean", "sum", "closest", "shift", "joined"]))
    if kind == "map":
        return map(lambda x: (hash_of(x) * (salt + 1)) % 4, a)
    if kind == "pair":
        return sequence_map(lambda x, y: (hash_of(x) + salt * hash_of(y)) % 3, a, b)
    if kind == "width":
        return selector_width(selector)
    if kind == "mean":
        return aggregate(selector, numerical(_number(map(str, indices)))) > F(salt, 5)
    if kind == "sum":
        return aggregate_sum(selector, map(lambda x: x - 1, _number(indices), "numerical")) >= salt - 2
    if kind == "closest":
        return aggregate(select_closest(_number(a), _number(b), lambda k, q: (k, q) in pairs), a)
    if kind == "shift":
        default = draw(st.sampled_from(["x", None]))
        return aggregate(select(indices, indices, lambda k, q: k == q - salt + 1), a, default)
    return selector_width(selector & select(indices, tokens, lambda k, q: k >= _FLAGS[q]))


@settings(max_examples=40)
@given(programs(), st.booleans())
def test_random_programs_on_all_inputs(what, causal):
    try:
        compiled = compile(what, "ab", 3, causal=causal, dtype=torch.float64)
    except BadInput as error:
        assert "only reads its input" in str(error) or "None everywhere" in str(error)
        return
    check = compiled.verify()
    assert check.inputs == 14 and check.ok, check.examples
    assert check.error < 1e-9
