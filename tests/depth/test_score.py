"""Depth scores by hand, and tasks of growing difficulty with intervals."""

import pytest
import torch

from interp.depth import depth_score, depth_scores
from interp.results import BadInput
from interp.tasks.hops import pointers


def test_scores_by_hand():
    strength = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 2.0, 2.0]])
    assert depth_score(strength).tolist() == pytest.approx([0.0, 1.0, (0.5 + 2) / 4])
    assert depth_score(torch.ones(5, 2)).tolist() == pytest.approx([0.5, 0.5])
    with pytest.raises(BadInput, match="two blocks"):
        depth_score(torch.ones(1, 2))
    with pytest.raises(BadInput, match="changes nothing"):
        depth_score(torch.zeros(3, 2))


def test_tasks_are_scored_and_tabled():
    from interp.garden.catalog import build

    model = build("gpt", d_model=16, n_layers=3, n_heads=2, d_vocab=23, n_ctx=20)
    found = depth_scores(model, {f"{k} hops": pointers(model, 8, 0, hops=k) for k in (1, 3)})
    frame = found.frame()
    assert frame["task"].tolist() == ["1 hops", "3 hops"] and frame["output"].between(0, 1).all()
    assert (frame["later_low"] <= frame["later"]).all() and (frame["later"] <= frame["later_high"]).all()
    assert len(found.figure().data[0].x) == 4
    wrong = depth_scores(model, {"a": pointers(model, 24, 0)}, right_only=True)
    assert 0 < len(wrong.values["a"]["output"]) < 24
