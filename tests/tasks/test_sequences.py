"""The tasks of token sequences: solved by the rule they are about, broken by their counterfactual, and bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interp.garden.recipes import dyck_2l, induction_2l, mod_add_29, sorting_1l
from interp.results import BadInput
from interp.tasks import dyck, task
from interp.tasks.audit import measure
from tests.tasks.small import ByRule, bpe, llama, word_level

SIZES = {
    "induction": {"d_vocab": 65, "counterfactual": "answer"},
    "mod-add": {"modulus": 29}, "sorting": {"numbers": 32, "length": 10},
    "dyck": {"length": 20},
}


@given(st.sampled_from(sorted(SIZES)), st.integers(0, 10_000), st.integers(3, 60))
def test_every_seed_gives_n_aligned_prompts_in_parts_that_share_nothing(name, seed, n):
    t = task(name, n=n, seed=seed, **SIZES[name])
    audit = t.audit()
    assert len(t) == n and audit.ok, audit.frame()
    assert torch.equal(t.clean, task(name, n=n, seed=seed, **SIZES[name]).clean)
    assert not torch.equal(t.clean, task(name, n=n, seed=seed + 1, **SIZES[name]).clean)


def follows(ids):
    """How often each token has followed the one at each position: induction, spelled out."""
    output = torch.zeros(*ids.shape, 65)
    for row, sequence in enumerate(ids.tolist()):
        for at in range(len(sequence)):
            for before in range(at):
                if sequence[before] == sequence[at]:
                    output[row, at, sequence[before + 1]] += 1
    return output


def adds(ids):
    return torch.nn.functional.one_hot((ids[:, :1] + ids[:, 1:2]) % 29, 30).float().expand(-1, 3, -1)


def sorts(ids):
    """The next number in order at each place of the second half."""
    output = torch.zeros(*ids.shape, 33)
    for row, sequence in enumerate(ids.tolist()):
        for place, number in enumerate(sorted(sequence[:10])):
            output[row, 10 + place, number] = 1.0
    return output


def closes(ids):
    """The bracket that closes the innermost open one, found by cancelling pairs until none is left."""
    output = torch.zeros(*ids.shape, 5)
    for row, sequence in enumerate(ids.tolist()):
        for at in range(1, len(sequence)):
            text = "".join(dyck.BRACKETS[token] for token in sequence[1 : at + 1])
            while (shorter := text.replace("()", "").replace("[]", "")) != text:
                text = shorter
            if text:
                output[row, at, dyck.BRACKETS.index(text[-1]) + 1] = 1.0
    return output


@pytest.mark.parametrize(("name", "rule"), [("induction", follows), ("mod-add", adds), ("sorting", sorts),
                                            ("dyck", closes)])
def test_the_rule_solves_it_and_the_counterfactual_turns_it_round(name, rule):
    t = task(name, n=48, **SIZES[name])
    clean, right = measure(t, ByRule(rule), t.clean)
    corrupt, _ = measure(t, ByRule(rule), t.corrupt)
    assert right.all() and (clean >= 1).all() and (corrupt <= -1).all()
    assert t.audit(ByRule(rule)).ok


def test_induction_rows_repeat_with_their_own_lead_and_period_and_lose_the_answer():
    t = task("induction", n=60, d_vocab=65, counterfactual="answer")
    periods, leads = t.prompts["period"].tolist(), t.prompts["lead"].tolist()
    assert len(set(periods)) > 5 and len(set(leads)) > 5
    assert (t.clean[:, 0] == 64).all() and (t.clean[:, 1:] < 64).all()
    for row, (period, lead) in enumerate(zip(periods, leads)):
        assert len(set(t.clean[row, : 1 + lead + period].tolist())) == 1 + lead + period
        sequence = t.clean[row, 1 + lead :]
        assert torch.equal(sequence[period:], sequence[:-period]) and len(sequence) >= 2 * period
        assert t.metric.correct[row] == sequence[-period]
        assert t.metric.correct[row] in sequence and t.metric.correct[row] not in t.corrupt[row]
        changed = t.clean[row] != t.corrupt[row]
        assert (t.clean[row][changed] == t.metric.correct[row]).all()
        assert (t.corrupt[row][changed] == t.metric.wrong[row]).all()
        assert not changed[-1]  # the token that is read stays
    corrupt, _ = measure(t, ByRule(follows), t.corrupt)
    assert (corrupt == -measure(t, ByRule(follows), t.clean)[0]).all()


def test_induction_changes_what_stands_before_the_answer_and_leaves_the_answers_in_place():
    t = task("induction", n=60, d_vocab=65)
    clean, right = measure(t, ByRule(follows), t.clean)
    corrupt, _ = measure(t, ByRule(follows), t.corrupt)
    assert right.all() and (clean >= 1).all() and (corrupt <= -1).all() and t.audit(ByRule(follows)).ok
    for row in range(60):
        changed = t.clean[row] != t.corrupt[row]
        correct, wrong = t.metric.correct[row], t.metric.wrong[row]
        assert set(t.clean[row][changed].tolist()) == set(t.corrupt[row][changed].tolist()) and not changed[-1]
        for answer in (correct, wrong):
            assert torch.equal(t.clean[row] == answer, t.corrupt[row] == answer)
    with pytest.raises(BadInput, match="prefix and answer, not 'prefx'.*\"prefix\""):
        task("induction", n=3, d_vocab=65, counterfactual="prefx")


def test_induction_takes_the_vocabulary_and_the_context_of_the_model():
    model = llama(bpe())
    t = task("induction", model, n=6)
    assert t.clean.shape == (6, 49) and (t.clean[:, 0] == bpe().bos_token_id).all()
    assert int(t.clean.max()) < len(bpe()) and model(t.clean).shape == (6, 49, len(bpe()))
    assert task("induction", n=3, d_vocab=65, length=20, bos=0).clean.shape == (3, 21)


def test_mod_add_exchanges_one_number():
    t = task("mod-add", n=100, modulus=29)
    assert ((t.clean != t.corrupt).sum(1) == 1).all() and (t.clean[:, 2] == 29).all()
    assert torch.equal(t.metric.correct, t.clean[:, :2].sum(1) % 29)
    assert torch.equal(t.metric.wrong, t.corrupt[:, :2].sum(1) % 29)


def test_sorting_keeps_what_is_before_the_place_that_is_read():
    t = task("sorting", n=60, numbers=32, length=10)
    assert t.clean.shape == (60, 20) and (t.clean[:, 10] == 32).all()
    for row, at in enumerate(t.metric.positions.tolist()):
        assert torch.equal(t.clean[row, 10 : at + 1], t.corrupt[row, 10 : at + 1])
        assert (t.clean[row, :10] != t.corrupt[row, :10]).sum() == 1
        for ids in (t.clean[row], t.corrupt[row]):
            assert torch.equal(ids[11:], ids[:10].sort().values[:-1])
    assert set(t.prompts["place"]) == set(range(10))


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_balanced_words_are_balanced_and_depend_on_the_seed_alone(seed, half):
    words = dyck.balanced(20, 2 * half, np.random.default_rng(seed))
    assert (words == dyck.balanced(20, 2 * half, np.random.default_rng(seed))).all()
    for word in words.tolist():
        text = "".join(dyck.BRACKETS[token] for token in word)
        while (shorter := text.replace("()", "").replace("[]", "")) != text:
            text = shorter
        assert not text and dyck.innermost(word) is None


def test_dyck_changes_the_kind_of_the_innermost_open_bracket_alone():
    t = task("dyck", n=80, length=20)
    assert ((t.clean != t.corrupt).sum(1) == 1).all() and (t.clean[:, 0] == dyck.START).all()
    for row, distance in enumerate(t.prompts["distance"]):
        assert t.clean[row, 21 - distance] != t.corrupt[row, 21 - distance]
        assert t.clean[row, 21 - distance] + 1 == t.metric.correct[row]
    assert t.prompts["distance"].nunique() > 5


@pytest.mark.parametrize(("name", "options", "message"), [
    ("dyck", {"length": 3}, "a length of 4 to 31 brackets, not .* 3 brackets"),
    ("dyck", {"length": 32}, "a length of 4 to 31 brackets"),
    ("induction", {}, "needs to know the vocabulary"),
    ("induction", {"d_vocab": 9, "length": 40}, "a length of 12 or more, and at most 11 for 8 tokens"),
    ("induction", {"d_vocab": 65, "length": 4}, "sequences of 4 tokens does not fit"),
    ("mod-add", {}, "needs to know the modulus"),
    ("mod-add", {"modulus": 4}, "a modulus of 5 or more"),
    ("mod-add", {"modulus": 49152}, "500 at most"),
    ("mod-add", {"modulus": 5, "n": 100}, "about .* different prompts"),
    ("sorting", {}, "needs its sizes"),
    ("sorting", {"numbers": 3, "length": 10}, "does not fit"),
])
def test_bad_input_says_what_to_do(name, options, message):
    with pytest.raises(BadInput, match=message):
        task(name, **options)


def test_tokens_are_laid_out_as_the_recipes_of_the_garden_have_them():
    g = torch.Generator().manual_seed(0)
    theirs, t = induction_2l.sequences(5, g)[0], task("induction", n=5, d_vocab=induction_2l.RECIPE.sizes["d_vocab"])
    assert (t.clean[:, 0] == theirs[:, 0]).all() and t.clean.shape[1] <= theirs.shape[1]
    sums, n_numbers = mod_add_29.split()[0], sorting_1l.RECIPE.sizes["d_vocab"] - 1
    assert (task("mod-add", n=5, modulus=29).clean[:, 2] == sums[0, 2]).all()
    rows = sorting_1l.sequences(200, g)[:, :-1]
    t = task("sorting", n=5, numbers=n_numbers, length=10)
    assert t.clean.shape[1] == rows.shape[1] and (t.clean[:, 10] == rows[0, 10]).all()
    assert (sorts(t.clean).argmax(-1)[:, 10:-1] == t.clean[:, 11:]).all()
    assert (sorts(rows).argmax(-1)[:, 10:-1] == rows[:, 11:]).all()  # one rule reads both


@pytest.mark.parametrize("name", ["induction", "sorting", "dyck"])
def test_a_model_that_sees_both_sides_is_refused(name):
    model = llama(word_level())
    model.map.causal = False
    with pytest.raises(BadInput, match=f"'{name}' asks for the next token, and tiny-llama sees both sides"):
        task(name, model)


def test_sizes_that_a_model_does_not_have_are_refused():
    model = llama(word_level())
    with pytest.raises(BadInput, match="a token for the equals sign, not modulus 99999 with a vocabulary of"):
        task("mod-add", model, modulus=99999)
    with pytest.raises(BadInput, match="sorting of 10 out of 99999 numbers does not fit.*the model's"):
        task("sorting", model, numbers=99999, length=10)
    with pytest.raises(BadInput, match="dyck has 5 tokens .* not a vocabulary of"):
        task("dyck", model)


def test_words_of_the_recipe_are_those_of_the_task():
    words = dyck_2l.words(50, torch.Generator().manual_seed(0))
    assert words.shape == (50, 33) and (words[:, 0] == dyck.START).all()
    batch = dyck_2l.data(50, torch.Generator().manual_seed(0))
    right = closes(batch.tokens).argmax(-1)
    asked = batch.targets % 2 == 1
    assert (right[asked] == batch.targets[asked]).all()
