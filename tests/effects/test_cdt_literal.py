"""The decomposed engine equals the literal formulas, at every site, for every kind of source and target."""

import pytest
import torch

from interp.effects import decompose
from interp.effects.sources import Groups
from interp.hooks import Counterfactual, Mean, Source
from interp.hooks.baselines import resolve
from tests.effects import cdt_literal
from tests.effects.models import V, inputs, tiny

ORACLES = {"gpt2": cdt_literal.gpt2, "bert": cdt_literal.bert}
RULES = ("cdt", "local-shapley", "cdt-published")
EXACT = 1e-10

Z = "blocks.{}.attn.hook_z"
GROUPS = {
    "a head at a position": [Source(Z.format(0), head=1, pos=2)],
    "a whole head": [Source(Z.format(1), head=3)],
    "heads of one depth": [Source(Z.format(0), head=h) for h in (0, 2)],
    "heads of two depths": [Source(Z.format(0), head=1), Source(Z.format(1), head=0, pos=4)],
    "a token": [Source("hook_embed", pos=1)],
    "a position": [Source("hook_pos_embed", pos=3)],
    "the stream": [Source("blocks.1.hook_resid_pre", pos=2)],
    "the stream between": [Source("blocks.0.hook_resid_mid", pos=2)],
    "the stream after": [Source("blocks.0.hook_resid_post", pos=5)],
    "a branch": [Source("blocks.0.hook_attn_out", pos=4)],
    "a normalised value": [Source("blocks.0.ln1.hook_normalized", pos=3)],
    "queries": [Source("blocks.0.attn.hook_q", head=1)],
    "keys": [Source("blocks.1.attn.hook_k", head=2)],
    "values": [Source("blocks.0.attn.hook_v", head=0)],
    "queries, keys and values": [Source(f"blocks.0.attn.hook_{x}", head=2) for x in "qkv"],
    "scores": [Source("blocks.0.attn.hook_attn_scores", head=1, pos=3)],
    "a pattern": [Source("blocks.0.attn.hook_pattern", head=1)],
    "neurons before": [Source("blocks.0.mlp.hook_pre", pos=3)],
    "neurons after": [Source("blocks.0.mlp.hook_post", pos=3)],
    "an MLP": [Source("blocks.1.hook_mlp_out")],
    "an MLP and a head": [Source("blocks.0.hook_mlp_out"), Source(Z.format(1), head=1)],
}
BASELINES = {"zero": lambda name: "zero", "mean": lambda name: Mean(over=inputs(name, batch=4, seed=9)),
             "counterfactual": lambda name: Counterfactual((inputs(name) + 7) % V)}  # another token everywhere


def targets(model) -> list[str]:
    return [s.name for s in model.sites() if not s.on_request]


def distance(got: torch.Tensor, wanted: torch.Tensor, size: torch.Tensor) -> float:
    """Largest difference over the largest value of the site, where it is not masked."""
    shown = torch.isfinite(size) & (size.abs() < 1e300)
    shape = torch.broadcast_shapes(got.shape, wanted.shape)
    there = shown.expand(shape)
    far = (got.expand(shape) - wanted.expand(shape))[there].abs().max()
    return (far / size[shown].abs().max()).item()


@pytest.mark.parametrize("kind", BASELINES)
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", ORACLES)
def test_engine_equals_the_literal_formulas_at_every_site(name, rules, kind):
    model, x, baseline = tiny(name), inputs(name), BASELINES[kind](name)
    groups, names = list(GROUPS.values()), targets(model)
    base = resolve(model, list(Groups(model, groups).sites.values()), baseline, x)[0]
    got = decompose(model, x, groups, names, rules, baseline=baseline)
    for row, group in enumerate(groups):
        with torch.no_grad():
            wanted = ORACLES[name](model.module, x, rules, group, base)
        still = kind != "zero" and group[0].site == "hook_pos_embed"  # the same in every prompt
        assert still or any((wanted[n][1] != 0).any() for n in names)
        for n in names:
            t, r = wanted[n]
            assert distance(got.total[n], t, t) <= EXACT, n
            assert distance(got.relevant[n][row], r, t) <= EXACT, (got.labels[row], n)


def test_the_oracle_covers_every_site():
    for name, oracle in ORACLES.items():
        model = tiny(name)
        with torch.no_grad():
            assert set(targets(model)) <= set(oracle(model.module, inputs(name), "cdt", GROUPS["a token"], {}))


@pytest.mark.parametrize("rules", RULES)
def test_targets_with_an_index_are_that_part_of_the_site(rules):
    """Queries, keys and values of a head, a position, of patterns, and one logit."""
    model, x = tiny("gpt2"), inputs("gpt2")
    group = GROUPS["heads of one depth"]
    with torch.no_grad():
        wanted = cdt_literal.gpt2(model.module, x, rules, group, {})
    parts = {f"blocks.1.attn.hook_{k}": (Source(f"blocks.1.attn.hook_{k}", head=2, pos=4), lambda v: v[:, 4, 2])
             for k in "qkvz"}
    parts["output"] = Source("output", unit=7), lambda v: v[..., 7]
    parts["blocks.1.attn.hook_pattern"] = (
        Source("blocks.1.attn.hook_pattern", head=1, pos=(2, 5)), lambda v: torch.stack([v[0, 1, 2], v[1, 1, 5]]))
    got = decompose(model, x, [group], [target for target, _ in parts.values()], rules)
    for site, (target, part) in parts.items():
        t, r = wanted[site]
        assert got.relevant[target.label].shape == (1, *part(r).shape)
        torch.testing.assert_close(got.total[target.label], part(t), rtol=0, atol=1e-10)
        torch.testing.assert_close(got.relevant[target.label][0], part(r), rtol=0, atol=1e-10)
        assert part(r).abs().max() > 0
