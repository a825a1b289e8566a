"""`ablation` is exactly what a plain loop gives, whatever is removed and however the engine batches it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.effects import effects
from interp.effects.patched import patched_effects
from interp.effects.sources import Groups
from interp.hooks import Counterfactual, Source
from interp.hooks.baselines import resolve
from tests.effects.models import CLASS_STREAM, NAMES, PAIRS, curved_metric, inputs, tiny
from tests.effects.oracles import close, every_source, loop_effects, some

EXACT, SINGLE = 1e-10, 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_every_site_in_float64_equals_the_loop(name):
    model, x = tiny(name), inputs(name)
    sources, baseline = some(every_source(model), 60, seed=0), Counterfactual(inputs(name, seed=9))
    got = effects(model, x, sources, curved_metric, baseline=baseline, rows=12)
    wanted = loop_effects(model, x, sources, curved_metric, baseline)
    assert (wanted != 0).any(1).float().mean() > 0.5  # the law is not met by silence
    close(got.values, wanted, EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_zeroed_sites_in_float32_equal_the_loop(name):
    model, x = tiny(name, torch.float32), inputs(name, dtype=torch.float32)
    sources = some(every_source(model, scales=False), 40, seed=0)  # a denominator at zero is no baseline
    got = effects(model, x, sources, curved_metric, rows=12)
    close(got.values, loop_effects(model, x, sources, curved_metric), SINGLE)


@pytest.mark.parametrize("name", NAMES)
def test_groups_across_depths_equal_the_loop(name):
    model, x = tiny(name), inputs(name)
    sources = some(every_source(model, scales=False), 12, seed=1)
    groups = [sources[i : i + 3] for i in range(0, 12, 3)] + [sources]
    baseline = Counterfactual(inputs(name, seed=9))
    got = effects(model, x, groups, curved_metric, baseline=baseline)
    close(got.values, loop_effects(model, x, groups, curved_metric, baseline), EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_a_source_at_its_own_value_has_exactly_no_effect(name):
    model, x = tiny(name), inputs(name)
    sources = every_source(model)
    for rules in ("ablation", "tangent", "frozen", "relp", "direct"):
        got = effects(model, x, sources, curved_metric, rules, baseline=Counterfactual(x))
        assert torch.equal(got.values, torch.zeros_like(got.values)), rules


def test_one_prompt_at_its_own_value_leaves_the_other_alone():
    model, x, other = tiny("gpt2"), inputs("gpt2"), inputs("gpt2", seed=9)
    half = torch.stack([x[0], other[1]])
    got = effects(model, x, [Source("blocks.0.attn.hook_z")], curved_metric, baseline=Counterfactual(half)).values
    full = effects(model, x, [Source("blocks.0.attn.hook_z")], curved_metric, baseline=Counterfactual(other)).values
    assert got[0, 0] == 0
    close(got[:, 1], full[:, 1], EXACT)


def test_positions_before_the_first_difference_are_not_run():
    model, x = tiny("gpt2"), inputs("gpt2")
    other = x.clone()
    other[:, 4] = (x[:, 4] + 1) % 50
    sources = [Source("blocks.1.attn.hook_z", head=h, pos=p) for p in range(6) for h in range(4)]
    got = effects(model, x, sources, curved_metric, baseline=Counterfactual(other))
    assert (got.values[:16] == 0).all() and (got.values[16:] != 0).all()
    assert got.cost["rows"] == 2 + 2 * 8


def cuts(name: str, model):
    """(sources that are together the only way to the output, inputs, others that differ behind them alone)."""
    x, other = inputs(name), inputs(name, seed=9)
    for prefix in model.map.blocks:
        if name in PAIRS:
            key = "input_ids" if prefix.startswith("encoder") else "decoder_input_ids"
            other = {**x, key: inputs(name, seed=9)[key]}
        for site in (f"{prefix}.hook_resid_pre", f"{prefix}.hook_resid_post"):
            beside = name in CLASS_STREAM and prefix in ("blocks.2", "blocks.3")
            yield [Source(site), Source("blocks.1.hook_resid_post")] if beside else [Source(site)], x, other


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_cut_gives_the_difference_of_the_two_runs(name):
    model = tiny(name)
    for cut, x, other in cuts(name, model):
        with torch.no_grad(), model.edit():
            wanted = curved_metric(model(x)) - curved_metric(model(other))
        got = effects(model, x, [cut], curved_metric, baseline=Counterfactual(other))
        assert (wanted.abs() > 1e-6).all()
        close(got.values, wanted[None], EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_batching_and_starting_depth_change_nothing(name):
    model, x = tiny(name), inputs(name, batch=3)
    sources = some(every_source(model), 14, seed=2)
    base = Counterfactual(inputs(name, batch=3, seed=9))
    usual = effects(model, x, sources, curved_metric, baseline=base).values
    for rows in (1, 3, 7, 1000):
        close(effects(model, x, sources, curved_metric, baseline=base, rows=rows).values, usual, EXACT)
    groups = Groups(model, sources)
    groups.starts = [0] * len(groups)  # every block runs anew
    bases = resolve(model, list(groups.sites.values()), base, x)
    close(patched_effects(model, x, groups, curved_metric, bases)[0], usual, EXACT)
    for b in range(3):
        alone = {k: v[b : b + 1] for k, v in x.items()} if isinstance(x, dict) else x[b : b + 1]
        other = base.inputs
        other = {k: v[b : b + 1] for k, v in other.items()} if isinstance(x, dict) else other[b : b + 1]
        got = effects(model, alone, sources, curved_metric, baseline=Counterfactual(other)).values
        close(got[:, 0], usual[:, b], EXACT)


SITES = {name: tiny(name).sites() for name in ("gpt2", "t5", "swin")}


@st.composite
def sources_of(draw, name: str):
    site = draw(st.sampled_from([s for s in SITES[name] if not s.on_request and s.name != "output"]))
    heads = st.integers(0, site.heads - 1) if site.head_axis is not None else st.none()
    places = st.one_of(st.none(), st.integers(-4, 3), st.builds(slice, st.integers(0, 2), st.integers(2, 4)),
                       st.tuples(st.integers(0, 3), st.integers(-4, -1)))
    pos = draw(places) if site.pos_axis is not None else None
    if name == "swin" and site.axes[0] == "window" and isinstance(pos, tuple):
        pos = None  # windows are not prompts
    unit = draw(st.one_of(st.none(), st.integers(0, 3))) if site.axes[-1] in ("d_model", "d_head") else None
    return Source(site.name, head=draw(st.one_of(st.none(), heads)), pos=pos, unit=unit)


@pytest.mark.parametrize("name", SITES)
@settings(max_examples=8, deadline=None)
@given(data=st.data(), rows=st.integers(1, 9))
def test_any_groups_equal_the_loop(name, data, rows):
    model, x = tiny(name), inputs(name)
    groups = data.draw(st.lists(st.lists(sources_of(name), min_size=1, max_size=3), min_size=1, max_size=3))
    baseline = Counterfactual(inputs(name, seed=9))
    got = effects(model, x, groups, curved_metric, baseline=baseline, rows=rows)
    close(got.values, loop_effects(model, x, groups, curved_metric, baseline), EXACT, scale=0.1)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "bert", "t5", "swin"])
def test_results_per_head_equal_the_loop(name):
    """`hook_result` is made on request only; a head's write at zero is its z at zero."""
    model, x = tiny(name), inputs(name)
    block = next(iter(model.map.blocks))
    results = [Source(f"{block}.attn.hook_result", head=h) for h in range(2)]
    got = effects(model, x, results, curved_metric).values
    close(got, loop_effects(model, x, results, curved_metric), EXACT)
    z = [Source(f"{block}.attn.hook_z", head=h) for h in range(2)]
    close(got, effects(model, x, z, curved_metric).values, EXACT)
