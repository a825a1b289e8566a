"""Tied blocks: exact where depths are equal already, shared by visits, and fitted towards the model."""

import numpy as np
import pytest
import torch

from interp.architectures import build
from interp.depth.surrogate import fidelity, fit_surrogate
from interp.depth.tied import tied
from interp.hooks.check import check_model
from interp.results.errors import BadInput

SIZES = dict(d_model=16, n_layers=4, n_heads=4, d_vocab=30, n_ctx=16)


def _tokens(batch=3, seed=3):
    return torch.randint(0, 30, (batch, 9), generator=torch.Generator().manual_seed(seed))


def _shaken(name="gpt"):
    model = build(name, seed=0, **SIZES)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return model


@pytest.mark.parametrize("start", ["first", "middle", "average"])
@pytest.mark.parametrize("segments", [[[0, 1], [2, 3]], [[0, 2], [1, 3]]])
def test_where_blocks_are_equal_already_the_surrogate_is_the_model(segments, start):
    model, x = _shaken(), _tokens()
    for part in segments:
        for depth in part[1:]:
            model.module.blocks[depth].load_state_dict(model.module.blocks[part[0]].state_dict())
    surrogate, report = fit_surrogate(model, segments, x, x, steps=0, start=start)
    with torch.no_grad():
        assert torch.allclose(surrogate(x), model(x), atol=1e-6)
    assert np.allclose(report.r2, 1, atol=1e-6) and np.allclose(report.r2_taught, 1, atol=1e-6)
    assert report.parameters < report.parameters_before


@pytest.mark.parametrize("name", ["gpt", "llama", "parallel", "post-norm"])
def test_one_block_a_depth_is_the_model_and_tied_ones_keep_the_contract(name):
    model, x = _shaken(name), _tokens()
    with torch.no_grad():
        assert torch.equal(tied(model, [[0], [1], [2], [3]])(x), model(x))
    two = tied(model, [[0, 3], [1, 2]])
    check_model(two, x).raise_if_failed()
    assert [s.name for s in two.tied("blocks.3.hook_resid_post")] == ["blocks.0.hook_resid_post",
                                                                      "blocks.3.hook_resid_post"]
    cache = two.run_with_cache(x)[1]
    before = {k: v.clone() for k, v in cache.items() if "hook_resid_post" in k}
    block = two.module.blocks[0]
    assert two.map.blocks["blocks.3"].path == "blocks.0" and len(before) == 4
    assert sum(p.numel() for p in block.parameters()) * 2 + sum(
        p.numel() for n, p in two.module.named_parameters() if "blocks" not in n) == sum(
        p.numel() for p in two.parameters())


def test_fitting_comes_closer_and_leaves_the_model_alone():
    model, x = _shaken(), _tokens(48)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    start = fidelity(model, tied(model, [[0, 1], [2, 3]]), x)[0]
    surrogate, report = fit_surrogate(model, [[0, 1], [2, 3]], x, x, steps=40, batch=16, rate=3e-3)
    assert report.r2[-1] > start[-1] + 0.05 and np.mean(report.history[-5:]) < np.mean(report.history[:5])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    again = fit_surrogate(model, [[0, 1], [2, 3]], x, x, steps=40, batch=16, rate=3e-3)[1]
    assert np.array_equal(again.history, report.history) and report.figure().data and len(report.frame()) == 4


def test_fidelity_is_r2_of_every_depth():
    model, x = _shaken(), _tokens()
    other = tied(model, [[0, 1, 2, 3]])
    a, b = (m.run_with_cache(x)[1]["blocks.2.hook_resid_post"].flatten(0, 1) for m in (model, other))
    literal = 1 - float((a - b).pow(2).sum() / (a - a.mean(0)).pow(2).sum())
    assert fidelity(model, other, x)[0][2] == pytest.approx(literal, abs=1e-5)


@pytest.mark.parametrize(("name", "segments", "message"), [
    ("gpt", [[0, 1], [2]], "once"), ("gpt", [[0, 1], [1, 2, 3]], "once"), ("gpt", [[0, 1, 2, 3], []], "once"),
    ("looped", [[0, 1], [2, 3]], "more than once already"),
])
def test_segments_that_do_not_fit_are_refused(name, segments, message):
    with pytest.raises(BadInput, match=message):
        tied(build(name, **SIZES), segments)
