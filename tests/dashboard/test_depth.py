"""The Depth page: measured now or from a run, blocks taken away, and what a model has not is said."""

import pytest
import torch

import interp
from apps.dashboard import depth_tables, state
from apps.dashboard.results import Question
from interp.surgery.drop import dropped
from tests.dashboard.helpers import address, open_page, said


def test_blocks_are_taken_away_and_the_loss_on_text_rises(monkeypatch):
    monkeypatch.setattr(depth_tables, "WINDOWS", 3)
    monkeypatch.setattr(depth_tables, "DRAWS", 2)
    test = open_page("depth", m="garden/text-small", cut=1, lay=3, mode="direction", by="last", n=12)
    assert not test.exception and ":material/error:" not in said(test)
    assert "Without **L3** the loss is" in said(test) and "held-out documents" in said(test)
    assert "output without L3" in [item.label for item in test.metric]
    q = Question("garden/text-small", "induction", 12, 0)
    order = tuple(depth_tables.blocks(q.model)[::-1])
    curve = depth_tables.curve(q, "text", order)
    assert curve["quality"].iloc[-1] > curve["quality"].iloc[1] > curve["quality"].iloc[0] + 0.05
    assert curve["random"].iloc[0] == pytest.approx(curve["quality"].iloc[0])
    whole, without = depth_tables.without(q, "text", ((), order[:1]))
    assert (whole.value, without.value) == pytest.approx(tuple(curve["quality"][:2]))


@pytest.mark.parametrize("keys", [
    {"m": "garden/digits-vit", "t": "digits", "mode": "answer"},
    {"m": "garden/repeats-gla", "t": "induction", "cut": 99, "lay": 99, "by": "turn", "skip": "future",
     "run": "induction-2l"},
])
def test_other_kinds_of_models_have_depths_too_and_a_run_of_another_kind_is_left_alone(keys):
    test = open_page("depth", n=12, **keys)
    assert not test.exception and ":material/error:" not in said(test)
    assert address(test).get("run") == keys.get("run")
    assert "at least four are needed" in said(test)


def test_without_its_blocks_a_model_loses_the_metric_exactly_as_when_their_writes_are_held_at_zero(monkeypatch):
    model = interp.load("garden/sorting-1l")
    part = interp.task("sorting", model=model, n=12, seed=0).part("test")
    q = Question("garden/sorting-1l", "sorting", 12, 0)
    monkeypatch.setattr(state, "get", {"n": 12, "seed": 0}.get)
    whole, left = depth_tables.without(q, "task", ((), ("blocks.0",)))
    with torch.no_grad(), dropped(model, ["blocks.0"]):
        assert left.value == pytest.approx(float(part.metric(model(part.clean)).mean()), abs=1e-4)
    assert whole.value > left.value + 5


def test_what_takes_long_is_a_job_whose_run_is_then_shown(monkeypatch, runs):
    from interp.commands.depth import depth

    monkeypatch.setattr(depth_tables, "NOW", 1.0)
    depth_tables.fits_now.clear()
    test = open_page("depth", n=12)
    assert "were not measured yet" in said(test)
    assert [item.label for item in test.button if item.label == "Measure its depths"]
    depth("garden/induction-2l", task="induction", n=12, out=runs / "depth-1")
    test = open_page("depth", n=12, run="depth-1", cut=1)
    depth_tables.fits_now.clear()
    assert not test.exception and ":material/error:" not in said(test)
    assert "run depth-1" in said(test) and "Without **" in said(test) and "one point at a time" in said(test)
