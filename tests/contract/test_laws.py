"""The contract, on every family: no exemption list. What cannot hold is declared in the site map, and tested too."""

import pytest
import torch

from interp.adapters import hook
from interp.garden.catalog import catalog
from interp.hooks.check import check_model
from interp.hooks.fingerprint import fingerprint, unchanged
from interp.hooks.tolerances import tolerance
from tests.adapters.tiny import CASES, REFUSED

ALL = CASES | REFUSED
EVERY_LAW = {"fires", "finite", "caching", "own forward", "kept", "equation", "block", "writes", "own value", "changes",
             "round trip", "reaches", "gradient", "unchanged", "deterministic"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", ALL)
def test_model_keeps_every_law(name, dtype):
    model, x = ALL[name].hooked(dtype)
    check = check_model(model, x).raise_if_failed()
    assert {row.law for row in check.rows} >= EVERY_LAW


ENTRIES = {entry.name: entry for entry in catalog()}
SMALL = dict(d_model=32, n_layers=2, n_heads=4, d_vocab=50, n_ctx=16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", ENTRIES)
def test_catalog_member_keeps_every_law(name, dtype):
    entry = ENTRIES[name]
    model = entry.make(seed=0, **{size: value for size, value in SMALL.items() if size in entry.sizes})
    x = entry.example(model)
    with torch.no_grad():  # gains of 1 and biases of 0 would hide a forgotten one
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    check = check_model(model.to(dtype), x.to(dtype) if x.is_floating_point() else x).raise_if_failed()
    assert {row.law for row in check.rows} >= EVERY_LAW


@pytest.mark.parametrize("name", ALL)
def test_forward_equals_the_librarys_own(name):
    case = ALL[name]
    module, x = case.module(), case.inputs()
    with torch.no_grad():
        own = module(**x) if isinstance(x, dict) else module(x)
        own = own if isinstance(own, torch.Tensor) else own.get("logits", own.get("last_hidden_state"))
        ours, cache = hook(module).run_with_cache(x)
        after = hook(module)(x)
    assert (ours - own).abs().max() <= 1e-5 * own.abs().max()
    assert torch.equal(after, own) and len(cache) > 5


@pytest.mark.parametrize("name", ALL)
def test_wrapping_and_running_leaves_the_module_as_it_was(name):
    case = ALL[name]
    module, x = case.module(), case.inputs()
    with torch.no_grad():
        module(**x) if isinstance(x, dict) else module(x)  # what the library sets in its own first forward
    before = fingerprint(module)
    model = hook(module)
    model.run_with_cache(x)
    with pytest.raises(ZeroDivisionError):
        model.run_with_hooks(x, hooks=[("*hook_resid_post", lambda value, site: 1 / 0)])
    assert [row[:3] for row in unchanged(before, fingerprint(module))] == [("unchanged", "module", 0.0)]


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "gpt_neox", "mamba", "t5"])
def test_causal_law_is_tested_where_it_is_declared(name):
    model, x = CASES[name].hooked()
    rows = [row for row in check_model(model, x).rows if row.law == "causal"]
    assert len(rows) > 10 and all(row.tolerance == tolerance("causal", torch.float32) for row in rows)


def test_pattern_and_mixing_laws_reach_every_mixer():
    places = {name: {row.where for row in check_model(*CASES[name].hooked()).rows if row.law == "mixing"}
              for name in ("llama", "mamba2", "swin")}
    assert {f"blocks.{d}.attn.hook_z" for d in range(2)} <= places["llama"]
    assert {f"blocks.{d}.ssm.hook_y" for d in range(2)} <= places["mamba2"]
    assert len(places["swin"]) == 4


def test_pooling_matrix_gives_what_the_mixer_writes():
    """PoolFormer's matrix applies to the normed stream, which is no site; its block says so in its equation."""
    model, x = CASES["poolformer"].hooked()
    cache = model.run_with_cache(x)[1]
    block = model.module.poolformer.encoder.block[0][0]
    stream = cache["blocks.0.hook_resid_pre"]
    side = int(stream.shape[1] ** 0.5)
    normed = block.before_norm(stream.transpose(1, 2).reshape(2, -1, side, side)).flatten(2)
    mixed = (model.mixing_matrix(cache, 0)[0] @ normed.transpose(1, 2)) * block.layer_scale_1
    assert torch.allclose(mixed, cache["blocks.0.hook_mixer_out"], atol=1e-6)
