"""`interp.adapters.hook`: one door, told by what the module is."""

import pytest
import torch
from torch import nn

from interp.adapters import hook
from interp.results.errors import BadInput
from tests.adapters.tiny import CASES, of


@pytest.mark.parametrize(("name", "source"), [("gpt2", "transformers"), ("timm_vit", "timm")])
def test_library_is_told_by_the_class(name, source):
    model = hook(CASES[name].module(), name="mine")
    assert model.recipe["source"] == source and model.name == "mine"


def test_plain_module_needs_sites():
    with pytest.raises(BadInput, match=r"Linear is no transformers, timm or TransformerLens model.*sites="):
        hook(nn.Linear(2, 2))
    assert hook(nn.Sequential(nn.Linear(2, 2)), {"mlp.hook_pre": "0"}).recipe == {"source": "torch"}


def test_sites_of_ones_own_win_over_the_librarys_map():
    model = hook(CASES["gpt2"].module(), {"hook_embed": "transformer.wte"}, input_name="input_ids")
    assert [s.name for s in model.sites()] == ["hook_embed", "output"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(bad):
    module = CASES["gpt2"].module()
    with torch.no_grad():
        module.transformer.h[1].mlp.c_fc.weight[0, :3] = bad
    with pytest.raises(BadInput, match=r"'transformer.h.1.mlp.c_fc.weight' of GPT2LMHeadModel holds 3 NaN or Inf"):
        hook(module)


def test_mask_of_minus_infinity_is_no_damage_and_nan_buffer_is():
    module = nn.Sequential(nn.Linear(2, 2))
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    hook(module, {"mlp.hook_pre": "0"})
    module.mask[0] = torch.nan
    with pytest.raises(BadInput, match="'mask' of Sequential holds 1 NaN"):
        hook(module, {"mlp.hook_pre": "0"})


def test_family_without_a_map_names_those_that_have_one():
    opt = of("OPTForCausalLM", "OPTConfig", vocab_size=50, hidden_size=16, num_hidden_layers=1, ffn_dim=16,
             num_attention_heads=2, max_position_embeddings=16, word_embed_proj_dim=16).module()  # fmt: skip
    with pytest.raises(BadInput, match=r"family 'opt' has no site map.*gpt2.*sites="):
        hook(opt)


def test_wrong_things_are_refused_in_one_line():
    model = hook(CASES["gpt2"].module())
    for thing, message in ((model, "gpt2 is hooked already"), ("gpt2", "a str cannot be hooked")):
        with pytest.raises(BadInput, match=message) as error:
            hook(thing)
        assert "\n" not in str(error.value)
    with pytest.raises(BadInput, match="'causal' goes with sites="):
        hook(model.module, causal=True)


@pytest.mark.parametrize(("changes", "message"), [
    ({"block": "ParallelScalingBlock"}, "timm block ParallelScalingBlock"),
    ({"attn": "diff"}, "with DiffAttention has no site map"),
    ({"scale_attn_norm": True}, "with a norm or gate behind its values has no site map"),
])  # fmt: skip
def test_timm_variant_without_a_map_is_refused_not_guessed(changes, message):
    CASES["timm_vit"].module()  # skips where timm cannot be imported
    from timm.models import vision_transformer as vt

    options = {"scale_attn_norm": changes.get("scale_attn_norm", False)}
    if "block" in changes:
        options["block_fn"] = getattr(vt, changes["block"])
    if "attn" in changes:
        options["attn_layer"] = changes["attn"]
    module = vt.VisionTransformer(img_size=16, patch_size=4, embed_dim=32, depth=1, num_heads=4, **options)
    with pytest.raises(BadInput, match=message):
        hook(module)
