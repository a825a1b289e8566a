"""TransformerLens' bridge as a back end. The first half uses a hand-made bridge, the second the real one."""

import sys
import types

import pytest
import torch
from torch import nn

from interp.adapters import hook
from interp.hooks import Patch
from interp.hooks.check import check_model
from interp.results.errors import BadInput, MissingSite
from tests.adapters.tiny import of


class Block(nn.Module):
    """x += attention-like mix; x += mlp, with hook points as the bridge has them."""

    def __init__(self, post=False, shown_only=False):
        super().__init__()
        self.post, self.shown_only = post, shown_only
        self.v, self.o, self.mlp = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        names = ("resid_pre", "v", "pattern", "z", "attn_out", "resid_mid", "mlp_out", "resid_post", "result")
        self.points = nn.ModuleDict({name: nn.Identity() for name in names})

    def forward(self, x):
        at = self.points
        x = at["resid_pre"](x)
        v = at["v"](self.v(x)).unflatten(-1, (2, 4))
        pattern = torch.full((x.shape[0], 2, x.shape[1], x.shape[1]), 1.0).tril().softmax(-1)
        seen = at["pattern"](pattern)
        z = at["z"](torch.einsum("bhqk,bkhd->bqhd", pattern if self.shown_only else seen, v))
        attn = at["attn_out"](self.o(z.flatten(2)))
        mid = x + attn
        if self.post:
            mid = nn.functional.layer_norm(mid, (8,))
        mlp = at["mlp_out"](torch.tanh(self.mlp(at["resid_mid"](mid))))
        return at["resid_post"](mid + mlp)


def bridge(**kwargs):
    """A module that looks like a TransformerBridge from outside."""

    class TransformerBridge(nn.Module):
        __module__ = "transformer_lens.made_by_hand"

        def __init__(self):
            super().__init__()
            self.cfg = types.SimpleNamespace(d_vocab=11, n_ctx=16, n_heads=2, architecture="HandMade")
            self.tokenizer = None
            self.embed, self.blocks = nn.Embedding(11, 8), nn.ModuleList(Block(**kwargs) for _ in range(2))
            self.hook_embed = nn.Identity()

        @property
        def hook_dict(self):
            found = {"hook_embed": self.hook_embed, "blocks.0.hook_of_theirs": self.hook_embed}
            for d, block in enumerate(self.blocks):
                for name, point in block.points.items():
                    part = "attn." if name in ("v", "pattern", "z", "result") else ""
                    found[f"blocks.{d}.{part}hook_{name}"] = point
            return found

        def forward(self, input):
            x = self.hook_embed(self.embed(input))
            for block in self.blocks:
                x = block(x)
            return x

    torch.manual_seed(0)
    return TransformerBridge().eval()


X = torch.tensor([[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]])


def test_hook_points_are_sites_of_the_same_name_and_keep_the_contract():
    model = hook(bridge())
    assert model.name == "HandMade" and model.n_layers == 2
    assert {"blocks.0.attn.hook_z", "blocks.1.hook_resid_mid", "hook_embed"} <= {s.name for s in model.sites()}
    assert model.site("blocks.0.attn.hook_v").heads == 2
    check = check_model(model, X).raise_if_failed()
    assert {"block", "whole model", "mixing", "pattern"} <= {row.law for row in check.rows}


def test_stream_between_is_the_stream_not_what_the_second_norm_reads():
    model = hook(bridge())
    with model.edit(Patch("blocks.0.hook_resid_mid", torch.zeros(8))):
        cache = model.run_with_cache(X, names=["blocks.0.hook_resid_post", "blocks.0.hook_mlp_out"])[1]
    assert torch.allclose(cache["blocks.0.hook_resid_post"], cache["blocks.0.hook_mlp_out"], atol=1e-6)


def test_silent_hook_point_is_no_site_and_says_why():
    model = hook(bridge())
    with pytest.raises(MissingSite, match="has no site 'blocks.0.attn.hook_result'. Its hook point is there and did"):
        model.run_with_cache(X, names="blocks.0.attn.hook_result")


def test_pattern_that_is_only_shown_is_declared_inert():
    model = hook(bridge(shown_only=True))
    assert list(model.map.inert_sites) == [f"blocks.{d}.attn.hook_pattern" for d in (0, 1)]
    check_model(model, X).raise_if_failed()
    assert not hook(bridge()).map.inert_sites


def test_block_whose_sum_does_not_hold_gets_no_equation():
    model = hook(bridge(post=True))
    assert all(not block.steps for block in model.map.blocks.values())
    with pytest.raises(ValueError, match="declares no equation for blocks.0"):
        model.contributions(model.run_with_cache(X)[1], 0)


def test_bridge_that_takes_no_tokens_asks_for_an_example():
    other = bridge()
    other.cfg.d_vocab = -1
    with pytest.raises(BadInput, match=r"takes no token ids; give a small input: hook\(bridge, example=x\)"):
        hook(other)
    assert hook(other, example=X).n_layers == 2
    with pytest.raises(BadInput, match="the bridge refused a first forward"):
        hook(other, example=X.float() + 100)


def test_transformerlens_is_not_imported_by_any_of_this():
    if "transformer_lens" not in sys.modules:
        hook(bridge())
        assert "transformer_lens" not in sys.modules


# -- the real one ----------------------------------------------------------------------------------------------------

SIZES = dict(vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
REAL = {
    "GPT2LMHeadModel": ("GPT2Config", dict(vocab_size=50, n_positions=32, n_embd=32, n_layer=2, n_head=4)),
    "LlamaForCausalLM": ("LlamaConfig", SIZES | {"num_key_value_heads": 2}),
    "Gemma2ForCausalLM": ("Gemma2Config", SIZES | {"num_key_value_heads": 2, "head_dim": 8}),
    "GPTNeoXForCausalLM": ("GPTNeoXConfig", SIZES),
    "BertForMaskedLM": ("BertConfig", SIZES | {"max_position_embeddings": 32}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REAL)
def test_real_bridge_keeps_the_contract_and_gives_the_librarys_logits(name):
    sources = pytest.importorskip("transformer_lens.model_bridge.sources", reason="pip install 'interp[lens]'")
    config, sizes = REAL[name]
    module = of(name, config, **sizes).module()
    module.config._attn_implementation = "eager"
    x = torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = module(input_ids=x).logits
    model = hook(sources.build_bridge_from_module(module, architecture=name, hf_config=module.config))
    assert (model(x) - own).abs().max() < 1e-5
    assert model.name == name and len(model.sites()) > 30
    check_model(model, x).raise_if_failed()
