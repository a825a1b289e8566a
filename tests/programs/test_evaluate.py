from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.programs.evaluate import closeness, closest, predict, scores, values
from interp.programs.inputs import draw, every, how_many, run_many
from interp.results.errors import BadInput
from tests.programs import literal
from tests.programs.hand import either, histogram
from tests.programs.random_programs import programs, random_program


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n", range(1, 11))
def test_attention_reads_the_position_that_the_rule_says_for_every_match_set(n, causal):
    sets = np.array(list(product([False, True], repeat=n)))
    order = closeness(n, causal)
    read = closest(sets[:, None, :] & (order > 0), order)
    for row, matching in enumerate(sets):
        seen = [matching[: here + 1] if causal else matching for here in range(n)]
        assert read[row].tolist() == [literal.read_from([*seen[h], *[False] * n][:n], h, causal) for h in range(n)]


def test_the_rule_in_four_cases():
    order = closeness(5, causal=False)

    def read(matching: str, query: int, order=order) -> int:
        match = np.array([[[c == "x" for c in matching]] * 5]) & (order > 0)
        return int(closest(match, order)[0, query])

    assert read(".x.x.", 2) == 1  # as near: the left one
    assert read("..xx.", 2) == 3  # another one before itself
    assert read("..x..", 2) == 2  # itself where it is alone
    assert read(".....", 2) == 0  # nothing
    assert read("x...x", 3, closeness(5, causal=True)) == 0  # what comes later is out of sight


@given(programs, st.integers(0, 1000))
def test_answers_are_those_of_the_literal_evaluator(program, seed):
    sequences = draw(program, 6, seed)
    assert run_many(program, sequences) == [literal.run(program, list(tokens)) for tokens in sequences]
    assert [program.run(list(tokens)) for tokens in sequences] == run_many(program, sequences)


@pytest.mark.parametrize("seed", range(6))
def test_all_answers_of_small_programs_are_those_of_the_literal_evaluator(seed):
    program = random_program(seed, words=2, n_ctx=5)
    sequences = list(every(program))
    assert len(sequences) == how_many(program)
    assert run_many(program, sequences) == [literal.run(program, list(tokens)) for tokens in sequences]


@given(programs, st.integers(0, 1000))
def test_neither_padding_nor_the_rest_of_the_batch_changes_an_answer(program, seed):
    random = np.random.default_rng(seed)
    n = program.n_ctx
    ids = random.integers(len(program.vocab), size=(5, n))
    lengths = random.integers(1, n + 1, size=5)
    together = predict(program, ids, np.arange(n) < lengths[:, None])
    for row, length in enumerate(lengths):
        alone = predict(program, ids[row : row + 1, :length])[0]
        assert np.array_equal(together[row] if program.pooled else together[row, :length], alone)


@given(programs, st.integers(0, 1000))
def test_scores_are_the_bias_and_what_each_variable_adds(program, seed):
    ids = np.random.default_rng(seed).integers(len(program.vocab), size=(3, program.n_ctx))
    found = values(program, ids)
    parts = sum(scores(program, found, {name}) - program.bias for name in program.readout)
    assert np.allclose(scores(program, found), program.bias + parts)
    assert (scores(program, found, set()) == program.bias).all()


def test_numbers_stay_within_their_proven_top():
    program = random_program(11, layers=3, heads=2)
    ids = np.array(list(product(range(len(program.vocab)), repeat=program.n_ctx)))[:20000]
    found = values(program, ids)
    for name, variable in program.variables.items():
        assert 0 <= found[name].min() and found[name].max() < variable.size


def test_a_pair_that_cannot_occur_is_an_error_and_not_a_guess():
    with pytest.raises(BadInput, match="'or' met tokens = 0, before = 1, which its table says cannot occur"):
        either().predict(np.array([[1, 0]]))


BAD_IDS = {
    r"\[batch, pos\] are needed": np.array([1, 2]),
    "type float64": np.ones((1, 2)),
    "6 positions were given; histogram has 5": np.ones((1, 6), dtype=int),
    "ids run from 1 to 4; histogram knows 0 to 3": np.array([[1, 4]]),
}


@pytest.mark.parametrize("reason", BAD_IDS)
def test_ids_that_cannot_be_read_are_refused(reason):
    with pytest.raises(BadInput, match=reason):
        histogram().predict(BAD_IDS[reason])


def test_a_mask_has_the_tokens_on_the_left():
    with pytest.raises(BadInput, match="real tokens on the left"):
        histogram().predict(np.array([[1, 2]]), np.array([[0, 1]]))


def test_lengths_that_do_not_fit_are_refused():
    with pytest.raises(BadInput, match="up to 5 tokens were asked for; histogram takes 1 to 4"):
        list(every(histogram(), 5))
