"""Erasure and integrated gradients over depth: plain loops, causality, completeness."""

import numpy as np
import pytest
import torch

from interp.depth import erasure, integrated_gradients
from interp.garden.loading import load
from interp.hooks import Patch
from interp.lens.stream import points
from interp.results import BadInput
from interp.tasks import task
from tests.depth.test_engine import ids, model_of


@pytest.mark.parametrize("name", ["gpt", "post-norm", "looped"])
def test_erasure_is_a_patch_with_the_mean_of_the_depth(name):
    model, x = model_of(name), ids()
    found, sites = erasure(model, x), points(model)
    clean = model.read(x, sites)
    for i, t in ((0, 2), (1, 8), (3, 8), (2, 0)):
        mean = clean[sites[i]][:, 1:].mean((0, 1))
        with model.edit(Patch(sites[i], mean, pos=t)):
            edited = model(x)
        literal = (edited.softmax(-1) - model(x).softmax(-1)).norm(dim=-1)[:, -1]
        assert torch.allclose(found.values[i, t], literal, atol=1e-5)


def test_at_the_last_depth_only_the_token_that_is_read_matters():
    found = erasure(model_of("gpt"), ids())
    assert (found.values[-1, :-1] == 0).all() and (found.values[-1, -1] > 0).all()
    assert (found.last_depth()[-1] == 3).all() and (found.last_depth()[:-1] < 3).all()
    assert found.figure().data[0].z.shape == (4, 9)


def test_small_budgets_and_chosen_tokens_agree_with_the_whole():
    model, x = model_of("gpt"), ids()
    whole, some = erasure(model, x), erasure(model, x, tokens=[1, -1], budget=1)
    assert torch.allclose(whole.values[:, [1, 8]], some.values, atol=1e-6)
    with pytest.raises(BadInput, match="not all there"):
        erasure(model, x, tokens=[9])


def metric(output: torch.Tensor) -> torch.Tensor:
    return output[:, -1].softmax(-1)[:, 3]


def test_integrated_gradients_are_complete_and_those_of_many_small_steps():
    model, x = model_of("gpt"), ids()
    found = integrated_gradients(model, x, metric)
    assert float(found.gap.max()) <= 1e-4
    total = found.values.sum(-1)
    assert torch.allclose(total, found.clean - found.at_baseline, atol=1e-5)
    site = points(model)[1]
    value = model.read(x, site)[site]
    base = value[:, 1:].mean((0, 1)).expand_as(value)
    literal, steps = torch.zeros(value.shape[:2]), 120
    for k in range(steps):
        point = (base + (k + 0.5) / steps * (value - base)).requires_grad_()
        out = model.run_with_hooks(x, [(site, lambda v, s, point=point: point)])
        (grad,) = torch.autograd.grad(metric(out).sum(), point)
        literal += ((value - base) * grad).sum(-1) / steps
    assert torch.allclose(found.values[1], literal, atol=5e-5)


@pytest.mark.parametrize("name", ["post-norm", "parallel", "ladder", "looped"])
def test_every_wiring_is_complete(name):
    model = model_of(name).to(torch.float64)  # in float32 rounding is more than 1e-4 of a metric that hardly moves
    assert float(integrated_gradients(model, ids(), metric, "blocks.*.hook_attn_out").gap.max()) <= 1e-4


def test_at_the_last_depth_the_read_token_has_all_of_the_attribution():
    model = load("garden/induction-2l")
    t = task("induction", model=model, n=3, seed=0)
    found = integrated_gradients(model, t.clean, t.metric, points(model)[-1:])
    assert (found.values[0, :, :-1] == 0).all() and float(found.gap.max()) <= 1e-4
    assert torch.allclose(found.clean, t.metric(model(t.clean)), atol=1e-4)
    assert np.isfinite(found.frame()["attribution"]).all() and found.figure().data
    with pytest.raises(BadInput, match="of the tokens"):
        integrated_gradients(model, t.clean, t.metric, ["blocks.0.attn.hook_pattern"])
