"""Narrowing and fusing: identities of the Nystrom step, the ridge by hand, neighbours, and what is refused."""

import pytest
import torch

from interp.architectures import build
from interp.hooks.check import check_model
from interp.results.errors import BadInput
from interp.surgery.drop import drop
from interp.surgery.flatten import flatten
from interp.surgery.fuse import fuse, ridge_map
from interp.surgery.narrow import kept_neurons, leverages, narrow

SIZES = dict(d_model=16, n_layers=4, n_heads=4, d_vocab=30, n_ctx=16)


def _shaken(name, **more):
    model = build(name, seed=0, **SIZES | more).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def _tokens(batch=3):
    return torch.randint(0, 30, (batch, 12), generator=torch.Generator().manual_seed(3))


def _gap(model, other, x):
    with torch.no_grad():
        return float((model(x) - other(x)).abs().max())


def test_leverage_is_the_diagonal_of_the_ridge_projection():
    post = torch.randn(20, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    c = post.T @ post / 20
    literal = (c @ torch.linalg.inv(c + 0.1 * c.diagonal().mean() * torch.eye(6))).diagonal()
    assert torch.allclose(leverages(post, 0.1), literal) and (0 < literal).all() and (literal < 1).all()


def test_as_many_neurons_as_the_rank_reproduce_all_without_ridge():
    """10 neurons that are mixtures of 4: any map of them is a map of the 4 that are kept."""
    generator = torch.Generator().manual_seed(1)
    post = torch.randn(50, 4, generator=generator, dtype=torch.float64) @ torch.randn(
        4, 10, generator=generator, dtype=torch.float64)
    chosen, share = kept_neurons(post, 4, 1e-10)
    assert torch.allclose(post[:, chosen] @ share, post, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_keeping_everything_changes_nothing(name):
    model, x = _shaken(name), _tokens()
    neurons = model.read(x, "blocks.1.mlp.hook_post")["blocks.1.mlp.hook_post"].shape[-1]
    same, report = narrow(model, 1, x, kv_heads=model.site("blocks.1.attn.hook_k").heads, neurons=neurons)
    assert _gap(model, same, x) < 1e-10 and report.error["of_stream"] < 1e-10 and report.removed == 0


def test_a_head_and_neurons_that_write_nothing_are_the_ones_to_go():
    model, x = _shaken("llama", n_kv_heads=2), _tokens()
    with torch.no_grad():
        model.module.blocks[1].attn.o.weight[:, :8] = 0  # heads 0 and 1, which share key/value head 0
        model.module.blocks[1].mlp.up.weight[5:] = 0
    less, report = narrow(model, 1, x, kv_heads=1, neurons=5)
    assert _gap(model, less, x) < 1e-9 and report.removed > 0.1
    assert less.site("blocks.1.attn.hook_q").heads == 2 and less.site("blocks.1.attn.hook_k").heads == 1
    check_model(less, x).raise_if_failed()


def test_a_flattened_block_is_narrowed_to_the_size_of_one():
    model, x = _shaken("gpt"), _tokens()
    flat, _ = flatten(model, 1, x)
    less, report = narrow(flat, 1, x, kv_heads=4, neurons=64)
    dropped = drop(model, ["blocks.2"])[1]
    assert report.parameters == pytest.approx(dropped.parameters, rel=0.01)


def test_the_ridge_map_is_the_regression_by_hand():
    generator = torch.Generator().manual_seed(4)
    a, b = (torch.randn(30, d, generator=generator, dtype=torch.float64) for d in (5, 3))
    lam = 0.5 * a.pow(2).mean()
    literal = torch.linalg.inv(a.T @ a / 30 + lam * torch.eye(5)) @ a.T @ b / 30
    assert torch.allclose(ridge_map(a, b, 0.5), literal.T)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_fused_neighbours_come_closer_on_what_they_were_fitted_on(depth):
    model, x = _shaken("gpt"), _tokens(8)
    fused, report = fuse(model, depth, x, ridge=0.01)
    assert report.error["fused"] < 0.8 * report.error["dropped"]
    cache = fused.run_with_cache(x)[1]
    assert torch.equal(cache[f"blocks.{depth}.hook_resid_pre"], cache[f"blocks.{depth}.hook_resid_post"])
    check_model(fused, x).raise_if_failed()


def test_a_block_that_wrote_nothing_is_fused_without_a_change():
    model, x = _shaken("gpt"), _tokens()
    with torch.no_grad():
        for part in (model.module.blocks[1].attn.o, model.module.blocks[1].mlp.down):
            part.weight.zero_(), part.bias.zero_()
    assert _gap(model, fuse(model, 1, x)[0], x) < 1e-12


@pytest.mark.parametrize(("change", "message"), [
    (lambda m, x: narrow(m, 1, x, neurons=65), "has 64"), (lambda m, x: narrow(m, 1, x, kv_heads=0), "has 4"),
    (lambda m, x: narrow(m, 9, x), "no block 'blocks.9'"),
    (lambda m, x: fuse(drop(m, ["blocks.1"])[0], 1, x), "taken out before"),
    (lambda m, x: fuse(build("attn-only", **SIZES), 1, x), "no neighbour with an MLP"),
])
def test_what_cannot_be_done_is_refused(change, message):
    with pytest.raises(BadInput, match=message):
        change(_shaken("gpt"), _tokens())
