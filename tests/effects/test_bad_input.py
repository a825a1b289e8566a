"""Every mistake is one line that says what is wrong and what to do, and nothing stays hooked behind it."""

import copy

import pytest
import torch

from interp.adapters import hook
from interp.effects import effects
from interp.hooks import Counterfactual, Mean, Resample, Source
from interp.results.errors import BadInput, InterpError, MissingSite
from tests.effects.models import curved_metric, inputs, linear_metric, tiny

Z = [Source("blocks.0.attn.hook_z")]


def refused(message: str, kind=BadInput, **given):
    model = given.pop("model", None) or tiny("gpt2")
    x = given.pop("x", None)
    arguments = {"sources": Z, "metric": curved_metric} | given
    with pytest.raises(kind, match=message) as caught:
        x = inputs("gpt2") if x is None else x
        effects(model, x, arguments.pop("sources"), arguments.pop("metric"), **arguments)
    assert isinstance(caught.value, InterpError) and "\n" not in str(caught.value)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())
    assert not any("forward" in m.__dict__ for m in model.module.modules())


@pytest.mark.parametrize("rules", ["ablation", "tangent", "frozen", "direct", "integrated"])
def test_a_metric_of_another_shape(rules):
    refused(r"one number per prompt, \[2\]", metric=lambda out: out[:, -1], rules=rules)
    refused(r"one number per prompt, \[2\]", metric=lambda out: out.mean(), rules=rules)


@pytest.mark.parametrize("rules", ["ablation", "tangent", "frozen", "direct", "integrated"])
def test_weights_that_are_not_finite(rules):
    model = hook(copy.deepcopy(tiny("gpt2").module))
    with torch.no_grad():  # a training step gone wrong since it was wrapped
        model.module.transformer.h[1].mlp.c_fc.weight[0, 0] = torch.nan
    refused("the first site that is not finite is 'blocks.1.mlp.hook_pre'", model=model, rules=rules)


def test_an_ablation_that_divides_by_zero():
    refused("metric of a patched run is NaN or Inf", sources=[Source("ln_final.hook_scale")])


def test_a_metric_that_is_not_finite():
    message = "is NaN or Inf for 2 of 2 values; all sites are finite: look at the metric"
    refused(message, metric=lambda out: linear_metric(out) / 0)


def test_unknown_rules_name_the_nearest():
    refused('there is no rule set "?\'?ablate.*Did you mean "ablation"', rules="ablate")


def test_unknown_sites_name_the_nearest():
    refused("no site 'blocks.0.attn.hook_x'", MissingSite, sources=[Source("blocks.0.attn.hook_x")])
    refused("no site 'blocks.7.attn.hook_z'", MissingSite, sources=[Source("blocks.7.attn.hook_z")])
    refused("use hook_resid_pre", MissingSite, model=tiny("gpt_neox"), sources=[Source("blocks.0.hook_resid_mid")])


def test_heads_positions_and_units_that_are_not_there():
    refused("heads 0 to 3; head 4", sources=[Source("blocks.0.attn.hook_z", head=4)])
    refused("no head axis", MissingSite, sources=[Source("blocks.0.hook_mlp_out", head=0)])
    refused("key/value head 1", model=tiny("llama"), sources=[Source("blocks.0.attn.hook_v", head=3)])
    refused("position 6 is outside prompt 0", sources=[Source("blocks.0.attn.hook_z", pos=6)])
    refused("position -7 is outside prompt 0", sources=[Source("blocks.0.attn.hook_z", pos=-7)])
    refused("one position per prompt", sources=[Source("blocks.0.attn.hook_z", pos=[0, 1, 2])])
    refused("has 8 units; unit 8", sources=[Source("blocks.0.attn.hook_z", unit=8)])


def test_no_sources():
    refused("no sources", sources=[])
    refused("no sources", sources=[Z[0], []])


def test_something_that_is_no_source():
    refused("Source", sources=["blocks.0.attn.hook_z"])


def test_prompts_that_are_not_aligned():
    for other in (inputs("gpt2", n_pos=5), inputs("gpt2", batch=3)):
        refused("align them token by token", baseline=Counterfactual(other))


@pytest.mark.parametrize("rules", ["ablation", "tangent"])
def test_baselines_that_do_not_fit(rules):
    refused("'nought' is unknown", baseline="nought", rules=rules)
    refused("no tensor for 'blocks.0.attn.hook_z'", baseline={"hook_embed": torch.zeros(())}, rules=rules)
    refused("does not fit 'blocks.0.attn.hook_z'", baseline={"blocks.0.attn.hook_z": torch.zeros(5, 3)}, rules=rules)
    refused("is no baseline", baseline=3, rules=rules)
    refused("NaN or Inf", baseline={"blocks.0.attn.hook_z": torch.tensor(torch.nan)}, rules=rules)


def test_means_over_prompts_of_another_length():
    for rules in ("ablation", "tangent"):
        refused("does not fit", baseline=Mean(inputs("gpt2", n_pos=4)), rules=rules)
        refused("does not fit", baseline=Resample(inputs("gpt2", n_pos=4)), rules=rules)


def test_integrated_needs_inputs_to_come_from():
    refused("needs inputs to come from", rules="integrated", baseline=Mean(inputs("gpt2")))


def test_prompts_the_model_cannot_read():
    refused("empty prompt", x=torch.zeros(2, 0, dtype=torch.long))
    refused("token ids run from", x=torch.full((2, 4), 99))
    refused("context of gpt2 holds 32", x=torch.ones(2, 40, dtype=torch.long))
    refused("integers are needed", x=torch.zeros(2, 4))
    refused("explicit past", x={"input_ids": inputs("gpt2"), "past_key_values": ((),)})


def test_positions_of_a_metric_beyond_the_prompt():
    from tests.effects.test_baselines import AtLast

    for rules in ("ablation", "tangent"):
        refused("reads position 6; the output has 6 positions", metric=AtLast(torch.tensor([6, 0])), rules=rules)
        refused("reads 3 positions.*2 prompts", metric=AtLast(torch.tensor([1, 0, 2])), rules=rules)


@pytest.mark.parametrize("rules", ["tangent", "frozen", "direct"])
def test_metrics_without_a_gradient(rules):
    refused("no gradient", metric=lambda out: out.argmax(-1).double().mean(1), rules=rules)


def test_rows_below_one():
    refused("rows is 0", rows=0)
