"""`decompose`: parts of whole activations under every rule set, and what it says about bad input."""

import sys

import pytest
import torch

from interp.effects import decompose, effects
from interp.effects.rules import RULE_SETS
from interp.effects.sources import Groups
from interp.hooks import Counterfactual, Resample, Source
from interp.hooks.baselines import resolve
from interp.results.errors import BadInput, MissingSite
from tests.effects import models
from tests.effects.models import linear_metric
from tests.effects.oracles import every_source, some
from tests.effects.test_decomposed_laws import NAMES, close, inputs, sites, tiny

FORWARD = [name for name in RULE_SETS if name != "integrated"]
Z = "blocks.1.attn.hook_z"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rules", [r for r in FORWARD if RULE_SETS[r].engine != "decomposed"])
def test_effects_are_a_linear_metric_of_the_parts(name, rules):
    """For every rule set; those of the decomposed engine are in test_decomposed_laws."""
    model, x = tiny(name), inputs(name)
    chosen, baseline = some(every_source(model, scales=False), 6, seed=7), Counterfactual(inputs(name, seed=9))
    got = effects(model, x, chosen, linear_metric, rules, baseline=baseline)
    parts = decompose(model, x, chosen, ["output"], rules, baseline=baseline)
    wanted = torch.stack([linear_metric(r) for r in parts.relevant["output"]])
    scale = 1e-6 if got.values.dtype == torch.float32 else 1e-10
    assert (got.values - wanted).abs().max() <= scale * max(1.0, float(wanted.abs().max()))
    assert (got.values != 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_ablation_gives_clean_minus_patched_at_every_site(name):
    model, x = tiny(name), inputs(name)
    last = list(model.map.blocks.values())[-1].resid_post  # everything below is skipped, and still a target
    chosen = [*some(every_source(model, scales=False), 4, seed=2), Source(last)]
    baseline = Counterfactual(inputs(name, seed=9))
    found = decompose(model, x, chosen, sites(model), "ablation", baseline=baseline)
    base = resolve(model, list(Groups(model, chosen).sites.values()), baseline, x)[0]
    clean = run(model, x, [])
    for row, s in enumerate(chosen):
        def patch(value, site, s=s):
            return torch.where(s.mask(site, value, model.lengths(x)), base[s.site], value)

        patched = run(model, x, [(s.site, patch)])
        for site in sites(model):
            shape, size = found.total[site].shape, clean[site]
            assert close(found.total[site], size.expand(shape), size)
            assert close(found.relevant[site][row], (size - patched[site]).expand(shape), size), (s.label, site)


def run(model, x, edits) -> dict[str, torch.Tensor]:
    """Every site of a forward with `edits`, each read after what was edited before it."""
    seen = {}

    def keep(value, site):
        seen[site.name] = value

    with torch.no_grad(), model.firing([*edits, *((site, keep) for site in sites(model))], open_roles=True):
        model(x)
    return seen


@pytest.mark.parametrize("rules", FORWARD)
def test_a_target_with_an_index_is_that_part_of_the_whole(rules):
    model, x = tiny("gpt2"), inputs("gpt2")
    source = [Source("blocks.0.attn.hook_z", head=1)]
    targets = {
        Source(Z, head=2): lambda v: v[..., :, :, 2, :],
        Source(Z, pos=-2): lambda v: v[..., :, 4, :, :],
        Source(Z, head=3, pos=2, unit=5): lambda v: v[..., :, 2, 3, 5],
        Source(Z, pos=(1, 5)): lambda v: torch.stack([v[..., 0, 1, :, :], v[..., 1, 5, :, :]], -3),
        Source("blocks.1.attn.hook_pattern", head=0, pos=3): lambda v: v[..., :, 0, 3, :],
        Source("blocks.1.hook_resid_post", unit=-1): lambda v: v[..., -1],
    }
    whole = decompose(model, x, source, [*{t.site: t for t in targets}], rules)
    parts = decompose(model, x, source, list(targets), rules)
    for target, part in targets.items():
        assert torch.equal(parts.relevant[target.label], part(whole.relevant[target.site]))
        assert torch.equal(parts.total[target.label], part(whole.total[target.site]))
        # direct: what came through no other component; frozen: patterns are held
        blind = rules == "direct" or rules == "frozen" and "pattern" in target.site
        assert blind or (parts.relevant[target.label] != 0).any()


@pytest.mark.parametrize("rules", ["ablation", "tangent", "cdt"])
def test_negative_positions_count_from_the_last_real_token(rules):
    model, ids = tiny("bert"), inputs("bert")
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    padded = {"input_ids": ids, "attention_mask": mask}
    source, site = [Source("blocks.0.attn.hook_z", head=1, pos=-1)], "blocks.1.hook_resid_post"
    last = decompose(model, padded, source, [Source(site, pos=-1)], rules)
    whole = decompose(model, padded, source, [site], rules)
    found, wanted = last.relevant[f"{site}[pos=-1]"][0], whole.relevant[site][0]
    assert torch.equal(found, torch.stack([wanted[0, 5], wanted[1, 3]]))
    short = decompose(model, ids[1:, :4], source, [Source(site, pos=-1)], rules)  # as if there were no padding
    assert close(found[1:], short.relevant[f"{site}[pos=-1]"][0], short.total[f"{site}[pos=-1]"], 1e-8)


def test_draws_of_a_resampled_baseline_are_averaged():
    model, x = tiny("gpt2"), inputs("gpt2")
    baseline, sources = Resample(models.inputs("gpt2", batch=5, seed=4), 3, 0), [Source(Z)]
    bases = resolve(model, [model.site(Z)], baseline, x)
    assert len(bases) == 3
    for rules in ("ablation", "tangent", "cdt"):
        found = decompose(model, x, sources, rules=rules, baseline=baseline).relevant["output"]
        each = [decompose(model, x, sources, rules=rules, baseline=base).relevant["output"] for base in bases]
        torch.testing.assert_close(found, sum(each) / 3, rtol=0, atol=1e-10)


def test_table_figure_and_files(tmp_path):
    model, x = tiny("gpt2"), inputs("gpt2")
    sources, targets = [Source("blocks.0.attn.hook_z", head=h) for h in range(3)], ["output", Source(Z, head=1)]
    found = decompose(model, x, sources, targets)
    frame = found.frame()
    assert list(frame["target"].unique()) == ["output", f"{Z}[head=1]"] and len(frame) == 6
    one = frame.iloc[1 if frame["source"][1] == sources[1].label else 3]
    r = found.relevant["output"][1]
    assert one["relevant"] == pytest.approx(float(r.abs().mean()))
    assert one["irrelevant"] == pytest.approx(float((found.total["output"] - r).abs().mean()))
    assert 0 < one["share"] < 1 and frame.attrs["rules"] == "cdt"
    drawn = found.figure()
    assert drawn.data[0].z.shape == (3, 2) and "cdt" in drawn.layout.title.text


def test_bad_input_is_named_before_any_long_work(monkeypatch):
    model, x, source = tiny("gpt2"), inputs("gpt2"), [Source(Z, head=0)]
    def never(*args):
        raise AssertionError("long work began")

    monkeypatch.setattr(sys.modules["interp.effects.decompose"], "_by_engine", never)
    size = 1000 * 2 * 6 * 50 * 8  # sources, prompts, tokens, vocabulary, bytes
    for arguments, message in (
        (dict(sources=source * 1000, budget=10**6),
         rf"output for 1000 sources need {size / 1e6:.4g} MB, the budget is 1 MB"),
        (dict(targets=[Source(Z, pos=slice(0, 2))]), "position is an int or one int per prompt"),
        (dict(targets=[Source(Z, unit=99)]), "has 8 units; unit 99"),
        (dict(targets=[Source(Z, pos=6)]), "position 6 is outside"),
        (dict(targets=[Source(Z, head=4)]), "heads 0 to 3"),
        (dict(targets=[]), "no targets"),
        (dict(sources=[]), "no sources"),
        (dict(rules="integrated"), "effects"),
        (dict(rules="cdd"), 'no rule set.*"?cdt'),
        (dict(sources=[Source(Z, head=9)]), "heads 0 to 3"),
    ):
        with pytest.raises(BadInput, match=message):
            decompose(model, x, **({"sources": source} | arguments))
    with pytest.raises(MissingSite, match="hook_z"):
        decompose(model, x, source, ["blocks.1.attn.hook_zz"])
    with pytest.raises(MissingSite, match="no position axis"):
        decompose(model, x, source, [Source("output", pos=0)])
    swin = tiny("swin")
    with pytest.raises(BadInput, match="no prompts"):
        decompose(swin, inputs("swin"), [Source("blocks.0.hook_attn_out")], [Source("blocks.0.attn.hook_z", pos=1)])


@pytest.mark.parametrize("name", ["vit", "t5"])
def test_positions_of_patches_and_of_encoder_tokens_are_those_of_their_own_stream(name):
    model, x = tiny(name), inputs(name)
    stream = "encoder." if name == "t5" else ""
    sources, site = [Source(f"{stream}blocks.0.attn.hook_z", head=1)], f"{stream}blocks.1.hook_resid_post"
    found = decompose(model, x, sources, [site, Source(site, pos=-1)], "ablation").relevant
    assert torch.equal(found[f"{site}[pos=-1]"], found[site][:, :, -1]) and found[site][:, :, -1].abs().max() > 0
