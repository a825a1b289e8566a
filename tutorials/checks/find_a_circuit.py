"""Checks of notebook 07."""

import numpy as np
import torch
from lesson import check

import interp


@check
def precision_recall(answer) -> None:
    """precision and recall of a circuit"""
    cases = (({1, 2, 3, 4}, {1, 2, 9}, (0.5, 2 / 3)), ({9}, {1, 9}, (1.0, 0.5)), (set(), {1}, (1.0, 0.0)))
    for found, truth, right in cases:
        given = answer(found, truth)
        assert np.allclose(given, right), f"found {found} of {truth}: precision and recall are {right}, not {given}"


@check
def both_ways(answer) -> None:
    """the larger of removing and restoring"""
    model = interp.load("garden/dyck-2l")
    task = interp.task("dyck", model=model, n=12, seed=0)
    task = task.rows(np.flatnonzero(np.arange(12) % 2 == 0))  # one role of every pair, so that directions differ
    sources = [interp.Source("blocks.0.hook_mlp_out"), interp.Source("blocks.1.attn.hook_z", head=1),
               interp.Source("blocks.1.attn.hook_z", head=3)]
    clean, corrupt = (interp.Counterfactual(x) for x in (task.clean, task.corrupt))
    off = interp.effects(model, task.clean, sources, task.metric, baseline=corrupt).mean
    on = -interp.effects(model, task.corrupt, sources, task.metric, baseline=clean).mean
    found = torch.as_tensor(answer(model, task, sources)).float()
    assert found.shape == (3,), f"one number a source, not shape {list(found.shape)}"
    right = torch.where(off.abs() >= on.abs(), off, on)
    assert (off - on).abs().max() > 0.05, "the check needs prompts on which the two directions differ"
    assert torch.allclose(found, right, atol=1e-3), f"it is {right.tolist()}, not {found.tolist()}"


@check
def largest_missed(answer) -> None:
    """what a shortlist can miss"""
    cheap, exact = np.array([3.0, -2.0, 0.1, 0.5]), np.array([1.0, 0.2, -5.0, 0.3])
    for k, right in ((1, 5.0), (2, 5.0), (3, 5.0), (4, 0.0)):
        found = answer(cheap, exact, k)
        assert abs(found - right) < 1e-9, f"with {k} on the shortlist it is {right}, not {found}"
    cheap, exact = np.array([1.0, -4.0, 2.0]), np.array([0.5, 9.0, 0.1])
    found = answer(cheap, exact, 1)
    assert abs(found - 0.5) < 1e-9, f"the shortlist goes by size, and -4 is the largest: 0.5 is missed, not {found}"
