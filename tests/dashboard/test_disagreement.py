"""The Disagreement page: reasons are those of the library, a node is looked at, and long work is a job."""

import pytest

from apps.dashboard.pages import disagreement
from tests.dashboard.helpers import address, button, open_page, said


def test_nodes_stand_in_the_order_of_their_disagreement_with_reasons():
    import interp
    from interp.discovery.disagreement import REASONS
    from interp.discovery.disagreement import disagreement as compare

    test = open_page("disagreement", m="garden/digits-vit", t="digits", n=24)
    assert not test.exception and ":material/error:" not in said(test)
    model = interp.load("garden/digits-vit")
    expected = compare(model, interp.task("digits", model=model, n=24, seed=0).part("discover")).frame()
    first = expected.iloc[0]
    assert first["node"] in [item.value for item in test.subheader]
    assert REASONS[first["reason"]] in said(test).replace("\\", "")
    counts = expected["reason"].value_counts()
    assert {item.label: int(item.value) for item in test.metric} == counts.to_dict()


def test_a_node_is_knocked_out_on_held_out_prompts():
    test = open_page("disagreement", h="L0H2", n=24)
    test = button(test, "Knock it out on held-out prompts").click().run()
    assert not test.exception and "Without L0H2 the metric loses" in said(test) and "held-out prompts" in said(test)


@pytest.mark.parametrize("keys", [
    {"m": "garden/repeats-llama", "t": "induction"},
    {"h": "L9H9", "run": "induction-2l"},  # a node that is not there, a run of another kind
])
def test_it_works_for_other_models_and_with_what_is_not_there(keys):
    test = open_page("disagreement", n=12, **keys)
    assert not test.exception and ":material/error:" not in said(test)


def test_what_the_model_does_not_do_is_not_explained():
    test = open_page("disagreement", m="garden/repeats-gla", t="induction", n=12)
    assert not test.exception and "repeats-gla does not do induction here" in said(test)


def test_what_takes_long_is_a_job_and_its_run_is_shown(monkeypatch, runs):
    from interp.commands.circuits import disagreement as command

    monkeypatch.setattr(disagreement.results, "EXACT", 1.0)
    disagreement.fits_now.clear()
    test = open_page("disagreement", m="garden/sorting-1l", t="sorting", n=12)
    assert "were not compared" in said(test) and button(test, "Compare the methods")
    command("sorting", "garden/sorting-1l", n=12, out=runs / "mine")
    test = open_page("disagreement", m="garden/sorting-1l", t="sorting", n=12, run="mine")
    disagreement.fits_now.clear()
    assert not test.exception and ":material/error:" not in said(test)
    assert "run mine" in said(test) and address(test)["run"] == "mine"


def test_wrong_input_gives_a_card():
    test = open_page("disagreement", t="no-such-task")
    assert not test.exception and ":material/error:" in said(test) and "there is no task" in said(test)
