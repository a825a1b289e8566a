"""Skip effects against a literal loop, and zero where causality says so, unless a mask leaks."""

import numpy as np
import pytest
import torch

from interp.adapters import hook
from interp.adapters.transformers import library
from interp.depth import half_depth, skip_effects
from interp.depth.engine import contribution_sites, skip, written
from interp.lens.stream import stream_blocks
from interp.results import BadInput
from tests.depth.test_engine import ids, model_of

NAMES = ("gpt", "peri-ln", "parallel", "ladder", "looped", "mamba")


@pytest.mark.parametrize("name", [*NAMES, "post-norm"])
@torch.no_grad()
def test_current_effects_are_those_of_a_plain_loop(name):
    model, x = model_of(name), ids()
    found = skip_effects(model, x, positions=None)
    blocks = stream_blocks(model)
    sites = [*contribution_sites(model, blocks), *(b.resid_pre for b in blocks)]
    away = torch.ones(3, 9, dtype=torch.bool)
    away[:, 0] = False
    out, clean = model.run_with_cache(x, sites)
    for s, skipped in enumerate(blocks):
        with model.firing(skip(model, skipped.prefix, away)):
            edited, values = model.run_with_cache(x, sites)
        for m, measured in enumerate(blocks):
            before = written(model, clean, measured)
            after = torch.where(away[..., None], 0, before) if m == s else written(model, values, measured)
            for row in range(3):
                ratios = [float((before - after)[row, t].norm() / before[row, t].norm()) for t in range(1, 9)]
                assert float(found.largest[s, m, row]) == pytest.approx(max(ratios), abs=1e-4)
                assert float(found.mean[s, m, row]) == pytest.approx(np.mean(ratios), abs=1e-4)
        moved = (out.softmax(-1) - edited.softmax(-1)).norm(dim=-1)[:, 1:]
        assert torch.allclose(found.output_largest[s], moved.amax(1), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_causal_models_are_zero_where_they_must_be(name):
    model, x = model_of(name), ids()
    future, past = skip_effects(model, x, "future", split=5), skip_effects(model, x, "past", split=5)
    matrix = future.matrix()
    assert (np.tril(matrix) == 0).all() and (matrix[np.triu_indices(3, 1)] > 0).all()
    assert (future.output_largest[-1] == 0).all() and (future.output_largest[0] > 0).all()
    assert (past.largest == 0).all() and (past.output_largest == 0).all()


def test_a_leak_from_later_tokens_shows():
    model, x = model_of("gpt"), ids()
    leak = model.module.blocks[1].register_forward_pre_hook(
        lambda block, args: (args[0] + args[0].mean(1, True), *args[1:]))
    past = skip_effects(model, x, "past", split=5)
    leak.remove()
    assert model.map.causal and past.matrix()[0, 1] > 1e-3 and past.output_largest[0].min() > 0


def test_current_effects_of_a_skip_are_one_at_itself_and_zero_before():
    matrix = skip_effects(model_of("gpt"), ids()).matrix()
    assert np.allclose(np.diag(matrix), 1) and (matrix[np.tril_indices(3, -1)] == 0).all()


def test_local_effects_pass_nothing_on():
    model, x = model_of("gpt"), ids()
    found, current = skip_effects(model, x, "local", keep_first=False), skip_effects(model, x, keep_first=False)
    _, clean = model.run_with_cache(x)
    first = sum(clean[f"blocks.0.hook_{name}_out"] for name in ("attn", "mlp"))
    hook = [("blocks.2.hook_resid_pre", lambda v, site: clean["blocks.2.hook_resid_pre"] - first)]
    edited: dict = {}
    model.run_with_hooks(x, [*hook, *((f"blocks.2.hook_{n}_out", lambda v, s: edited.update({s.name: v.detach()}))
                                      for n in ("attn", "mlp"))])
    before, after = (sum(c[f"blocks.2.hook_{n}_out"] for n in ("attn", "mlp")) for c in (clean, edited))
    literal = ((before - after).norm(dim=-1) / before.norm(dim=-1)).amax(1)
    assert torch.allclose(found.largest[0, 2], literal, atol=1e-5)
    assert torch.allclose(found.largest[0, 1], current.largest[0, 1], atol=1e-4)  # nothing stands in between


def test_branches_are_skipped_one_by_one():
    found = skip_effects(model_of("gpt"), ids(), unit="branch")
    assert found.skipped[:2] == ["blocks.0.hook_attn_out", "blocks.0.hook_mlp_out"] and found.largest.shape == (6, 3, 3)
    assert (found.strength()[:2] > 0).all() and len(found.frame()) == 2 * (3 + 2 + 1)


def test_a_small_budget_changes_nothing_but_the_memory():
    model, x = model_of("gpt"), ids(rows=4)
    whole, pieces = skip_effects(model, x), skip_effects(model, x, budget=1)
    assert torch.allclose(whole.mean, pieces.mean, atol=1e-5)
    assert torch.allclose(whole.output_largest, pieces.output_largest, atol=1e-6)


def test_a_matrix_costs_half_a_forward_a_block():
    model = model_of("gpt")
    assert skip_effects(model, ids()).forwards == pytest.approx(1 + (3 + 2 + 1) / 3)
    assert skip_effects(model, ids()).forwards <= model.n_layers / 2 + 2


def test_padded_rows_count_their_own_tokens():
    config = library().LlamaConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
                                   vocab_size=23, num_key_value_heads=2)
    model, x = hook(library().LlamaForCausalLM(config).eval()), ids(rows=1, n=6)
    padded = {"input_ids": torch.cat([x, x[:, :3]], 1), "attention_mask": torch.tensor([[1] * 6 + [0] * 3])}
    assert torch.allclose(skip_effects(model, x).mean, skip_effects(model, padded).mean, atol=1e-5)


def test_bad_modes_and_splits_say_what_there_is():
    with pytest.raises(BadInput, match="current, future, past, local"):
        skip_effects(model_of("gpt"), ids(), "later")
    with pytest.raises(BadInput, match="between 2 and 8"):
        skip_effects(model_of("gpt"), ids(), "future", split=9)


def test_half_depth_of_flat_early_and_late_curves():
    assert half_depth([1.0] * 8) == pytest.approx(0.5)
    assert half_depth([1.0, 0, 0, 0]) == pytest.approx(0.125) and half_depth([0, 0, 0, 1.0]) == pytest.approx(0.875)
    with pytest.raises(BadInput):
        half_depth([0.0, 0.0])
