"""Every page runs on every kind of model, and wrong input anywhere gives a card that says what, why and what to do."""

import pytest

from apps.dashboard.pages import PAGES
from tests.dashboard.helpers import address, button, open_page, said

THERE = [page.name for page in PAGES if page.exists]


@pytest.mark.parametrize("name", THERE)
def test_every_page_runs_as_it_opens_and_shows_no_card_of_an_error(name):
    test = open_page(name)
    assert not test.exception and len(test.title) == 1
    assert ":material/error:" not in said(test)


@pytest.mark.parametrize("name", THERE)
def test_every_page_has_a_line_that_says_what_is_wrong_with_the_model(name):
    test = open_page(name, m="garden/inductoin-2l")
    assert not test.exception and len(test.title) == 1
    assert "induction-2l" in "\n".join([said(test), *(text.value for text in test.sidebar.text)])


@pytest.mark.parametrize(("model", "task", "mode", "node"), [
    ("garden/digits-vit", "digits", "pattern", "L1H2"),
    ("garden/dyck-2l", "dyck", "direct", "MLP1"),
    ("garden/mod-add-29", "mod-add", "gradient", "L0H1"),
    ("garden/sorting-1l", "sorting", "previous", "L0H0"),
])
def test_explore_shows_a_node_of_every_kind_of_model(model, task, mode, node):
    test = open_page("explore", m=model, t=task, view=mode, h=node, n=24)
    assert not test.exception and ":material/error:" not in said(test)
    assert node in [item.value for item in test.subheader]


def test_a_model_without_patterns_shows_its_implicit_mixing_or_only_its_effects(tmp_path):
    import interp

    interp.build("mamba", d_model=16, n_layers=2, d_vocab=40, seed=0).save(tmp_path / "mamba")
    test = open_page("explore", m=tmp_path / "mamba", t="induction", n=12, view="pattern")
    assert not test.exception and ":material/error:" not in said(test)
    assert "implicit mixing in place of attention" in said(test)


def test_knock_out_moves_the_metric_on_held_out_prompts_and_says_the_shrinkage():
    test = button(open_page("explore", h="L0H2"), "Knock out").click().run()
    shown = {item.label: item.value for item in test.metric}
    before, after = (float(number) for number in shown["metric, held-out"].split(" → "))
    assert before > 10 > 0 > after
    assert 0.5 < float(shown["shrinkage"]) < 1.5
    assert "nobody looked at" in said(test)


def test_the_own_prompt_is_compared_and_a_pair_of_other_length_is_explained():
    test = open_page("explore", p="1 2 3 4 1 2 3", c="1 2 5 4 1 2 5", h="L1H2")
    assert not test.exception and ":material/error:" not in said(test)
    assert "held-out" in said(test)  # and why there is none
    wrong = open_page("explore", p="1 2 3 4", c="1 2")
    assert "4 and 2 tokens" in said(wrong)


@pytest.mark.parametrize(("keys", "expected"), [
    ({"t": "no-such-task"}, "there is no task"),
    ({"t": "ioi"}, "needs a tokenizer"),
    ({"m": "garden/nowhere"}, "does not grow here"),
    ({"h": "L9H9"}, "L9H9"),
    ({"p": "one two", "c": "three four"}, "write token ids"),
    ({"p": "999999", "c": "1"}, "token ids run from"),
    ({"m": "smollm2-135m/../../etc"}, "no directory"),
])
def test_wrong_input_in_a_field_of_explore_gives_a_card(keys, expected):
    test = open_page("explore", **keys)
    assert not test.exception
    assert ":material/error:" in said(test) and expected in said(test)
    assert "What to do:" in said(test)


@pytest.mark.parametrize("run", ["nowhere", "..", "../../etc"])
def test_a_run_that_is_not_there_gives_a_card_or_a_notice(run):
    for page in ("circuit", "runs"):
        test = open_page(page, run=run)
        assert not test.exception
        assert "there is no run" in said(test) or "in the address is" in said(test)


def test_a_damaged_run_is_a_card_with_the_reason(runs):
    (runs / "broken").mkdir(parents=True)
    (runs / "broken" / "result.json").write_text("{")
    test = open_page("circuit", run="broken")
    assert not test.exception and "damaged, not valid JSON" in said(test)
    assert not open_page("runs").exception


@pytest.mark.parametrize("keys", [{}, {"thr": 3}, {"thr": 9999}, {"e": "L0H2 -> L1H1 (k)"}, {"h": "L1H1"},
                                  {"e": "no edge", "h": "L7H7"}])
def test_the_circuit_is_drawn_with_whatever_is_selected(keys):
    test = open_page("circuit", run="induction-2l-edges", **keys)
    assert not test.exception and ":material/error:" not in said(test)
    assert "faithfulness" in [item.label for item in test.metric]


def test_cutting_an_edge_is_measured_on_held_out_prompts():
    test = open_page("circuit", run="induction-2l-edges", e="hook_embed -> L0H2 (v)")
    test = button(test, "Cut it on held-out prompts").click().run()
    assert not test.exception and "on 12 held-out prompts" in said(test)


def test_names_and_groups_are_kept_with_a_copy_of_a_run_that_ships(runs):
    test = open_page("circuit", run="induction-2l-edges", h="L0H2")
    next(item for item in test.text_input if item.label == "Name").input("previous token").run()
    test = button(test, "Save a copy among my runs").click().run()
    assert not test.exception and address(test)["run"] == "induction-2l-edges-1"
    assert "previous token" in (runs / "induction-2l-edges-1" / "annotations.json").read_text()
    again = open_page("circuit", run="induction-2l-edges-1", h="L0H2")
    assert "previous token" in [item.value for item in again.subheader]


def test_a_password_is_asked_for_and_a_wrong_one_is_refused(monkeypatch):
    monkeypatch.setenv("INTERP_DASHBOARD_PASSWORD", "opensesame")
    test = open_page("start")
    assert len(test.title) == 0
    test.text_input(key="password").input("wrong").run()
    assert len(test.title) == 0 and "not the password" in said(test)
    test.text_input(key="password").input("opensesame").run()
    assert len(test.title) == 1


def test_a_field_refuses_what_it_cannot_read_and_says_so():
    test = open_page("explore")
    next(field for field in test.text_area if field.label.startswith("Clean")).input("1 2\x00").run()
    assert not test.exception
    assert "That was not taken" in said(test) and "not of the form" in said(test)
    assert "p" not in address(test)
