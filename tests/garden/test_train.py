"""The training loop: reproducible, resumable, and what its data are; the n-gram model against a slow one."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interp.garden import train as training
from interp.garden.loading import load
from interp.garden.ngram import bits_per_byte
from interp.garden.recipe import IGNORE
from interp.garden.recipes import NAMES, induction_2l, mod_add_29, recipe, sorting_1l, text_small
from interp.garden.train import CHECKPOINT, fit, schedule, train
from interp.results.errors import BadFile, BadInput
from interp.results.progress import use_progress

TINY = replace(recipe("mod-add-29"), steps=9, warmup=2)


def _same(a, b) -> bool:
    return all(torch.equal(a.state_dict()[key], b.state_dict()[key]) for key in a.state_dict())


class _Killed(BaseException):
    pass


def _killed_at(step: int):
    def sink(description, done, total):
        if done == step:
            raise _Killed

    return use_progress(sink)


def test_training_depends_on_the_seed_alone():
    before = torch.get_rng_state()
    first, again, other = fit(TINY, seed=1), fit(TINY, seed=1), fit(TINY, seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert _same(first, again) and not _same(first, other)


def test_a_killed_training_continues_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 2)
    with _killed_at(7), pytest.raises(_Killed):
        fit(TINY, seed=1, folder=tmp_path)
    assert (tmp_path / CHECKPOINT).exists()
    steps = []
    with use_progress(lambda description, done, total: steps.append(done)):
        resumed = fit(TINY, seed=1, folder=tmp_path)
    assert steps[-1] == 9 - 6  # six of nine steps were kept
    assert _same(resumed, fit(TINY, seed=1))


def test_a_shared_weight_survives_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 2)
    assert "head" in fit(TINY, seed=1, folder=tmp_path).module.spec.tied
    resumed = fit(replace(TINY), seed=1, folder=tmp_path).module
    assert resumed.unembed.weight is resumed.embed.weight


def test_a_checkpoint_of_another_run_is_not_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 2)
    fit(TINY, seed=1, folder=tmp_path)
    with pytest.raises(BadInput, match="another run .seed '1', not '2'"):
        fit(TINY, seed=2, folder=tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(BadFile, match="delete it to start again"):
        fit(TINY, seed=1, folder=tmp_path)


def test_train_leaves_a_model_that_loads_and_no_checkpoint(tmp_path):
    model = train("sorting-1l", out=tmp_path, seed=3, steps=2)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["interp.json", "metrics.json", "model.safetensors"]
    assert _same(model, load(tmp_path)) and not model.module.training


def test_training_learns_something():
    before = recipe("sorting-1l").metrics(fit(replace(recipe("sorting-1l"), steps=1), seed=0))["accuracy"]
    after = recipe("sorting-1l").metrics(fit(replace(recipe("sorting-1l"), steps=60), seed=0))["accuracy"]
    assert after > before + 0.2


@pytest.mark.parametrize("name, steps, message", [("induction", None, 'Did you mean "induction-'),
                                                  ("mod-add-29", 0, "at least 1")])
def test_wrong_calls_are_refused(name, steps, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        train(name, out=tmp_path / "run", steps=steps)
    assert not (tmp_path / "run").exists()


def test_the_rate_rises_and_falls():
    rates = [schedule(step, TINY) for step in range(TINY.steps + 1)]
    assert rates[0] == 0.5 and rates[1] == rates[2] == 1.0 and rates[-1] == pytest.approx(0.02)
    assert rates[2:] == sorted(rates[2:], reverse=True)


# -- data ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_repeated_sequences_repeat_with_their_own_period(seed):
    tokens, period, lead = induction_2l.sequences(20, torch.Generator().manual_seed(seed))
    assert tokens.shape == (20, 64) and (tokens[:, 0] == induction_2l.BOS).all() and len(period.unique()) > 1
    for row, p, start in zip(tokens, period.tolist(), lead.tolist()):
        assert torch.equal(row[start + p :], row[start : 64 - p])
        assert len(set(row[: start + p].tolist())) == start + p


def test_every_marked_repeat_can_be_looked_up():
    tokens, repeat, match = induction_2l.held_out()
    for row, q in repeat.nonzero()[::997].tolist():
        keys = match[row, q].nonzero()[:, 0].tolist()
        assert keys and all(0 < key <= q and tokens[row, key - 1] == tokens[row, q] for key in keys)
        assert {int(tokens[row, key]) for key in keys} == {int(tokens[row, q + 1])}


def test_modular_sums_are_split_into_disjoint_parts():
    train_part, held_out = ({tuple(row) for row in part.tolist()} for part in mod_add_29.split())
    assert not train_part & held_out and len(train_part | held_out) == 29**2
    batch = mod_add_29.data(0, torch.Generator())
    assert (batch.targets[:, :-1] == IGNORE).all()
    assert torch.equal(batch.targets[:, -1], (batch.tokens[:, 0] + batch.tokens[:, 1]) % 29)


def test_sorted_rows_are_predicted_number_by_number():
    batch = sorting_1l.data(50, torch.Generator().manual_seed(0))
    assert (batch.targets[:, :10] == IGNORE).all()
    assert torch.equal(batch.targets[:, 10:], batch.tokens[:, :10].sort(1).values)
    assert torch.equal(batch.tokens[:, 11:], batch.targets[:, 10:-1])


@given(st.integers(260, 900))
def test_windows_predict_every_token_but_the_first_once(n):
    ids = torch.arange(n)
    predicted = [token for rows, keep in text_small._windows(ids) for row in rows
                 for token in row[row.shape[0] - keep :].tolist()]
    assert predicted == list(range(1, n))


def test_recipes_have_their_own_names():
    assert [recipe(name).name for name in NAMES] == list(NAMES)
    assert all(recipe(name).about for name in NAMES)


# -- counting --------------------------------------------------------------------------------------------------------


def _slow_bits(train_text: bytes, text: bytes, order: int) -> float:
    total = 0.0
    for i in range(len(text)):
        p = 1 / 256
        for length in range(min(order, i) + 1):
            context = text[i - length : i]
            seen = Counter(train_text[j + length] for j in range(len(train_text) - length)
                           if train_text[j : j + length] == context)
            if seen:
                p = (seen[text[i]] + len(seen) * p) / (seen.total() + len(seen))
        total -= np.log2(p)
    return total / len(text)


letters = st.lists(st.sampled_from(b"abc"), min_size=8, max_size=40).map(bytes)


@given(letters, letters, st.integers(0, 6))
def test_ngram_bits_are_the_formula(train_text, text, order):
    assert bits_per_byte(train_text, text, order) == pytest.approx(_slow_bits(train_text, text, order))


def test_ngram_refuses_what_it_cannot_count():
    with pytest.raises(BadInput):
        bits_per_byte(b"abc" * 9, b"abc", 7)
    with pytest.raises(BadInput):
        bits_per_byte(b"abc" * 9, b"ab", 3)
