"""The In-context page: curves now and from a run, the verdict as the rule gives it, probes, and jobs for the rest."""

import pytest

from apps.dashboard import folders, icl_tables, jobs
from interp.results import BadFile
from tests.dashboard.helpers import address, button, open_page, said


def test_curves_are_measured_now_and_end_far_below_where_they_begin():
    test = open_page("icl")
    assert not test.exception and ":material/error:" not in said(test)
    assert "300 fresh prompts of linear" in said(test)
    frame = icl_tables.curves("garden/icl-linear-d5", "linear:d=5", 0).frame.set_index(["predictor", "examples"])
    assert frame.loc[("model", 10), "high"] < 0.1 < 0.5 < frame.loc[("model", 0), "low"]
    assert frame.loc[("least squares", 10), "error"] < 1e-9
    shown = {item.label: item.value for item in test.metric}
    assert shown["error of the model behind 10 examples"] == f"{frame.loc[('model', 10), 'error']:.3g}"


def test_prompts_drawn_otherwise_are_offered_where_they_fit_and_signs_are_scored_by_accuracy():
    assert "linear:d=5,shift=y-scale" in icl_tables.classes("garden/icl-linear-d5")
    assert "teaching:d=8,shift=y-scale" not in icl_tables.classes("garden/icl-teaching")
    test = open_page("icl", icl="garden/icl-teaching", pos=3)
    assert not test.exception and "accuracy of the model behind 3 examples" in [item.label for item in test.metric]


def test_the_verdict_of_the_shipped_run_is_undecided_and_says_why():
    test = open_page("icl", mode="match", pick="Newton", lay=3)
    assert not test.exception and ":material/error:" not in said(test)
    assert "Verdict: **undecided**" in said(test) and "no family is a candidate at depth 2, 3" in said(test)
    assert "It is no candidate here: score 0.568" in said(test)
    found = icl_tables.matched("icl-match-linear-d5")
    assert set(found.table["family"]) >= {"gradient descent", "Newton"} and found.config["prompts"] == 200


def test_probes_of_the_shipped_run_show_the_target_that_gains_most():
    test = open_page("icl", mode="probes", icl="garden/icl-representation")
    assert not test.exception and ":material/error:" not in said(test)
    assert "prediction at x-tokens" in [item.value for item in test.subheader]
    frame = icl_tables.probed("icl-probe-representation")
    assert {"r2", "low", "high", "control", "floor"} <= set(frame.columns)


def test_a_run_of_the_command_line_is_opened(runs):
    from interp.commands.icl import run

    run("garden/icl-teaching", prompts=20, out=runs / "mine")
    test = open_page("icl", icl="garden/icl-teaching", run="mine")
    assert not test.exception and "20 fresh prompts" in said(test)
    with pytest.raises(BadFile, match="holds no matching"):
        icl_tables.matched("mine")
    with pytest.raises(BadFile, match="holds no probes"):
        icl_tables.probed("mine")
    with pytest.raises(BadFile, match="holds no curves"):
        icl_tables.of_run("icl-match-linear-d5")


def test_what_there_is_no_run_of_is_started_as_a_job(monkeypatch):
    asked = {}
    monkeypatch.setattr(jobs, "start", lambda command, **given: asked.update(command=command, **given) or "icl-match-1")
    moved = "representation:d=5,layers=1,shift=x-scale"
    test = open_page("icl", mode="match", icl="garden/icl-representation", fn=moved)
    assert "There is no such run" in said(test).replace("\\", "")
    test = button(test, "Match its depths with algorithms").click().run()
    assert asked == {"command": "icl-match", "model": "garden/icl-representation", "prompts": 200, "seed": 0,
                     "task": moved}
    assert address(test)["run"] == "icl-match-1"


def test_the_jobs_are_the_commands_of_the_command_line():
    from interp.commands import icl_analyses

    assert jobs._function("icl-match") is icl_analyses.match and jobs._function("icl-probe") is icl_analyses.probe


@pytest.mark.parametrize(("keys", "expected"), [
    ({"fn": "lineer"}, "there is no class of functions"),
    ({"fn": "linear:d=9"}, "reads 5 numbers"),
    ({"icl": "garden/induction-2l"}, "reads tokens"),
])
def test_wrong_input_gives_a_card(keys, expected):
    test = open_page("icl", **keys)
    assert not test.exception and ":material/error:" in said(test) and expected in said(test)


def test_shipped_runs_of_learners_are_small():
    for name in ("icl-match-linear-d5", "icl-probe-linear-d5", "icl-probe-representation"):
        size = sum(file.stat().st_size for file in folders.find(name).rglob("*") if file.is_file())
        assert folders.is_shipped(name) and size < 200_000
