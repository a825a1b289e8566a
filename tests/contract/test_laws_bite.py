"""Every law fails where it should: one wrong site map, declaration or module each."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from interp.adapters import At, hook
from interp.adapters.declare import LAYER_NORM
from interp.hooks.check import LawBroken, check_model
from interp.hooks.fingerprint import fingerprint, unchanged
from interp.hooks.roles import Forward
from interp.hooks.sitemap import Add
from interp.results.errors import BadInput
from tests.adapters.tiny import CASES


def broken(model, x, **kwargs) -> dict[str, set[str]]:
    """Broken laws and where."""
    found: dict[str, set[str]] = {}
    for row in check_model(model, x, **kwargs).failures:
        found.setdefault(row.law, set()).add(row.where)
    return found


def remap(model, name, **changes):
    """The model with one site's tap changed."""
    site, tap = model.map.sites[name]
    tap = replace(tap, **changes)
    model.map.sites[name] = (replace(site, module=tap.path), tap)
    return model


class Loop(nn.Module):
    """x += tanh(W x), `times` times, with a readout."""

    def __init__(self, times=3, readout=True):
        super().__init__()
        self.times, self.block, self.head = times, nn.Linear(4, 4), nn.Linear(4, 3)
        if not readout:
            nn.init.zeros_(self.head.weight)

    def forward(self, x):
        for _ in range(self.times):
            x = x + torch.tanh(self.block(x))
        return self.head(x)


LOOP = {"blocks.{d}.hook_resid_pre": At("block", "in", visits=3), "blocks.{d}.mlp.hook_pre": At("block", visits=3)}
X = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))


def test_branch_without_its_output_norm_breaks_the_equation():
    """The obvious module (self_attn) is the wrong one in Gemma-2."""
    model, x = CASES["gemma2"].hooked()
    found = broken(remap(model, "blocks.0.hook_attn_out", path="model.layers.0.self_attn"), x)
    assert "blocks.0.hook_resid_mid" in found["equation"] and "blocks.0" in found["block"]


def test_post_norm_model_with_a_pre_norm_equation_is_caught():
    model, x = CASES["bert"].hooked()
    block = model.map.blocks["blocks.1"]
    plain = tuple(Add(step.start, step.writes, step.to) for step in block.steps)
    model.map.blocks["blocks.1"] = replace(block, steps=plain)
    found = broken(model, x)
    assert found["block"] == {"blocks.1"} and "whole model" in found


def test_rows_that_do_not_sum_to_one_are_caught():
    model, x = CASES["llama"].hooked()
    scores, tap = model.map.sites["blocks.0.attn.hook_attn_scores"]
    model.map.sites["blocks.0.attn.hook_attn_scores"] = (replace(scores, pattern="softmax"), tap)
    assert broken(model, x)["pattern"] == {"blocks.0.attn.hook_attn_scores"}


def test_values_of_another_head_break_the_mixing_law():
    model, x = CASES["gpt2"].hooked()
    v, tap = model.map.sites["blocks.0.attn.hook_v"]
    model.map.sites["blocks.0.attn.hook_v"] = (v, replace(tap, view=replace(tap.view, part=1)))
    assert "blocks.0.attn.hook_z" in broken(model, x)["mixing"]


def test_wrong_number_of_heads_and_axes_are_caught():
    model, x = CASES["gpt2"].hooked()
    for name, changes in (("blocks.0.attn.hook_z", {"heads": 8}), ("blocks.1.mlp.hook_pre", {"axes": ("batch", "d")})):
        site, tap = model.map.sites[name]
        model.map.sites[name] = (replace(site, **changes), tap)
    assert {"blocks.0.attn.hook_z", "blocks.1.mlp.hook_pre"} <= broken(model, x)["fires"]


def test_undeclared_visit_of_a_loop_is_caught():
    model = hook(Loop(times=4), LOOP)
    assert "ran 4 times, 3 visits are declared" in str([row.note for row in check_model(model, X).failures])
    assert not broken(hook(Loop(times=3), LOOP), X)


def test_bidirectional_model_is_no_causal_one():
    model, x = CASES["bert"].hooked()
    model.map.causal = True
    assert "blocks.1.hook_resid_post" in broken(model, x)["causal"]


def test_undeclared_and_falsely_declared_unused_parameters_are_caught():
    class Spare(Loop):
        def __init__(self):
            super().__init__()
            self.spare = nn.Linear(2, 2)

    assert broken(hook(Spare(), LOOP), X)["reaches"] == {"spare.weight", "spare.bias"}
    assert not broken(hook(Spare(), LOOP, unused_parameters={"spare": "kept for old files"}), X)
    assert broken(hook(Loop(), LOOP, unused_parameters={"head.bias": "no"}), X)["reaches"] == {"head.bias"}
    assert broken(hook(Loop(), LOOP, unused_parameters={"gone": "renamed"}), X)["reaches"] == {"gone"}


def test_readout_of_zero_makes_nothing_pass_vacuously():
    assert set(broken(hook(Loop(readout=False), LOOP), X)) == {"changes", "gradient", "reaches"}


def test_inert_sites_are_exactly_the_declared_ones():
    class Side(Loop):
        def __init__(self):
            super().__init__()
            self.side = nn.Linear(4, 4)

        def forward(self, x):
            return super().forward(x) + 0 * self.side(x).sum()

    sites = LOOP | {"side.hook_out": At("side", axes="batch pos d_side")}
    unused = {"side": "multiplied by zero"}
    assert broken(hook(Side(), sites, unused_parameters=unused), X)["changes"] == {"side.hook_out"}
    inert = {"side.hook_out": "multiplied by zero"}
    assert not broken(hook(Side(), sites, unused_parameters=unused, inert_sites=inert), X)
    falsely = {"blocks.0.mlp.hook_pre": "it is not"}
    assert broken(hook(Loop(), LOOP, inert_sites=falsely), X)["inert"] == {"blocks.0.mlp.hook_pre"}


def test_random_sites_are_exactly_the_declared_ones():
    class Noisy(Loop):
        def __init__(self):
            super().__init__()
            self.noise = nn.Identity()

        def forward(self, x):
            return super().forward(x + self.noise(0.1 * torch.randn(x.shape).to(x)))

    sites = {"noise.hook_out": At("noise", axes="batch pos d_model")} | LOOP
    assert {"noise.hook_out", "output"} <= broken(hook(Noisy(), sites), X)["deterministic"]
    assert not broken(hook(Noisy(), sites, random_sites={"noise.hook_out": "noise on the input"}), X)
    late = {"blocks.1.hook_resid_pre": "behind the noise, not the noise"}
    assert "blocks.0.hook_resid_pre" in broken(hook(Noisy(), sites, random_sites=late), X)["deterministic"]
    assert "output" in broken(hook(Loop(), LOOP, random_sites={"output": "it is not"}), X)["deterministic"]


def test_value_that_is_overwritten_in_place_is_caught():
    class InPlace(Loop):
        def forward(self, x):
            y = self.block(x)
            y.mul_(2.0)  # what an in-place LayerScale does
            return self.head(y)

    assert broken(hook(InPlace(), {"mlp.hook_pre": "block"}), X)["kept"] == {"mlp.hook_pre"}


def test_role_that_computes_something_else_is_caught():
    model, x = CASES["gpt2"].hooked()
    mlp = "transformer.h.0.mlp"
    model.map.roles[mlp] = Forward(lambda module, x: module.c_proj(torch.relu(module.c_fc(x))))
    assert "own forward" in broken(model, x)


def test_view_that_writes_elsewhere_breaks_the_round_trip():
    model, x = CASES["gpt2"].hooked()
    name = "blocks.0.mlp.hook_pre"
    site, tap = model.map.sites[name]

    class Half(type(tap.view)):
        def write(self, raw, new, call):
            return (raw + new) / 2

    model.map.sites[name] = (site, replace(tap, view=Half()))
    assert broken(model, x)["round trip"] == {name}


def test_hook_left_behind_changes_the_fingerprint():
    module = Loop()
    before = fingerprint(module)
    module.block.register_forward_hook(lambda *args: None)
    module.block.forward = module.block.forward
    module.head.eval()
    where = {row[1] for row in unchanged(before, fingerprint(module))}
    assert {"block hooks", "block forward", "head plain values"} <= where


def test_norm_with_the_wrong_statistics_breaks_the_round_of_equations():
    model, x = CASES["olmo2"].hooked()
    model.map.roles["model.layers.0.post_attention_layernorm"] = replace(LAYER_NORM, eps="variance_epsilon")
    with pytest.raises(LawBroken) as error:
        check_model(model, x).raise_if_failed()
    assert "olmo2 (float32) breaks" in str(error.value) and "tolerance" in str(error.value)


def test_frame_has_a_line_a_law_and_names_the_worst_place():
    model, x = CASES["gpt2"].hooked()
    frame = check_model(model, x).frame()
    assert frame["law"].is_unique and frame["passed"].all() and (frame["failed"] == 0).all()
    least = frame.set_index("law").loc["changes"]
    assert least.error > least.tolerance and least.worst in model.map.sites


def test_tolerance_can_be_given_for_all_or_for_one_law():
    model, x = CASES["gpt2"].hooked()
    assert not check_model(model, x, tolerance=1e-12).ok
    assert {r.law for r in check_model(model, x, tolerance={"caching": -1.0}).failures} == {"caching"}
    with pytest.raises(BadInput, match="no law is called 'speed'"):
        check_model(model, x, tolerance={"speed": 1.0})


def test_training_mode_is_restored():
    model, x = CASES["bert"].hooked()
    model.train()
    model.module.bert.encoder.eval()
    assert check_model(model, x).ok
    assert model.module.training and not model.module.bert.encoder.training
