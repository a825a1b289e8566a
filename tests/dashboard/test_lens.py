"""The Lens page: what it says is what the library says, for every kind of model, and wrong input is a card."""

import pytest

from apps.dashboard import depth_readings
from apps.dashboard.results import Question
from tests.dashboard.helpers import address, open_page, said


@pytest.mark.parametrize("keys", [
    {"mode": "probability", "of": "next", "lay": 1, "pos": 20, "fol": "5"},
    {"m": "garden/digits-vit", "t": "digits"},
    {"m": "garden/repeats-gla", "t": "induction", "mode": "kl", "pos": 900, "lay": 400},
    {"m": "garden/icl-linear-d5", "t": "between"},
    {"p": "1 2 3 4 1 2 3", "c": "1 2 5 4 1 2 5"},
])
def test_every_depth_is_read_in_every_kind_of_model(keys):
    test = open_page("lens", n=12, **keys)
    assert not test.exception and ":material/error:" not in said(test)
    assert any(item.value.startswith("Over depth") for item in test.subheader)


def test_the_cell_shows_what_the_depth_answers_and_the_task_s_answers_are_followed():
    test = open_page("lens", of="task")
    q = Question("garden/induction-2l", "induction", 48, 0)
    found = depth_readings.read(q, 0, "task", "logit")
    shown = next(item.value for item in test.dataframe if list(item.value.columns) == ["id", "token", "probability"])
    assert shown["token"].tolist() == [token for _, token, _ in found.top[-1][-1]]
    assert found.frame["probability"].iloc[-1] > 0.9  # the model does this task, at the last position
    assert set(depth_readings.asked(q, 0, "").values()) == {"right answer", "wrong answer"}


def test_the_tuned_lens_says_what_it_was_fitted_on_and_how_it_does_on_this_prompt():
    test = open_page("lens", lens="tuned")
    assert not test.exception and ":material/error:" not in said(test)
    assert any("other prompts of this task (seed 1)" in item.label for item in test.expander)
    q = Question("garden/induction-2l", "induction", 48, 0)
    plain, tuned = (depth_readings.read(q, 0, "answer", kind).values["kl"] for kind in ("logit", "tuned"))
    assert tuned[-1].max() < 1e-4
    assert all(f"{values[:-1].mean():.3g}" in said(test) for values in (plain, tuned))
    errors = list(depth_readings.tuned(q).lens.error.values())
    assert errors[0] > errors[1] > errors[2] == 0  # what no affine map of an early stream can know


@pytest.mark.parametrize(("keys", "expected"), [
    ({"fol": "the cat"}, "has no tokenizer"),
    ({"fol": "9999"}, "run from 0 to 64"),
    ({"m": "garden/sorting-1l", "t": "no-such-task"}, "there is no task"),
])
def test_wrong_input_gives_a_card(keys, expected):
    test = open_page("lens", **keys)
    assert not test.exception and ":material/error:" in said(test) and expected in said(test)


def test_another_prompt_lets_the_cell_go():
    test = open_page("lens", pos=20, lay=1)
    next(field for field in test.number_input if field.label == "Prompt").set_value(3).run()
    assert not test.exception and address(test) == {"row": "3"}
