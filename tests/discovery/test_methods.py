"""Methods that score nodes, each against a literal computation: AtP*, gradient norms, queries and keys."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import interp
from interp.discovery import METHODS, nodes
from interp.discovery.methods import Question, node_scores
from interp.discovery.nodes import source
from interp.effects import effects
from interp.hooks import Counterfactual
from interp.results import BadInput, Node

MODEL = interp.load("garden/induction-2l")
PART = interp.task("induction", model=MODEL, n=24, seed=0).part("discover")
UNIVERSE = nodes(MODEL, qkv=True)


def asked(method, universe=UNIVERSE, part=PART, model=MODEL, **more):
    return node_scores(method, Question(model, part, universe, 512, 0, **more))[0]


def test_queries_keys_and_values_are_nodes_too():
    sites = {node.kind for node in UNIVERSE}
    assert sites == {"attn.hook_z", "attn.hook_q", "attn.hook_k", "attn.hook_v"}
    llama = interp.build("llama", d_model=16, n_layers=1, n_heads=4, d_vocab=9, n_ctx=8, seed=0)
    groups = llama.site("blocks.0.attn.hook_k").groups
    assert len([n for n in nodes(llama, qkv=True) if n.kind == "attn.hook_k"]) == 4 // groups


def test_atp_star_is_the_tangent_in_every_block_dropped_in_turn():
    """Literally: with a block's writes replaced by constants, gradient times change, the mean of sizes."""
    universe = [n for n in UNIVERSE if n.kind == "attn.hook_z"]
    found = asked("atp-star", universe)
    there = MODEL.read(PART.corrupt, [n.site for n in universe])
    for node, score in zip(universe, found):
        (other,) = [d for d in range(2) if d != node.depth]
        held = MODEL.read(PART.clean, f"blocks.{other}.hook_attn_out")
        with MODEL.edit(interp.Patch(f"blocks.{other}.hook_attn_out", held[f"blocks.{other}.hook_attn_out"])):
            out, cache = MODEL.run_with_cache(PART.clean, node.site, grad=True)
            (grad,) = torch.autograd.grad(PART.metric(out).sum(), cache[node.site], allow_unused=True)
        change = (cache[node.site] - there[node.site])[:, :, node.head]
        literal = 0.0 if grad is None else float((grad[:, :, node.head] * change.detach()).sum((1, 2)).abs().mean())
        assert abs(literal - score) <= 1e-4 * max(1, abs(score)), node.label


def test_atp_star_patches_queries_and_keys_for_real_up_to_what_the_head_returns():
    node = Node("blocks.1.attn.hook_k", head=2)
    key, z = node.site, "blocks.1.attn.hook_z"
    there = MODEL.read(PART.corrupt, key)
    with MODEL.edit(interp.Patch(key, there[key], head=2)):
        patched = MODEL.read(PART.clean, z)[z]
    held = MODEL.read(PART.clean, "blocks.0.hook_attn_out")["blocks.0.hook_attn_out"]
    with MODEL.edit(interp.Patch("blocks.0.hook_attn_out", held)):
        out, cache = MODEL.run_with_cache(PART.clean, z, grad=True)
        (grad,) = torch.autograd.grad(PART.metric(out).sum(), cache[z])
    literal = float((grad * (cache[z].detach() - patched))[:, :, 2].sum((1, 2)).abs().mean())
    assert abs(asked("atp-star", [node])[0] - literal) <= 1e-4 * literal


def test_atp_star_sees_keys_behind_a_saturated_softmax_where_the_tangent_does_not():
    keys = [n for n in UNIVERSE if n.kind == "attn.hook_k" and n.depth == 1]
    exact, tangent, star = (np.abs(asked(m, keys)) for m in ("ablation", "tangent", "atp-star"))
    assert tangent.max() < 0.25 * exact.max()  # recorded: 1.6 of 14.7 logits
    assert (np.abs(star - exact) < 0.5 * exact).all()


def test_atp_star_refuses_single_positions_of_keys():
    with pytest.raises(BadInput, match="share one softmax"):
        asked("atp-star", [Node("blocks.1.attn.hook_k", head=0, pos=-1)])
    assert np.isfinite(asked("atp-star", [Node("blocks.1.attn.hook_q", head=0, pos=-1)])).all()


def test_the_gradient_norm_looks_at_no_change():
    universe = UNIVERSE[:6]
    same = replace(PART, corrupt=PART.clean)
    assert np.allclose(asked("gradient-norm", universe), asked("gradient-norm", universe, same))
    out, cache = MODEL.run_with_cache(PART.clean, universe[0].site, grad=True)
    (grad,) = torch.autograd.grad(PART.metric(out).sum(), cache[universe[0].site])
    literal = grad[:, :, universe[0].head].flatten(1).norm(dim=1).mean()
    assert abs(asked("gradient-norm", universe)[0] - float(literal)) <= 1e-4 * float(literal)


def test_direct_and_indirect_effects_add_up_to_the_tangent_of_a_frozen_norm():
    """Direct is what reaches the output past every other component: of the last depth's heads, all of it."""
    last = [n for n in UNIVERSE if n.kind == "attn.hook_z" and n.depth == 1]
    direct = effects(MODEL, PART.clean, [source(n) for n in last], PART.metric, "direct",
                     baseline=Counterfactual(PART.corrupt))
    frozen = effects(MODEL, PART.clean, [source(n) for n in last], PART.metric, "frozen",
                     baseline=Counterfactual(PART.corrupt))
    assert torch.allclose(direct.values, frozen.values, atol=1e-4)


def test_unknown_methods_are_refused_with_the_nearest():
    with pytest.raises(BadInput, match="atp-star"):
        asked("atp-sta")
    assert {"auto", "atp-star", "head-by-head", "random"} <= set(METHODS)
