"""The data that architectures are compared on: laws of recall and repeats, held against slow readings of the rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.garden.comparison.tasks import (
    N_CTX,
    N_TOKENS,
    PERIODS,
    recall_data,
    recall_metrics,
    repeats_data,
    repeats_metrics,
    token_task,
)
from interp.garden.recipe import IGNORE
from interp.hooks import HookedModel
from interp.results.errors import BadInput
from interp.tasks import recall as module
from interp.tasks import task
from interp.tasks.recall import episodes
from interp.tasks.repeats import matches, predictable, sequences

seeds = st.integers(0, 2**31)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40)
@given(seed=seeds, n_keys=st.integers(1, 9), places=st.integers(1, 8), data=st.data())
def test_a_key_that_was_there_has_the_value_it_had_and_nothing_else_is_announced(seed, n_keys, places, data):
    most = data.draw(st.integers(1, n_keys))
    tokens, known = episodes(3, _generator(seed), n_keys=n_keys, most=most, n_ctx=2 * places)
    for row, marks in zip(tokens.tolist(), known.tolist()):
        seen: dict[int, int] = {}
        for place in range(0, len(row), 2):
            key, value = row[place : place + 2]
            assert 0 <= key < n_keys <= value < 2 * n_keys
            assert marks[place] == (len(seen) if key in seen else 0) and marks[place + 1] == 0
            assert seen.setdefault(key, value) == value
        assert len(seen) <= most


@settings(max_examples=10)
@given(seed=seeds)
def test_answers_cannot_be_told_from_their_place_or_from_other_values(seed):
    """No leak: over rows, the value that is asked for is spread evenly, and the asked pair over all pairs there are."""
    tokens, known = episodes(400, _generator(seed))
    asked = known == 3
    rows, places = asked.nonzero(as_tuple=True)
    answers = tokens[rows, places + 1]
    assert answers.bincount(minlength=32)[16:].max() < 0.2 * len(answers)
    there = [list(dict.fromkeys(tokens[row, :place:2].tolist())) for row, place in zip(rows, places)]
    first_keys = torch.tensor(there)
    which = (first_keys == tokens[rows, places][:, None]).long().argmax(1)
    assert (which.bincount(minlength=3) / len(which)).sub(1 / 3).abs().max() < 0.15


@settings(max_examples=10)
@given(seed=seeds)
def test_lead_and_period_of_repeats_are_random_and_blocks_repeat(seed):
    tokens, period, first = sequences(64, _generator(seed), n_tokens=N_TOKENS, n_ctx=N_CTX, periods=PERIODS,
                                      longest_lead=12)
    assert period.min() >= PERIODS[0] and period.max() <= PERIODS[1]
    assert len(period.unique()) > 4 and len(first.unique()) > 4
    for row, p, start in zip(tokens.tolist(), period.tolist(), first.tolist()):
        assert row[0] == N_TOKENS and all(row[i] == row[i + p] for i in range(start, len(row) - p))
        assert len(set(row[1 : start + p])) == start + p - 1


@settings(max_examples=15)
@given(seed=seeds)
def test_what_is_predictable_is_what_a_slow_reading_finds(seed):
    tokens = repeats_data(3, _generator(seed)).tokens
    looks, there = matches(tokens), predictable(tokens)
    for r, row in enumerate(tokens.tolist()):
        for q in range(len(row)):
            behind = {k for k in range(2, q + 1) if row[k - 1] == row[q]}
            assert {k for k in range(len(row)) if looks[r, q, k]} == behind
            assert bool(there[r, q]) == (bool(behind) and q + 1 < len(row))
            if there[r, q]:
                assert all(row[k] == row[q + 1] for k in behind)


@pytest.mark.parametrize("data", [recall_data, repeats_data])
def test_targets_are_the_next_tokens_and_batches_depend_on_the_seed_alone(data):
    batch, same, other = (data(8, _generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(batch.targets[:, :-1], batch.tokens[:, 1:]) and (batch.targets[:, -1] == IGNORE).all()
    assert torch.equal(batch.tokens, same.tokens) and not torch.equal(batch.tokens, other.tokens)


class _Copier(torch.nn.Module):
    """What followed the last earlier occurrence of each token; a uniform guess where there is none."""

    def __init__(self, d_vocab: int):
        super().__init__()
        self.d_vocab = d_vocab

    def forward(self, tokens):
        looks = matches(tokens).float()
        looks = looks * torch.arange(1, tokens.shape[1] + 1)
        found = looks.argmax(-1)
        out = torch.zeros(*tokens.shape, self.d_vocab)
        return out.scatter(-1, tokens.gather(1, found)[..., None], 20.0 * (looks.amax(-1) > 0)[..., None])


@pytest.mark.parametrize("name, metrics", [("recall", recall_metrics), ("repeats", repeats_metrics)])
def test_looking_it_up_is_right_everywhere_and_guessing_is_not(name, metrics):
    copier = _Copier(token_task(name).d_vocab)
    assert metrics(copier)["accuracy"] == 1.0 and metrics(copier)["loss"] < 1e-3
    guess = metrics(lambda tokens: torch.zeros(*tokens.shape, token_task(name).d_vocab))
    assert guess["accuracy"] < 0.1
    assert guess["loss"] == pytest.approx(torch.tensor(float(token_task(name).d_vocab)).log().item(), abs=1e-4)


def test_chance_on_recall_is_that_of_one_who_knows_the_values_in_the_row():
    assert 1 / module.MOST_PAIRS < token_task("recall").chance < 1 / 2


@pytest.mark.parametrize("name", ["dyck", pytest.param("text", marks=pytest.mark.slow)])
def test_the_other_tasks_are_those_of_the_garden(name):
    made = token_task(name)
    batch = made.data(2, _generator(0))
    assert batch.tokens.max() < made.d_vocab and batch.tokens.shape[1] <= made.n_ctx
    assert made.score in ("accuracy", "bits_per_byte")


def test_recall_as_a_task_swaps_two_values():
    made = task("recall", n=12, seed=1)
    for clean, corrupt, row in zip(made.clean.tolist(), made.corrupt.tolist(), made.prompts.to_dict("records")):
        pairs, others = (dict(zip(ids[:-1:2], ids[1::2])) for ids in (clean, corrupt))
        assert clean[-1] == corrupt[-1] and len(pairs) == 6
        assert pairs[clean[-1]] == row["answer_id"] and others[clean[-1]] == row["wrong_id"]
        assert sorted(clean) == sorted(corrupt)
        assert sum(pairs[key] != others[key] for key in pairs) == 2


@pytest.mark.parametrize("call, message", [
    (lambda: token_task("recal"), 'Did you mean "recall"?'),
    (lambda: task("recall", n=4, pairs=40), "40 pairs"),
    (lambda: task("recall", n=4, pairs=1), "1 pairs"),
    (lambda: episodes(2, _generator(0), n_keys=3, most=4), "up to 4 pairs"),
    (lambda: episodes(2, _generator(0), n_ctx=7), "an even length"),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(BadInput, match=message.replace("?", r"\?")):
        call()


def test_a_hooked_model_is_scored_like_any_function():
    import interp

    model: HookedModel = interp.build("gpt", d_model=16, n_heads=2, n_layers=1, d_vocab=33, n_ctx=40)
    assert 0 <= repeats_metrics(model)["accuracy"] < 0.3
    assert token_task("repeats").select_loss(model) == pytest.approx(3.5, abs=0.2)
