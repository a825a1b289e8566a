"""HookedModel: selection, hooks, proof of firing, restoration, gradients, and every bad input it meets."""

import threading

import pytest
import torch
from torch import nn

from interp.adapters import hook
from interp.garden import catalog
from interp.hooks import Ablate, Steer
from interp.hooks.fingerprint import fingerprint, unchanged
from interp.results.errors import BadInput, MissingSite, RequiresPattern, RequiresResidualStream
from tests.adapters.tiny import CASES
from tests.hooks.handmade import CONTEXT, VOCAB, build, ids, literal


@pytest.fixture
def model():
    return build()


# -- selection -------------------------------------------------------------------------------------------------------


def test_sites_are_selected_by_name_wildcard_list_and_function(model):
    assert [s.name for s in model.sites("blocks.*.attn.hook_z")] == [f"blocks.{d}.attn.hook_z" for d in (0, 1)]
    some = model.sites(["hook_embed", "blocks.0.hook_attn_*"])
    assert [s.name for s in some] == ["hook_embed", "blocks.0.hook_attn_out"]
    assert [s.name for s in model.sites(lambda name: name.endswith("mlp_out"))] == [
        "blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out"]
    assert len(model.sites()) == 2 * 10 + 2
    assert model.sites(["hook_embed", "hook_*"]) == model.sites("hook_*")  # no doubles


@pytest.mark.parametrize(("name", "nearest"), [
    ("blocks.0.attn.hook_zz", "blocks.0.attn.hook_z"),
    ("blocks.0.hook_resid_Post", "blocks.0.hook_resid_post"),
    ("block.1.hook_mlp_out", "blocks.1.hook_mlp_out"),
    ("hook_embedding", "hook_embed"),
])  # fmt: skip
def test_unknown_name_names_the_nearest(model, name, nearest):
    with pytest.raises(MissingSite, match=f'handmade has no site \'{name}\'. Did you mean "{nearest}"') as error:
        model.run_with_cache(ids(), names=name)
    assert "\n" not in str(error.value)


def test_wildcard_that_selects_nothing_is_an_error(model):
    for call in (lambda: model.sites("blocks.*.hook_state"), lambda: model.run_with_hooks(ids(), [("x*", print)])):
        with pytest.raises(MissingSite, match="handmade has no site"):
            call()


def test_one_site_is_one_site(model):
    with pytest.raises(MissingSite, match="selects 2 sites of handmade where one is needed"):
        model.site("blocks.*.attn.hook_z")


def test_site_that_the_architecture_does_not_have_says_so():
    parallel = CASES["gpt_neox"].hooked()[0]
    with pytest.raises(MissingSite, match="parallel ones, so there is no stream in between: use hook_resid_pre"):
        parallel.site("blocks.0.hook_resid_mid")
    with pytest.raises(RequiresPattern, match="blocks.0 of atlas has no attention pattern and declares no mixing"):
        atlas = catalog.build("atlas", d_model=16, n_layers=1)
        atlas.mixing_matrix(atlas.run_with_cache(torch.zeros(1, 3, dtype=torch.long))[1], 0)
    with pytest.raises(RequiresResidualStream, match="swin has no single residual stream"):
        swin, x = CASES["swin"].hooked()
        swin.contributions(swin.run_with_cache(x)[1])


def test_declared_absence_gives_its_reason(model):
    model.map.absent["blocks.0.attn.hook_pattern"] = "this model keeps it to itself"
    with pytest.raises(MissingSite, match="This model keeps it to itself"):
        model.site("blocks.0.attn.hook_pattern")


# -- hooks -----------------------------------------------------------------------------------------------------------


def test_hooks_see_the_value_change_it_and_run_in_order(model):
    x, seen = ids(), []
    out = model.run_with_hooks(x, hooks=[
        ("blocks.0.hook_mlp_out", lambda value, site: seen.append((site.name, value.shape))),
        ("blocks.0.hook_mlp_out", lambda value, site: value + 1),
        ("blocks.0.hook_mlp_out", lambda value, site: 2 * value),
    ])  # fmt: skip
    expected, _ = literal(model.module, x, {"blocks.0.hook_mlp_out": lambda v: 2 * (v + 1)})
    assert torch.allclose(out, expected, rtol=1e-12, atol=1e-13)
    assert seen == [("blocks.0.hook_mlp_out", torch.Size([3, 5, 8]))]


def test_names_of_transformerlens_arguments_work(model):
    x, calls = ids(), []
    model.run_with_hooks(x, fwd_hooks=[("hook_embed", lambda value, hook: calls.append(1))])
    _, cache = model.run_with_cache(x, names_filter=lambda name: "resid_post" in name)
    assert calls == [1] and list(cache) == ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]


def test_reading_stops_the_forward_behind_the_last_site(model):
    ran = []
    handle = model.module.head.register_forward_hook(lambda *args: ran.append(1))
    cache = model.read(ids(), "blocks.0.hook_resid_post")
    assert list(cache) == ["blocks.0.hook_resid_post"] and not ran
    model(ids())
    handle.remove()
    assert ran == [1]


def test_nested_edits_compose_and_each_is_taken_back(model):
    x = ids()
    plain = model(x)
    one, two = Ablate("blocks.0.hook_mlp_out"), Steer("blocks.1.hook_attn_out", torch.ones(8))
    put = {"blocks.0.hook_mlp_out": lambda v: 0 * v}
    both = put | {"blocks.1.hook_attn_out": lambda v: v + 1}
    with model.edit(one):
        first = model(x)
        with model.edit(two):
            second = model(x)
        assert torch.equal(model(x), first)
    assert torch.equal(model(x), plain)
    assert torch.allclose(first, literal(model.module, x, put)[0], atol=1e-12)
    assert torch.allclose(second, literal(model.module, x, both)[0], atol=1e-12)


@pytest.mark.parametrize("family", ["gpt2", "mamba", "bert"])
def test_exception_restores_everything_also_when_nested(family):
    model, x = CASES[family].hooked()
    model(x)
    before, plain = fingerprint(model.module), model(x)

    def fail(value, site):
        raise KeyboardInterrupt

    inner = model.sites()[-2].name
    with pytest.raises(KeyboardInterrupt), model.edit(Ablate(model.sites("*hook_resid_post")[0])):
        model.run_with_hooks(x, hooks=[(inner, fail)])
    with pytest.raises(BadInput), model.edit(Ablate("*hook_resid_post", baseline="nothing")):
        pass
    assert not [row for row in unchanged(before, fingerprint(model.module)) if row[2]]
    assert torch.equal(model(x), plain)


def test_module_run_by_itself_inside_an_edit_is_edited_too(model):
    x = ids()
    with model.edit(Ablate("blocks.1.hook_resid_post")):
        inside = model.module(x)
    assert torch.allclose(inside, model.module.head.bias.expand(inside.shape))


def test_threads_do_not_see_each_others_hooks(model):
    x = ids()
    plain, results = model(x), {}

    def run(scale):
        for _ in range(10):
            out = model.run_with_hooks(x, hooks=[("hook_embed", lambda value, site: scale * value)])
            results.setdefault(scale, []).append(out)

    threads = [threading.Thread(target=run, args=(scale,)) for scale in (0.5, 2.0, 3.0)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for scale, outs in results.items():
        expected = literal(model.module, x, {"hook_embed": lambda v, s=scale: s * v})[0]
        assert len(outs) == 10 and all(torch.allclose(out, expected, atol=1e-12) for out in outs)
    assert torch.equal(model(x), plain)


# -- proof of firing -------------------------------------------------------------------------------------------------


def test_skipped_module_raises_missing_site_and_says_why(model):
    class Bypass(nn.Module):
        """A block that uses the weights of its projection without calling it."""

        def __init__(self, block):
            super().__init__()
            self.__dict__.update(block.__dict__)

        def forward(self, x):
            x = x + type(self.block).attend(self.block, x)
            h = torch.relu(nn.functional.linear(x, self.up.weight, self.up.bias))
            return x + self.down(h)

    inner = model.module.blocks[0]
    by = Bypass(inner)
    by.__dict__["block"] = inner
    model.module.blocks[0] = by
    with pytest.raises(MissingSite, match=r"'blocks.0.mlp.hook_pre' was asked for and did not fire: its module "
                                          r"'blocks.0.up' was not called.*bypassed by its weights"):
        model.run_with_cache(ids())
    assert len(model.run_with_cache(ids(), names="blocks.0.mlp.hook_post")[1]) == 1
    with pytest.raises(MissingSite), model.edit(Ablate("blocks.0.mlp.hook_pre")):
        model(ids())


def test_missing_visit_says_how_often_the_module_ran():
    model, x = CASES["albert"].hooked()
    model.module.config.num_hidden_layers = 3
    with pytest.raises(MissingSite, match=r"and \d+ more.*ran 3 time\(s\) and this site is visit 3"):
        model.run_with_cache(x, names="blocks.3.*")


# -- gradients -------------------------------------------------------------------------------------------------------


def test_gradients_through_the_cache_equal_autograd_on_the_literal_forward(model):
    x = ids()
    out, cache = model.run_with_cache(x, grad=True)
    ours = torch.autograd.grad(out[:, -1, 3].sum(), [cache[name] for name in cache if name != "output"])
    leaves = {}

    def leaf(name):
        def put(value):
            leaves[name] = value.detach().requires_grad_()
            return value + (leaves[name] - leaves[name].detach())  # zero, with the gradient of a change here

        return put

    logits, _ = literal(model.module, x, {name: leaf(name) for name in cache if name != "output"})
    wanted = torch.autograd.grad(logits[:, -1, 3].sum(), [leaves[name] for name in cache if name != "output"])
    for name, got, want in zip(cache, ours, wanted):
        assert torch.allclose(got, want, rtol=1e-10, atol=1e-12), name


def test_gradient_of_frozen_weights_still_reaches_sites(model):
    model.module.requires_grad_(False)
    out, cache = model.run_with_cache(ids(), names="blocks.0.hook_resid_pre", grad=True)
    (grad,) = torch.autograd.grad(out.sum(), [cache["blocks.0.hook_resid_pre"]])
    assert grad.abs().sum() > 0
    assert not any(p.requires_grad for p in model.parameters())


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "message"), [
    (torch.zeros(1, 0, dtype=torch.long), r"an empty prompt was given .token ids of shape \[1, 0\]."),
    (torch.zeros(4, dtype=torch.long), r"token ids have shape \[4\]; \[batch, pos\] is needed"),
    (torch.zeros(1, 3), "token ids are torch.float32; integers are needed"),
    (torch.tensor([[0, VOCAB]]), f"token ids run from 0 to {VOCAB}; handmade knows 0 to {VOCAB - 1}"),
    (torch.tensor([[-1, 2]]), "token ids run from -1 to 2"),
    (torch.zeros(1, CONTEXT + 1, dtype=torch.long), f"the prompt has {CONTEXT + 1} tokens, the context of handmade "
                                                     f"holds {CONTEXT}"),
    ([[1, 2]], "x is a list; give a tensor or a mapping"),
    ({"input_ids": torch.tensor([[0, VOCAB]])}, "token ids run from 0"),
    ({"input_ids": torch.zeros(1, 2, dtype=torch.long), "past_key_values": object()}, "an explicit past was given"),
])  # fmt: skip
def test_bad_input_is_one_line_before_anything_runs(model, x, message):
    ran = []
    model.module.embed.register_forward_hook(lambda *args: ran.append(1))
    for call in (model, model.run_with_cache, lambda x: model.read(x, "hook_embed")):
        with pytest.raises(BadInput, match=message) as error:
            call(x)
        assert "\n" not in str(error.value)
    assert not ran


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_pixels_that_are_no_numbers_are_refused(bad):
    model, x = CASES["vit"].hooked()
    x[0, 0, 0, 0] = bad
    with pytest.raises(BadInput, match="the input holds NaN or Inf"):
        model(x)


def test_block_that_is_not_there_names_those_that_are(model):
    cache = model.run_with_cache(ids())[1]
    with pytest.raises(BadInput, match="handmade has no block 'blocks.5'; it has 'blocks.0' to 'blocks.1' .2."):
        model.contributions(cache, 5)
    with pytest.raises(MissingSite, match="contributions need 'blocks.0.hook_mlp_out', which this cache does not hold"):
        model.contributions(model.run_with_cache(ids(), names="blocks.0.hook_attn_out")[1], 0)


def test_contributions_are_named_and_in_order(model):
    cache = model.run_with_cache(ids())[1]
    assert list(model.contributions(cache, 1)) == ["attn_out", "mlp_out"]
    whole = model.contributions(cache)
    assert list(whole)[1:] == [f"blocks.{d}.{part}" for d in (0, 1) for part in ("attn_out", "mlp_out")]
    assert torch.allclose(sum(whole.values()), cache["blocks.1.hook_resid_post"], atol=1e-12)


def test_wrapping_costs_no_state(model):
    assert list(model.state_dict()) == list(model.module.state_dict())
    assert hook(model.module, {"hook_embed": "embed"}).module is model.module
    assert "2 depths" in repr(model)


def test_inputs_are_put_on_the_device_of_the_model():
    model = catalog.build("gpt", seed=0)
    model.module.to("meta")
    x = torch.zeros(2, 3, dtype=torch.long)
    assert model(x).device.type == model({"input_ids": x}).device.type == "meta" and x.device.type == "cpu"


@pytest.mark.parametrize(("returned", "says"), [
    (lambda z: z[:1], r"shape \[1, 5, "), (lambda z: 3, "a int"), (lambda z: z.half(), "float16"),
])
def test_a_hook_that_returns_something_else_is_named(model, returned, says):
    with pytest.raises(BadInput, match=f"the hook at 'blocks.0.hook_resid_post' returned .*{says}"):
        model.run_with_hooks(ids(2), hooks=[("blocks.0.hook_resid_post", lambda z, hook: returned(z))])

