from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.programs.evaluate import predict, scores, values
from interp.programs.inputs import draw, every, run_many, same_length
from interp.programs.program import (
    NOWHERE,
    Categorical,
    ClosestHead,
    CountingHead,
    Lookup,
    Numerical,
    Program,
)
from interp.programs.program_file import program_text
from interp.programs.prune import prune, size
from interp.programs.reach import reachable, sum_of_sets
from interp.programs.rounding import centred, has_exact_scores, rounded
from interp.results.errors import BadInput
from tests.programs.hand import either, histogram, induction, previous
from tests.programs.random_programs import programs, random_program


def _all_ids(program: Program, length: int) -> np.ndarray:
    return np.array(list(product(range(len(program.vocab)), repeat=length)))


@pytest.mark.parametrize("seed", range(25))
def test_pruned_programs_answer_alike_on_all_inputs(seed):
    program = random_program(seed, words=2)
    small = prune(program)
    for length in range(1, program.n_ctx + 1):
        ids = _all_ids(program, length)
        assert np.array_equal(predict(program, ids), predict(small, ids))
    framed = prune(program, framed=True)
    sequences = list(every(program))
    assert run_many(framed, sequences) == run_many(program, sequences)


@given(programs, st.integers(0, 1000))
def test_pruned_programs_answer_alike(program, seed):
    ids = np.random.default_rng(seed).integers(len(program.vocab), size=(20, program.n_ctx))
    small = prune(program)
    assert np.array_equal(predict(program, ids), predict(small, ids))
    assert size(small).variables <= size(program).variables and size(small).entries <= size(program).entries


@given(programs)
def test_pruning_twice_is_pruning_once(program):
    for framed in (False, True):
        small = prune(program, framed=framed)
        assert program_text(prune(small)) == program_text(small)


@given(programs, st.integers(0, 1000))
def test_no_value_outside_the_proven_sets_occurs(program, seed):
    ids = np.random.default_rng(seed).integers(len(program.vocab), size=(20, program.n_ctx))
    sets = reachable(program)
    for length in range(1, program.n_ctx + 1):
        for name, found in values(program, ids[:, :length]).items():
            assert all(sets[name][pos, found[:, pos]].all() for pos in range(length))


@given(programs, st.integers(0, 1000))
def test_no_value_outside_the_framed_sets_occurs_in_a_run(program, seed):
    sets = reachable(program, framed=True)
    for _, ids in same_length(program, draw(program, 10, seed)):
        for name, found in values(program, ids).items():
            assert all(sets[name][pos, found[:, pos]].all() for pos in range(ids.shape[1]))


def test_sets_of_a_shifted_token_are_those_of_the_position_before():
    program = induction(n_ctx=4)
    sets = reachable(program, framed=True)
    letters = [False, True, True, True, True]
    assert sets["tokens"].tolist() == [[True] + [False] * 4, letters, letters, letters]
    # position 0 has nothing before it and reads itself; position 1 reads begin
    assert sets["before"].tolist() == [[True] + [False] * 4, [True] + [False] * 4, letters, letters]


def test_sets_of_a_count_are_exact_where_tokens_are_free():
    sets = reachable(histogram("ab", 4))
    # any number of the four can be equal to this one, itself always; <s> asks for nothing
    assert sets["same"].tolist() == [[True] * 5] * 4
    framed = reachable(histogram("ab", 4), framed=True)["same"]
    assert framed.tolist() == [[True] + [False] * 4] + [[False, True, True, True, False]] * 3


@given(st.sets(st.integers(0, 9), min_size=1), st.sets(st.integers(0, 9), min_size=1))
def test_sums_of_sets(one, two):
    bits = sum_of_sets(sum(1 << n for n in one), two)
    assert {n for n in range(30) if bits >> n & 1} == {a + b for a, b in product(one, two)}


def test_what_nothing_reads_goes():
    base = histogram()
    unread = previous("before", base.n_ctx, base.variables["tokens"])
    program = replace(base, inputs=(*base.inputs, *induction(n_ctx=5).inputs[1:]), layers=((*base.layers[0], unread),))
    assert list(prune(program).variables) == ["tokens", "ones", "same"]


def test_equal_variables_become_one():
    base = histogram("ab", 4)
    again = replace(base.layers[0][0], out=Numerical("again", 4))
    program = replace(base, layers=((*base.layers[0], again),), readout=base.readout | {"again": base.readout["same"]})
    small = prune(program)
    assert list(small.variables) == ["tokens", "ones", "same"]
    assert np.array_equal(small.readout["same"], 2 * base.readout["same"])
    inexact = replace(program, bias=program.bias + 0.1)
    assert list(prune(inexact).readout) == ["same", "again"]  # a sum in another order could round otherwise


def test_a_table_that_ignores_a_variable_stops_reading_it():
    base = either()
    which = base.layers[0][1]
    table = np.tile([0, 1, 0], (3, 1))
    program = replace(base, layers=((base.layers[0][0], replace(which, table=table)),))
    step = prune(program).writer("or")
    assert step.reads == ("before", "before") and np.diag(step.table).tolist() == [0, 1, 0]


def test_a_head_that_can_match_nothing_reads_no_query_or_key():
    base = induction(n_ctx=4)
    # the token after next, which a causal program cannot see
    later = ClosestHead(Categorical("later", base.vocab), "positions", "positions", "tokens", np.array([2, 3, -1, -1]))
    program = replace(base, layers=((later,),), readout={"later": np.eye(5)})
    small = prune(program)
    assert list(small.variables) == ["tokens", "later"]
    assert (small.writer("later").predicate == NOWHERE).all()


def test_a_query_that_makes_no_difference_is_not_read():
    base = histogram("ab", 4)
    count_a = CountingHead(Numerical("same", 4), "positions", "tokens", "ones", np.full(4, 1))
    program = replace(base, inputs=(*base.inputs, induction(n_ctx=4).inputs[1]), layers=((count_a,),))
    assert list(prune(program).variables) == ["tokens", "ones", "same"]


def test_symbols_that_nothing_holds_go():
    base = either()
    wide = replace(base.layers[0][1], out=Categorical("or", ("no", "never", "yes")))
    wide = replace(wide, table=np.array([[0, -1, -1], [2, 2, 2], [0, 2, 0]]))
    program = replace(base, layers=((base.layers[0][0], wide),), readout={"or": np.array([[1.0, 0], [5, 5], [0, 1]])})
    small = prune(program)
    assert small.variables["or"].symbols == ("no", "yes") and small.readout["or"].tolist() == [[1, 0], [0, 1]]


def test_a_constant_goes_into_the_bias_where_sums_are_exact():
    base = either()
    constant = Lookup(Categorical("same", ("x", "y")), "tokens", "before", np.ones((3, 3), dtype=int))
    scores = np.array([[9.0, 9], [0.5, 2]])
    program = replace(base, layers=(*base.layers, (constant,)), readout=base.readout | {"same": scores})
    small = prune(program)
    assert "same" not in small.variables and small.bias.tolist() == [0.5, 2]
    assert "same" in prune(replace(program, bias=np.array([0.1, 0]))).readout


def test_one_input_stays_where_no_score_depends_on_any():
    program = replace(histogram(), readout={})
    small = prune(program)
    assert list(small.variables) == ["tokens"] and small.run(["a"]) == program.run(["a"]) == ["0"]
    assert small.to_python()


def test_sizes_count_rows_entries_and_lines():
    program = histogram("ab", 4)
    found = size(program)
    assert (found.variables, found.entries) == (3, 2 + 1)
    assert found.lines == program.to_python().count("\n")


def test_which_scores_add_up_exactly():
    whole = histogram()
    assert has_exact_scores(whole)
    assert has_exact_scores(replace(whole, bias=whole.bias + 0.375))
    assert not has_exact_scores(replace(whole, bias=whole.bias + 0.1))
    assert not has_exact_scores(replace(whole, bias=whole.bias + np.array([2.0**52, 0, 0, 0, 0])))


@given(programs, st.integers(0, 1000))
def test_rounded_scores_are_whole_and_change_a_difference_of_scores_by_little(program, seed):
    small = rounded(program, 2)
    assert all((rows % 1 == 0).all() for rows in (small.bias, *small.readout.values()))
    ids = np.random.default_rng(seed).integers(len(program.vocab), size=(5, program.n_ctx))
    allowed = ~np.isin(program.labels, program.never)
    found = values(program, ids)
    before, after = (scores(p, found)[..., allowed] for p in (program, small))
    # half a unit for each score that is added, on either side of a difference
    units = 1 + sum(
        1 if isinstance(program.variables[name], Categorical) else found[name].max() for name in program.readout
    )
    change = np.diff(after, axis=-1) - 100 * np.diff(before, axis=-1)
    assert np.abs(change).max(initial=0) <= units + 1e-6


@given(st.integers(0, 10**6), st.integers(0, 1000))
def test_centred_scores_give_the_same_answers(seed, other):
    program = random_program(seed, whole=True)
    plain = centred(program)
    ids = np.random.default_rng(other).integers(len(program.vocab), size=(20, program.n_ctx))
    assert np.array_equal(predict(program, ids), predict(plain, ids))
    assert all(
        abs(np.median(rows, axis=0)).max() <= 0.5 for name, rows in plain.readout.items()
        if isinstance(program.variables[name], Categorical)
    )


def test_scores_that_do_not_add_exactly_stay_where_they_are():
    with pytest.raises(BadInput, match="not exact.*round them"):
        centred(replace(histogram(), bias=histogram().bias + 0.1))
    with pytest.raises(BadInput, match="0 to 9 can be had"):
        rounded(histogram(), -1)
