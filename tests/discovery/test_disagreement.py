"""The reasons why methods disagree, on a model whose OR and idle heads were written by hand, and on a trained one."""

import numpy as np
import pytest

import interp
from interp.discovery.disagreement import NOTHING, REASONS, disagreement, reasons
from interp.discovery.nodes import nodes
from interp.results import BadInput
from tests.discovery.hand import HEADS, UNIVERSE, hand_model, on_off

AGREE = {"removing": 1.0, "restoring": 1.1, "tangent": 0.9, "small_change": 1.0, "relp": 1.0, "direct": 1.0}


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({}, "agree"),
        ({"removing": 0.1, "tangent": 0.1}, "repair"),
        ({"restoring": 0.1}, "joint"),
        ({"tangent": 0.2, "small_change": 0.2}, "saturation"),
        ({"tangent": 3.0}, "overshoot"),
        ({"direct": 3.0}, "cancellation"),
        ({"removing": 0.01, "restoring": 0.03, "tangent": 0.0, "direct": 0.0}, "agree"),  # below the floor
    ],
)
def test_the_pattern_of_the_numbers_names_the_reason(changed, expected):
    largest = AGREE | {"removing": 1.0, "restoring": 1.0}  # a node that sets the floor to 0.05
    both = {name: [value, largest[name]] for name, value in (AGREE | changed).items()}
    assert list(reasons(both)) == [expected, "agree"]


def test_support_is_how_often_other_prompts_say_the_same():
    model = interp.load("garden/induction-2l")
    part = interp.task("induction", model=model, n=24, seed=0).part("discover")
    table = disagreement(model, part).frame()
    told = table[table["reason"] != NOTHING]
    assert told["support"].between(0, 1).all() and (told["support"] > 0.95).any() and len(told) < len(table)
    assert table.loc[table["reason"] == NOTHING, "support"].isna().all()
    assert ((table["low"] <= table["removing"]) & (table["removing"] <= table["high"])).all()
    assert disagreement(model, part.rows([0])).frame()["support"].isna().all()  # one prompt says nothing of others
    # literally, for resamples of the prompts: clusters are prompts here
    universe = nodes(model)
    rows = [disagreement(model, part.rows([i]), universe).frame().set_index("node") for i in range(len(part))]
    names = ["removing", "restoring", "tangent", "direct"]
    each = {name: np.array([[row.loc[n.label, name] for n in universe] for row in rows]) for name in names}
    generator, labels = np.random.default_rng(3), [n.label for n in universe]
    found = table.set_index("node").loc[labels, "reason"].to_numpy()
    same = []
    for _ in range(400):
        drawn = generator.integers(len(part), size=len(part))
        same.append(reasons({name: values[drawn].mean(0) for name, values in each.items()}) == found)
    assert np.abs(np.mean(same, 0) - table.set_index("node").loc[labels, "support"])[found != NOTHING].max() < 0.13


def test_noise_is_not_explained():
    model = interp.load("garden/text-small")
    part = interp.task("induction", model=model, n=24, seed=0).part("discover")
    with pytest.raises(BadInput, match="text-small does not do induction here: clean minus corrupt is .*: use more"):
        disagreement(model, part)
    model = interp.load("garden/induction-2l")
    part = interp.task("induction", model=model, n=24, seed=0).part("discover")
    table = disagreement(model, part).frame()
    idle = (table["low"] <= 0) & (table["high"] >= 0) & (table["restoring"].abs() < 0.1)
    assert idle.any() and set(table.loc[idle, "reason"]) == {NOTHING}
    assert set(table.loc[idle, "why"]) == {REASONS[NOTHING]}
    assert NOTHING in {trace.name for trace in disagreement(model, part).figure().data}


def test_backups_and_conjunctions_written_by_hand_are_named():
    found = disagreement(hand_model(), on_off(), UNIVERSE).frame().set_index("node")
    assert found.loc[HEADS[0].label, "reason"] == found.loc[HEADS[1].label, "reason"] == "repair"
    unread = found.loc[HEADS[3].label, ["removing", "restoring", "tangent", "direct"]]
    assert unread.abs().max() < 1e-6


def test_a_trained_induction_head_is_hidden_from_the_tangent_by_its_softmax():
    model = interp.load("garden/induction-2l")
    part = interp.task("induction", model=model, n=24, seed=0).part("discover")
    found = disagreement(model, part, nodes(model, qkv=True))
    table = found.frame().set_index("node")
    assert table.loc["L0H2", "reason"] == "saturation" and table.loc["L1H2.k", "reason"] == "saturation"
    assert table.loc["L1H2", "reason"] == "agree" and table.loc["L0H1", "reason"] == NOTHING
    assert set(table["reason"]) <= set(REASONS) and table["why"].notna().all()
    assert {trace.name for trace in found.figure().data} >= {"saturation", "agree", "equal"}
