"""The contract, on every family: no exemption list. What cannot hold is declared in the site map, and tested too."""

import json
import re
from pathlib import Path

import pytest
import torch

from interp.adapters import hook
from interp.architectures.contract import check_entry, places, shaken
from interp.garden.catalog import catalog
from interp.hooks.check import check_model
from interp.hooks.fingerprint import fingerprint, unchanged
from interp.hooks.tolerances import tolerance
from interp.results.errors import RequiresPattern
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
RECORD = json.loads((Path(__file__).parents[2] / "docs" / "laws.json").read_text())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", ENTRIES)
def test_catalog_member_keeps_every_law(name, dtype):
    """And at as many places as docs/laws.md says: a law that reaches fewer sites than before fails here."""
    check = check_entry(ENTRIES[name], dtype).raise_if_failed()
    assert {row.law for row in check.rows} >= EVERY_LAW
    recorded = RECORD.get(name, {}).get("places", {}).get(str(dtype).removeprefix("torch."))
    assert places(check) == recorded, "another count than in docs/laws.md; run: python docs/generate_laws.py"


def test_record_of_laws_is_of_this_catalog():
    assert list(RECORD) == list(ENTRIES), "run: python docs/generate_laws.py"


NO_MATRIX = {  # mixers whose output is no matrix times a site
    "atlas": "a memory of several layers, or with Muon's step, is not linear in its values (atlas-linear is)",
    "poolformer": "what it pools is no site; tested below and as metaformer-pooling",
    "convnext": "its convolution has a bias; tested with it (test_works_when_100_convnext)",
}


def test_patterns_and_matrices_give_what_the_mixer_mixed_on_every_entry():
    """The law `mixing` was tested at every depth that mixes positions, but for what is named above."""
    for name, row in RECORD.items():
        model, _ = shaken(ENTRIES[name])
        blocks = [block.prefix for block in model.map.blocks.values()]
        sites = [site.name for site in model.sites()]
        mixing = [p for p in blocks if any(re.match(rf"{re.escape(p)}\.(attn|mixer|ssm|lstm)\.", s) for s in sites)]
        assert mixing or name in NO_MATRIX, name
        assert row["places"]["float32"].get("mixing", 0) >= (0 if name in NO_MATRIX else len(mixing)), name
    with pytest.raises(RequiresPattern, match="declares no mixing matrix"):
        model, x = shaken(ENTRIES["atlas"])
        model.mixing_matrix(model.run_with_cache(x)[1], 0)


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
