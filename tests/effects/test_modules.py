"""Plain modules with a user's site map: fused kernels, writes in place, modules called twice, no equations."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from interp.adapters import At, hook
from interp.effects import effects
from interp.hooks import Counterfactual, Source
from tests.effects.models import curved_metric, linear_metric, randomise
from tests.effects.oracles import close, loop_effects

EXACT = 1e-10


def images(seed: int) -> torch.Tensor:
    return torch.randn(3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Attention(nn.Module):
    """Attention in plain torch functions, without biases: softmax written out, or one fused call."""

    def __init__(self, fused: bool):
        super().__init__()
        self.qkv, self.out, self.fused = nn.Linear(8, 24, bias=False), nn.Linear(8, 8, bias=False), fused

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.fused:
            return x + self.out(F.scaled_dot_product_attention(q, k, v))
        return x + self.out((q @ k.transpose(-1, -2) / 8**0.5).softmax(-1) @ v)


@pytest.mark.parametrize("fused", [True, False])
def test_frozen_holds_patterns_that_no_adapter_declared(fused):
    module = randomise(nn.Sequential(nn.Linear(8, 8, bias=False), Attention(fused), Attention(fused)).double())
    model = hook(module, sites={"hook_embed": "0", "blocks.0.hook_resid_post": "1"})
    got = effects(model, images(0), [Source("hook_embed")], linear_metric, "frozen")
    close(got.values, got.clean[None], EXACT)  # no constants: values are all there is
    tangent = effects(model, images(0), [Source("hook_embed")], linear_metric, "tangent").values
    assert (tangent - got.values).abs().max() > 1e-3


class InPlace(nn.Module):
    """x += W2 relu(W1 x), its ReLU and its sum written in place."""

    def __init__(self):
        super().__init__()
        self.up, self.act, self.down = nn.Linear(8, 12), nn.ReLU(inplace=True), nn.Linear(12, 8)

    def forward(self, x):
        y = self.down(self.act(self.up(x)))
        y += x
        return y


def test_code_that_writes_in_place_is_run_as_it_is():
    module = randomise(nn.Sequential(nn.Linear(8, 8), InPlace(), InPlace(), InPlace()).double())
    model = hook(
        module,
        sites={
            "hook_embed": "0",
            **{f"blocks.{d}.hook_resid_pre": f"{d + 1}:in" for d in range(3)},
            **{f"blocks.{d}.{kind}": f"{d + 1}.{place}" for d in range(3) for kind, place in (
                ("mlp.hook_pre", "up"), ("mlp.hook_post", "down:in"), ("hook_mlp_out", "down"))},
            **{f"blocks.{d}.hook_resid_post": f"{d + 1}" for d in range(3)},
        },
        equations={"blocks.{d}": "resid_post = resid_pre + mlp_out"},
    )
    sources = [Source(f"blocks.{d}.{kind}", pos=p) for d in range(3) for p in (None, 1)
               for kind in ("mlp.hook_pre", "mlp.hook_post", "hook_resid_pre")]
    baseline = Counterfactual(images(1))
    for part in (sources, [s for s in sources if s.site.endswith("hook_post")]):  # the second starts behind `up`
        got = effects(model, images(0), part, curved_metric, baseline=baseline)
        close(got.values, loop_effects(model, images(0), part, curved_metric, baseline), EXACT)


class OverStream(nn.Module):
    """Adds to the very tensor that it was given."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x):
        x += self.down(torch.tanh(self.up(x)))
        return x


def test_a_stream_that_is_written_over_is_kept_as_it_was():
    module = randomise(nn.Sequential(nn.Linear(8, 8), OverStream(), OverStream(), OverStream()).double())
    sites = {"hook_embed": "0"}
    for d in range(3):
        sites |= {f"blocks.{d}.hook_resid_pre": f"{d + 1}:in", f"blocks.{d}.mlp.hook_post": f"{d + 1}.down:in",
                  f"blocks.{d}.hook_mlp_out": f"{d + 1}.down", f"blocks.{d}.hook_resid_post": f"{d + 1}"}
    model = hook(module, sites=sites, equations={"blocks.{d}": "resid_post = resid_pre + mlp_out"})
    sources = [Source(f"blocks.{d}.{kind}", pos=p) for d in range(3) for p in (None, 1)
               for kind in ("hook_resid_pre", "mlp.hook_post", "hook_mlp_out", "hook_resid_post")]
    got = effects(model, images(0), sources, curved_metric)
    close(got.values, loop_effects(model, images(0), sources, curved_metric), EXACT)


class Twice(nn.Module):
    """One projection, applied before and after a nonlinearity."""

    def __init__(self):
        super().__init__()
        self.same = nn.Linear(8, 8)

    def forward(self, x):
        return x + self.same(torch.tanh(self.same(x)))


def test_a_projection_called_twice_is_looked_up_call_by_call():
    module = randomise(nn.Sequential(nn.Linear(8, 8), Twice(), Twice()).double())
    sites = {"hook_embed": "0"}
    for d in range(2):
        sites |= {f"blocks.{d}.hook_resid_pre": f"{d + 1}:in", f"blocks.{d}.mlp.hook_pre": f"{d + 1}.same",
                  f"blocks.{d}.mlp.hook_post": At(f"{d + 1}.same", "in", visit=1),
                  f"blocks.{d}.hook_mlp_out": At(f"{d + 1}.same", visit=1), f"blocks.{d}.hook_resid_post": f"{d + 1}"}
    model = hook(module, sites=sites, equations={"blocks.{d}": "resid_post = resid_pre + mlp_out"})
    calls = []
    handle = module[2].same.register_forward_pre_hook(lambda m, args: calls.append(args[0].shape[0]))
    kinds, baseline = ("mlp.hook_post", "hook_mlp_out"), Counterfactual(images(1))
    sources = [Source(f"blocks.{d}.{kind}", unit=u) for d in range(2) for kind in kinds for u in range(3)]
    got = effects(model, images(0), sources, curved_metric, baseline=baseline)
    handle.remove()
    assert calls
    close(got.values, loop_effects(model, images(0), sources, curved_metric, baseline), EXACT)


def test_projections_before_the_first_source_of_a_block_are_not_computed_again(monkeypatch):
    module = randomise(nn.Sequential(nn.Linear(8, 8), InPlace(), Twice()).double())
    model = hook(
        module,
        sites={"hook_embed": "0", "blocks.0.hook_resid_pre": "2:in", "blocks.0.mlp.hook_pre": "2.same",
               "blocks.0.mlp.hook_post": At("2.same", "in", visit=1), "blocks.0.hook_mlp_out": At("2.same", visit=1),
               "blocks.0.hook_resid_post": "2"},
        equations={"blocks.0": "resid_post = resid_pre + mlp_out"},
    )
    computed = []
    forward = nn.Linear.forward

    def counted(self, x):
        computed.append(self is module[2].same)
        return forward(self, x)

    monkeypatch.setattr(nn.Linear, "forward", counted)
    effects(model, images(0), [Source("blocks.0.mlp.hook_post", unit=u) for u in range(4)], curved_metric)
    assert sum(computed) == 2 + 1  # both calls in the clean run, the second alone behind the source


def test_sites_without_equations_need_no_blocks():
    module = randomise(nn.Sequential(nn.Linear(8, 8), Twice(), Twice()).double())
    model = hook(module, sites={"blocks.0.hook_resid_post": "1", "blocks.1.hook_resid_post": "2"})
    sources = [Source(f"blocks.{d}.hook_resid_post", pos=p) for d in range(2) for p in (0, -1)]
    for rules in ("ablation", "tangent"):
        got = effects(model, images(0), sources, linear_metric, rules).values
        assert got.shape == (4, 3) and (got != 0).all()
    got = effects(model, images(0), sources, curved_metric).values
    close(got, loop_effects(model, images(0), sources, curved_metric), EXACT)
