"""Shared weights, two streams, windows, metrics of single positions: what one architecture or metric asks for."""

import numpy as np
import pytest
import torch

from interp.effects import effects
from interp.hooks import Ablate, Counterfactual, Patch, Source
from interp.results import Run
from tests.effects.models import curved_metric, inputs, linear_metric, tiny
from tests.effects.oracles import close, every_source, loop_effects, some
from tests.effects.test_baselines import AtLast

EXACT = 1e-10
RULES = ("ablation", "tangent", "relp", "frozen", "direct", "integrated")


def test_albert_sources_are_single_visits_and_may_be_grouped():
    model, x = tiny("albert"), inputs("albert")
    visits = [Source(f"blocks.{d}.attn.hook_z", head=1) for d in range(4)]
    assert len({model.site(s.site).module for s in visits}) == 1
    got = effects(model, x, [*visits, visits], curved_metric).values
    close(got, loop_effects(model, x, [*visits, visits], curved_metric), EXACT)
    with torch.no_grad(), model.edit():
        clean = curved_metric(model(x))
    with torch.no_grad(), model.edit(Ablate("blocks.0.attn.hook_z", head=1, tied=True)):
        close(got[4:], (clean - curved_metric(model(x)))[None], EXACT)
    assert (got[:, None] - got[None]).abs().amax(2)[~torch.eye(5, dtype=torch.bool)].min() > 1e-3


def test_encoder_sources_reach_the_output_through_cross_attention_alone():
    model, x = tiny("t5"), inputs("t5")
    last = Source("encoder.blocks.1.hook_resid_post")
    cross = [Source(f"decoder.blocks.{d}.cross_attn.hook_{k}") for d in range(2) for k in "kv"]
    other = {**x, "input_ids": inputs("t5", seed=9)["input_ids"]}
    got = effects(model, x, [last, cross], curved_metric, baseline=Counterfactual(other)).values
    close(got[0], got[1], EXACT)
    direct = effects(model, x, [last, Source("encoder.blocks.0.hook_mlp_out")], curved_metric, "direct").values
    assert (direct == 0).all()
    assert (effects(model, x, [last], curved_metric, "frozen").values != 0).all()


def test_swin_windows_are_rows_of_their_own_image():
    model, x = tiny("swin"), inputs("swin")
    site, pattern = "blocks.1.attn.hook_z", "blocks.1.attn.hook_pattern"
    other = inputs("swin", seed=9)
    mixed = torch.stack([x[0], other[1]])  # only the second image has another baseline
    got = effects(model, x, [Source(site), Source(pattern, head=0)], curved_metric, baseline=Counterfactual(mixed))
    assert (got.values[:, 0] == 0).all() and (got.values[:, 1].abs() > 1e-6).all()
    with torch.no_grad(), model.edit():
        clean = curved_metric(model(x))
    there = model.read(other, [site])[site]
    with torch.no_grad(), model.edit(Patch(site, there)):
        wanted = clean - curved_metric(model(x))
    close(got.values[:1, 1:], wanted[None, 1:], EXACT)


CAUSAL = ["gpt2", "llama", "gemma2", "olmo2", "gpt_neox", "bert", "albert", "t5"]


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("rules", RULES)
def test_metrics_of_single_positions_equal_the_whole_output(name, rules):
    model, x = tiny(name), inputs(name, batch=3)
    few = AtLast(torch.tensor([4, 2, 1]))
    baseline = Counterfactual(inputs(name, batch=3, seed=9))
    sources = some(every_source(model), 14, seed=7)
    gathered = effects(model, x, sources, few, rules, baseline=baseline)
    plain = effects(model, x, sources, lambda output: few(output), rules, baseline=baseline)
    close(gathered.values, plain.values, EXACT, scale=1e-3)
    close(gathered.clean[None], plain.clean[None], EXACT)


def test_single_positions_are_read_before_the_unembedding():
    model, x, widths = tiny("gpt2"), inputs("gpt2"), []
    head = model.module.lm_head.register_forward_hook(lambda module, args, out: widths.append(tuple(out.shape)))
    try:
        effects(model, x, [Source("blocks.0.attn.hook_z", head=h) for h in range(4)], AtLast(torch.tensor([5, 3])))
    finally:
        head.remove()
    assert widths == [(2, 1, 50), (8, 1, 50)]


@pytest.mark.parametrize("rules", ["ablation", "tangent"])
def test_the_output_itself_is_a_source(rules):
    model, x, few = tiny("gpt2"), inputs("gpt2"), AtLast(torch.tensor([5, 3]))
    sources = [Source("output"), Source("output", unit=7), Source("output", unit=9)]
    got = effects(model, x, sources, few, rules)
    close(got.values[0], got.clean, EXACT)
    with torch.no_grad(), model.edit():
        close(got.values[1], few(model(x)) + model(x)[torch.arange(2), few.positions, 8], EXACT)
    assert (got.values[2] == 0).all()


def test_blocks_below_the_source_do_not_run():
    model, x, runs = tiny("gpt2"), inputs("gpt2"), []
    mlps = [b.mlp.register_forward_pre_hook(lambda m, a, i=i: runs.append(f"mlp{i}"))
            for i, b in enumerate(model.module.transformer.h)]
    try:
        effects(model, x, [Source("blocks.1.hook_resid_pre")], curved_metric)
    finally:
        for handle in mlps:
            handle.remove()
    assert runs.count("mlp0") == 1 and runs.count("mlp1") == 2


def test_user_metrics_may_be_anything_that_gives_a_number_a_prompt():
    model, x = tiny("bert"), inputs("bert")
    sources = [Source("blocks.0.attn.hook_z", head=h) for h in range(4)]
    metrics = (lambda o: o.logsumexp(-1).mean(1), lambda o: o[:, 2].softmax(-1)[:, 7].log(), lambda o: o.std((1, 2)))
    for metric in metrics:
        close(effects(model, x, sources, metric).values, loop_effects(model, x, sources, metric), EXACT)


def test_result_keeps_what_was_asked_and_how(tmp_path):
    model, x = tiny("gpt2"), inputs("gpt2", batch=6)
    sources = [Source("blocks.0.attn.hook_z", head=1, pos=-1), [Source("blocks.0.hook_mlp_out"), Source("hook_embed")]]
    got = effects(model, x, sources, linear_metric, baseline=Counterfactual(inputs("gpt2", batch=6, seed=9)),
                  clusters=[0, 0, 1, 1, 2, 2])
    assert got.values.shape == (2, 6) and got.clean.shape == (6,) and got.baseline == "counterfactual"
    assert got.labels == ["blocks.0.attn.hook_z[head=1,pos=-1]", "blocks.0.hook_mlp_out + hook_embed"]
    frame = got.frame()
    np.testing.assert_allclose(frame["effect"], got.values.mean(1))
    assert ((frame["low"] <= frame["effect"]) & (frame["effect"] <= frame["high"])).all()
    assert got.estimates()[0].n == 3 and frame.attrs["rules"] == "ablation"
    assert "backups" in got.rules.limits
    run = Run.create(tmp_path / "run", "effects", {}, seed=0)
    got.save(run)
    assert len(got.figure().data) == 1


class Kept(dict):
    """Finished effects by (draw, label), as a resumable run keeps them."""

    def get(self, draw, label):
        return super().get((draw, label))

    def put(self, draw, labels, values):
        self.update({(draw, label): v.clone() for label, v in zip(labels, values)})


def test_a_resumed_run_equals_an_uninterrupted_one():
    model, x = tiny("gpt2"), inputs("gpt2")
    sources = [Source(f"blocks.{d}.attn.hook_z", head=h) for d in range(2) for h in range(4)]
    baseline = Counterfactual(inputs("gpt2", seed=9))
    kept = Kept()
    whole = effects(model, x, sources, curved_metric, baseline=baseline, rows=4, done=kept)
    half = Kept({key: v for key, v in kept.items() if "head=1" in key[1] or "head=3" in key[1]})
    again = effects(model, x, sources, curved_metric, baseline=baseline, rows=4, done=half)
    close(again.values, whole.values, EXACT)
    assert again.cost["rows"] == 2 + 4 * 2 and len(half) == 8
    assert effects(model, x, sources, curved_metric, baseline=baseline, done=kept).cost["rows"] == 2
