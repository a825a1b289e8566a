"""The Patch page: maps for every kind of model, what one patch does, and wrong input is a card."""

import numpy as np
import pytest

from apps.dashboard import patched
from apps.dashboard.results import Question
from tests.dashboard.helpers import address, open_page, said


@pytest.mark.parametrize("keys", [
    {"dir": "remove", "part": "attn", "met": "log-probability", "on": "all", "lay": 1, "pos": 30},
    {"m": "garden/digits-vit", "t": "digits", "part": "heads"},
    {"m": "garden/repeats-gla", "t": "induction", "part": "mlp", "pos": 900, "lay": 400},
    {"p": "1 2 3 4 1 2 3", "c": "1 2 5 4 1 2 5", "part": "mlp", "mode": "gradient"},  # no MLPs: the first part there is
])
def test_parts_are_patched_in_every_kind_of_model(keys):
    test = open_page("patch", n=12, **keys)
    assert not test.exception and ":material/error:" not in said(test)
    assert {"metric, this prompt", "share of the difference"} <= {item.label for item in test.metric}


def test_the_strongest_patch_brings_the_answer_back_here_and_on_held_out_prompts():
    test = open_page("patch")
    shown = {item.label: item.value for item in test.metric}
    before, after = (float(number) for number in shown["metric, this prompt"].split(" → "))
    assert before < -10 and after > 10 and shown["share of the difference"] == "100%"
    assert float(shown["effect, held-out"]) > 20
    table = next(item.value for item in test.dataframe if "patched" in item.value.columns)
    assert table["patched"].iloc[0] == pytest.approx(table["clean"].iloc[0], abs=1e-3) and table["clean"].iloc[0] > 0.9
    assert table["corrupted"].iloc[0] < 0.01


def test_where_there_is_no_time_for_all_the_largest_estimates_are_measured(monkeypatch):
    monkeypatch.setattr(patched, "NOW", 5e7)
    monkeypatch.setattr(patched, "ROWS", 4)
    q = Question("garden/induction-2l", "induction", 12, 5)
    found = patched.maps.__wrapped__(q, 0, "one", "heads", "restore", "")
    measured = ~np.isnan(found.exact.mean)
    assert not found.complete and "cells are measured exactly" in found.note and "4 of 8 heads" in found.note
    left = np.abs(found.estimate.mean[~measured])
    assert np.abs(found.estimate.mean[measured]).min() >= left.max() and measured.sum() < measured.size


@pytest.mark.parametrize(("keys", "expected"), [
    ({"t": "no-such-task"}, "there is no task"),
    ({"p": "1 2 3 4", "c": "1 2"}, "4 and 2 tokens"),
])
def test_wrong_input_gives_a_card(keys, expected):
    test = open_page("patch", **keys)
    assert not test.exception and ":material/error:" in said(test) and expected in said(test)


def test_another_part_lets_the_row_go():
    test = open_page("patch", lay=2, pos=48)
    next(item for item in test.button_group if item.label == "Part").set_value("heads").run()
    assert not test.exception and address(test) == {"part": "heads", "pos": "48"}
