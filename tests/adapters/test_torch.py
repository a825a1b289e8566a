"""A plain module with its user's site map."""

import re

import pytest
import torch
from torch import nn

from interp.adapters import At, hook
from interp.hooks import Patch
from interp.hooks.check import check_model
from interp.hooks.tap import mark
from interp.results.errors import BadInput, MissingSite, RequiresResidualStream


class Layer(nn.Module):
    """Post- or pre-norm block with one attention-like mixer (softmax of a fixed score) and an MLP."""

    def __init__(self, d=8, post=False):
        super().__init__()
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.RMSNorm(d)
        self.up, self.down = nn.Linear(d, 12), nn.Linear(12, d)
        self.post = post

    def mix(self, x):
        q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        pattern = mark(self, "pattern", (q @ k.transpose(-1, -2)).softmax(-1))
        return self.proj((pattern @ v).transpose(1, 2).flatten(2))

    def mlp(self, x):
        return self.down(torch.tanh(self.up(x)))

    def forward(self, x):
        if self.post:
            x = self.norm1(x + self.mix(x))
            return self.norm2(0.5 * x + self.mlp(x))
        x = x + self.mix(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Net(nn.Module):
    def __init__(self, post=False):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.layers = nn.ModuleList(Layer(post=post) for _ in range(2))
        self.final, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return {"scores": self.head(self.final(x))}


SITES = {
    "hook_embed": "embed",
    "blocks.{d}.hook_resid_pre": "layers.{d}:in",
    "blocks.{d}.ln1": "layers.{d}.norm1",
    "blocks.{d}.attn.hook_q": At("layers.{d}.qkv", heads=2, part=0, parts=3),
    "blocks.{d}.attn.hook_k": At("layers.{d}.qkv", heads=2, part=1, parts=3),
    "blocks.{d}.attn.hook_v": At("layers.{d}.qkv", heads=2, part=2, parts=3),
    "blocks.{d}.attn.hook_pattern": At("layers.{d}", "pattern", heads=2, pattern="softmax"),
    "blocks.{d}.attn.hook_z": At("layers.{d}.proj", "in", heads=2),
    "blocks.{d}.hook_attn_out": "layers.{d}.proj",
    "blocks.{d}.hook_resid_mid": At("layers.{d}.proj", plus="blocks.{d}.hook_resid_pre"),
    "blocks.{d}.ln2": "layers.{d}.norm2",
    "blocks.{d}.mlp.hook_pre": "layers.{d}.up",
    "blocks.{d}.mlp.hook_post": "layers.{d}.down:in",
    "blocks.{d}.hook_mlp_out": "layers.{d}.down",
    "blocks.{d}.hook_resid_post": "layers.{d}",
    "ln_final": "final",
}
PRE = {"": "blocks.0.hook_resid_pre = embed",
       "blocks.{d}": ["resid_mid = resid_pre + attn_out", "resid_post = resid_mid + mlp_out"]}
POST = {"": "blocks.0.hook_resid_pre = embed",
        "blocks.{d}": ["resid_mid = ln1(resid_pre + attn_out)", "resid_post = ln2(0.5 * resid_mid + mlp_out)"]}
X = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def build(post=False, dtype=torch.float32, **changes):
    torch.manual_seed(0)
    sites = SITES | changes.pop("sites", {})
    if post:
        sites["blocks.{d}.hook_resid_mid"] = "layers.{d}.norm1"
    module = Net(post).to(dtype)
    return hook(module, sites, equations=POST if post else PRE, output=At("", key="scores"), **changes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("post", [False, True])
def test_own_module_keeps_the_contract(post, dtype):
    model = build(post, dtype)
    check = check_model(model, X.to(dtype)).raise_if_failed()
    assert {"whole model", "pattern", "mixing", "equation"} <= {row.law for row in check.rows}
    assert model.n_layers == 2 and model(X.to(dtype)).shape == (2, 6, 5)


def test_depth_template_makes_one_site_a_layer():
    model = build()
    assert [s.name for s in model.sites("blocks.*.attn.hook_z")] == [f"blocks.{d}.attn.hook_z" for d in range(2)]
    site = model.site("blocks.1.attn.hook_z")
    assert (site.depth, site.heads, site.axes) == (1, 2, ("batch", "pos", "head", "d_head"))


def test_patched_stream_reaches_both_what_follows_and_the_sum():
    model, x = build(), X.float()
    cache = model.run_with_cache(x)[1]
    with model.edit(Patch("blocks.0.hook_resid_mid", torch.zeros(8))):
        post = model.run_with_cache(x, names=["blocks.0.hook_resid_post", "blocks.0.hook_mlp_out"])[1]
    assert torch.allclose(post["blocks.0.hook_resid_post"], post["blocks.0.hook_mlp_out"], atol=1e-6)
    assert not torch.allclose(cache["blocks.0.hook_resid_post"], post["blocks.0.hook_resid_post"], atol=1e-3)


def test_names_of_its_own_are_allowed_with_axes_and_refused_without():
    model = build(sites={"gate.hook_value": At("layers.0.up", axes="batch pos d_gate")})
    assert model.site("gate.hook_value").axes == ("batch", "pos", "d_gate")
    with pytest.raises(BadInput, match="'gate.hook_worth' has no entry in the vocabulary"):
        build(sites={"gate.hook_worth": "layers.0.up"})
    with pytest.raises(BadInput, match="'Gate Value' is not written like a site name"):
        build(sites={"Gate Value": At("layers.0.up", axes="batch pos d")})


@pytest.mark.parametrize(("sites", "message"), [
    ({"hook_embed": "embd"}, 'put at \'embd\', and Net has no such module. Did you mean "embed"?'),
    ({"blocks.{d}.mlp.hook_pre": "layer.{d}.up"}, 'Did you mean "layers.0.up"?'),
    ({"blocks.{d}.mlp.hook_pre": "layers.0.up"}, "stands for several sites and 'layers.0.up' for one module"),
    ({"blocks.{d}.ln1": "layers.{d}.up"}, "is said to be the norm 'layers.0.up', which is a Linear"),
    ({"hook_embed": 3}, "a site's place is a int"),
    ({"blocks.{d}.hook_resid_mid": At("layers.{d}.proj", plus="blocks.{d}.hook_resid_cross")},
     "declare 'blocks.0.hook_resid_cross' before it"),
])  # fmt: skip
def test_bad_place_says_what_is_there(sites, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        build(sites=sites)


@pytest.mark.parametrize(("equation", "message"), [
    ("resid_post is resid_pre + attn_out", "is no equation; write it like"),
    ("resid_post = resid_pre plus attn_out", "'resid_pre plus attn_out' in"),
    ("resid_post = resid_pre + atn_out", 'names \'atn_out\', which is no site of it. Did you mean "blocks.0.hook_attn'),
    ("resid_post = ln3(resid_pre + attn_out)", "uses the norm 'ln3'; declare it among the sites"),
    ("resid_post = x * resid_pre + attn_out", "'x * resid_pre' in"),
])
def test_bad_equation_says_what_is_wrong(equation, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        hook(Net(), SITES, equations={"blocks.{d}": equation}, output=At("", key="scores"))


def test_block_without_equation_is_refused_not_summed_to_nothing():
    model = hook(Net(), SITES, equations={"blocks.{d}": []}, output=At("", key="scores"))
    cache = model.run_with_cache(X.float())[1]
    with pytest.raises(RequiresResidualStream, match="declares no equation for blocks.0"):
        model.contributions(cache, 0)


def test_loop_is_as_deep_as_its_visits_and_an_edit_targets_one():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Linear(3, 3)

        def forward(self, x):
            for _ in range(4):
                x = torch.tanh(self.cell(x))
            return x

    torch.manual_seed(0)
    module, x = Loop(), X.float()
    model = hook(module, {"blocks.{d}.mlp.hook_pre": At("cell", visits=4)})
    cache = model.run_with_cache(x)[1]
    expected = x
    for d in range(4):
        pre = module.cell(expected)
        assert torch.equal(cache[f"blocks.{d}.mlp.hook_pre"], pre)
        expected = torch.tanh(pre)
    with model.edit(Patch("blocks.2.mlp.hook_pre", torch.ones(3))):
        assert torch.allclose(model(x), torch.tanh(module.cell(torch.ones_like(x).tanh())))
    assert [s.visit for s in model.tied("blocks.0.mlp.hook_pre")] == [0, 1, 2, 3]


def test_layer_that_is_skipped_raises_missing_site():
    class Skips(Net):
        def forward(self, x):
            return {"scores": self.head(self.final(self.layers[0](self.embed(x))))}

    model = hook(Skips(), SITES, output=At("", key="scores"))
    with pytest.raises(MissingSite, match=r"blocks.1.hook_mlp_out' was asked for and did not fire.*was not called"):
        model.run_with_cache(X.float(), names="blocks.1.hook_mlp_out")
