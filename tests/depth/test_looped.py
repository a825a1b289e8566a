"""Loops visit by visit: fixed points made by hand, more loops than there were, tokens by their number of visits."""

import numpy as np
import pytest
import torch

from interp.architectures import build
from interp.depth.looped import by_loops, loops, recursion_depths, visits, with_loops
from interp.results.errors import BadInput, MissingSite
from tests.adapters import tiny

SIZES = dict(d_model=16, n_heads=4, d_vocab=30, n_ctx=16)


def _tokens():
    return torch.randint(0, 30, (3, 9), generator=torch.Generator().manual_seed(3))


def _metric(logits):
    return logits.detach().logsumexp(-1).mean(-1)


@pytest.mark.parametrize(("name", "expected"), [
    ("looped", {"blocks.0": 4}), ("mor", {"blocks.0": 3}), ("algoformer", {"blocks.1": 2}),
    ("relaxed-recursive", {"blocks.0": 4}), ("widenet", {"blocks.0": 2}),
])
def test_loops_are_the_depths_that_share_weights(name, expected):
    assert {path: len(blocks) for path, blocks in loops(build(name, **SIZES)).items()} == expected


def test_residual_and_contraction_are_ratios_of_steps():
    model, x = build("looped", **SIZES), _tokens()
    cache = model.run_with_cache(x)[1]
    z = [cache["blocks.0.hook_resid_pre"], *(cache[f"blocks.{d}.hook_resid_post"] for d in range(4))]
    frame = visits(model, x, _metric).frame()
    steps = [(b - a).norm(dim=-1) for a, b in zip(z, z[1:])]
    assert frame["residual"][2] == pytest.approx(float((steps[2] / z[2].norm(dim=-1)).mean()), rel=1e-4)
    assert frame["contraction"][3] == pytest.approx(float((steps[3] / steps[2]).mean()), rel=1e-4)
    assert np.isnan(frame["contraction"][0]) and frame["visit"].tolist() == [0, 1, 2, 3]
    assert frame["loss"][3] == pytest.approx(float(_metric(model(x)).mean()), rel=1e-5)


def test_a_loop_that_halves_its_distance_contracts_by_a_half():
    """x += (c - x) / 2 by an MLP that reads a stream without norms: every step is half the one before."""
    from dataclasses import replace

    from interp.architectures.gpt import GPT, MLP
    from interp.parts.model import build_model
    from interp.parts.sitemap import hook

    block = (replace(MLP, norm_in=None, reads="resid_pre", op=lambda spec: _Half(spec.d_model)),)
    spec = replace(GPT, block=block, norm=None, tied=("blocks",), **SIZES | {"n_layers": 5})
    frame = visits(hook(build_model(spec, seed=0)), _tokens()).frame()
    assert np.allclose(frame["contraction"][1:], 0.5, atol=1e-4)


class _Half(torch.nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.down = torch.nn.Linear(d_model, d_model)

    def forward(self, x, context=None):
        return (1.0 - x) / 2 + 0 * self.down(x)

    def declare(self, d, path):
        pass


@pytest.mark.parametrize("name", ["looped", "algoformer"])
def test_as_many_loops_change_nothing_and_more_go_on(name):
    model, x = build(name, **SIZES), _tokens()
    own = max(map(len, loops(model).values()))
    with torch.no_grad():
        assert torch.equal(with_loops(model, own)(x), model(x))
    more = with_loops(model, own + 3)
    assert more.n_layers == model.n_layers + 3 and len(list(more.parameters())) == len(list(model.parameters()))
    frame = by_loops(model, x, _metric, [1, own, own + 3])
    assert frame["trained"].tolist() == [own == 1, True, False]
    assert frame["value"][1] == pytest.approx(float(_metric(model(x)).mean()))


def test_albert_is_given_more_loops_in_a_copy():
    model, x = tiny.CASES["albert"].hooked()
    own = model.n_layers
    with torch.no_grad():
        assert torch.equal(with_loops(model, own)(x), model(x))
        more = with_loops(model, own + 2).run_with_cache(x)[1]
        assert torch.equal(more[f"blocks.{own - 1}.hook_resid_post"],
                           model.run_with_cache(x)[1][f"blocks.{own - 1}.hook_resid_post"])
    assert f"blocks.{own + 1}.hook_resid_post" in more and model.module.config.num_hidden_layers == own


def test_tokens_are_counted_by_the_router():
    model, x = build("mor", **SIZES), _tokens()
    depth = model.run_with_cache(x, "blocks.0.router.hook_depth")[1]["blocks.0.router.hook_depth"]
    found = recursion_depths(model, x)
    assert found["tokens"].tolist() == [int((depth == d).sum()) for d in range(4)]
    assert found["share"].sum() == pytest.approx(1)
    shares = recursion_depths(build("mor-expert", **SIZES), x)["tokens"].tolist()
    assert shares == [0, 9, 9, 9]  # of three visits the r-th keeps 1 - r / 3


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda x: loops(build("gpt", **SIZES)), BadInput, "share weights"),
    (lambda x: with_loops(build("mor", **SIZES), 5), BadInput, "router"),
    (lambda x: with_loops(build("relaxed-recursive", **SIZES), 5), BadInput, "weights of their own"),
    (lambda x: with_loops(build("looped", **SIZES), 0), BadInput, "1 at least"),
    (lambda x: recursion_depths(build("looped", **SIZES), x), MissingSite, "no router"),
    (lambda x: recursion_depths(build("widenet", **SIZES), x), MissingSite, "no router"),
])
def test_what_has_no_loops_or_routers_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make(_tokens())
