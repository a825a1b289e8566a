"""The machine and its text."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interp.garden.catalog import build
from interp.results.errors import BadInput
from interp.tasks.tokfsm import TokFSM


@pytest.mark.parametrize(("n", "base", "digits"), [(100, 10, 2), (125, 5, 3), (126, 5, 4), (25, 5, 2), (2, 2, 1),
                                                   (1000, 10, 3), (1001, 10, 4)])
def test_digits_are_the_least_that_write_every_state(n, base, digits):
    fsm = TokFSM(n, 2, base)
    assert fsm.digits == digits
    states = torch.arange(n)[:, None]
    assert torch.equal(fsm.read(fsm.write(states)), states)


@given(st.integers(2, 60), st.integers(2, 11), st.integers(0, 999))
def test_walks_follow_edges_and_every_state_has_as_many(n, base, seed):
    fsm = TokFSM(n, min(n, 3), base, seed)
    assert (fsm.edges.sum(1) == min(n, 3)).all()
    tokens = fsm.write(fsm.states(4, 6, torch.Generator().manual_seed(seed)))
    assert tokens.shape == (4, 1 + 6 * fsm.digits) and (tokens[:, 0] == fsm.begin).all()
    assert fsm.valid(tokens).all() and fsm.valid(tokens).shape == (4, 5)
    labels = fsm.labels(tokens)
    assert torch.equal(labels[:, fsm.digits :: fsm.digits], fsm.read(tokens))
    assert (labels != -100).sum() == 24


def test_a_wrong_transition_and_what_is_no_state_are_seen():
    fsm = TokFSM(5, 1, 3)
    good = fsm.write(fsm.states(1, 3, torch.Generator().manual_seed(0)))
    bad = good.clone()
    bad[0, -2:] = torch.tensor([2, 2])  # 8, which is no state of five
    assert fsm.valid(good).tolist() == [[True, True]] and fsm.valid(bad).tolist() == [[True, False]]
    assert fsm.read(bad)[0, -1] == -1 and fsm.labels(bad)[0, -1] == -100


def test_a_batch_is_tokens_and_the_tokens_behind_them():
    x, y = TokFSM(9, 3, 3).batch(5, 8, torch.Generator().manual_seed(0))
    assert x.shape == y.shape == (5, 8) and torch.equal(x[:, 1:], y[:, :-1])


def test_accuracy_of_a_model_that_knows_nothing_is_that_of_chance():
    fsm = TokFSM(9, 3, 3)
    model = build("gpt", seed=0, d_model=8, n_layers=1, n_heads=1, d_vocab=4, n_ctx=16)
    found = fsm.state_accuracy(model, rows=300, length=9)
    chance = (3 / 4) ** 2 * 3 / 9  # two digits that are digits, then an edge
    assert found.value < 2 * chance and found.unit == "sequences"


def test_next_states_is_the_product_over_digits():
    fsm = TokFSM(9, 3, 3)
    model = build("gpt", seed=0, d_model=8, n_layers=1, n_heads=1, d_vocab=4, n_ctx=16)
    prompts = fsm.write(torch.tensor([[1, 5], [7, 2]]))
    found = fsm.next_states(model, prompts)
    with torch.no_grad():
        first = model(prompts)[1, -1].softmax(-1)[2]
        then = model(torch.cat([prompts[1:], torch.tensor([[2]])], 1))[0, -1].softmax(-1)[1]
    assert float(found[1, 7]) == pytest.approx(float(first * then), rel=1e-5) and (found.sum(1) < 1).all()


@pytest.mark.parametrize("sizes", [(1, 1, 10), (5, 6, 10), (5, 0, 10), (5, 2, 1)])
def test_impossible_machines_are_refused(sizes):
    with pytest.raises(BadInput, match="states"):
        TokFSM(*sizes)
