"""Where the leading tools return a wrong result without a word, or refuse: ours answers, or says why not.

Each silent failure was reproduced in TransformerLens 4.3, pyvene 0.1.8 or nnsight 0.8.1.
"""

import pytest
import torch
from torch import nn

from interp.adapters import At, hook
from interp.hooks import Ablate, Patch
from interp.results.errors import BadInput, MissingSite, RequiresPattern, RequiresResidualStream
from tests.adapters.tiny import CASES, REFUSED, of

# -- seven silent failures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_1_sites_inside_a_state_space_mixer_fire(name):
    """TransformerLens: 18 of 70 hooks never fire, because the library uses weights without calling their modules."""
    model, x = CASES[name].hooked()
    inside = [s.name for s in model.sites("*.ssm.hook_*")]
    cache = model.run_with_cache(x, names=inside)[1]
    assert len(inside) == 14 and set(cache.counts.values()) == {1}
    assert all(cache[site].abs().sum() > 0 for site in inside)


def test_2_hook_on_a_module_that_is_never_called_is_an_error():
    """TransformerLens: `run_with_hooks` on `conv1d.hook_out` returns normally with no firing."""
    module, fired = CASES["mamba"].module(), []
    model = hook(module, {"conv.hook_out": At("backbone.layers.0.mixer.conv1d", axes="batch channel pos")},
                 input_name="input_ids")  # fmt: skip
    with pytest.raises(MissingSite, match=r"'conv.hook_out' was asked for and did not fire.*bypassed by its weights"):
        model.run_with_hooks(CASES["mamba"].inputs(), hooks=[("conv.hook_out", lambda value, site: fired.append(1))])
    assert not fired


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_3_mixing_of_a_state_space_model_follows_from_an_ordinary_cache(name):
    """TransformerLens: the effective attention asks for the run that was just made."""
    model, x = CASES[name].hooked(torch.float64)
    cache = model.run_with_cache(x)[1]
    matrix = model.mixing_matrix(cache, 1)
    mixed = torch.einsum("bcqk,bkc->bqc", matrix, cache["blocks.1.ssm.hook_x"])
    assert torch.allclose(mixed, cache["blocks.1.ssm.hook_y"], atol=1e-10)
    assert not matrix.triu(1).any()


def test_4_every_pass_of_a_loop_is_kept():
    """TransformerLens: the cache of a looped model holds its last pass only."""
    model, x = CASES["albert"].hooked()
    cache = model.run_with_cache(x)[1]
    passes = [cache[f"blocks.{d}.hook_resid_post"] for d in range(4)]
    assert all(not torch.equal(a, b) for i, a in enumerate(passes) for b in passes[:i])
    layer = model.module.albert.encoder.albert_layer_groups[0].albert_layers[0]
    stream = cache["blocks.0.hook_resid_pre"]
    for kept in passes:
        with torch.no_grad():
            stream = layer(stream)
        stream = stream[0] if isinstance(stream, tuple) else stream
        assert torch.allclose(stream, kept, atol=1e-6)


def test_5_an_edit_hits_the_pass_it_names_or_all_of_them():
    """TransformerLens edits every pass, nnsight's plain `.output` the first; neither says so."""
    model, x = CASES["albert"].hooked()
    touched = {}
    for tied in (False, True):
        with model.edit(Patch("blocks.1.hook_mlp_out", torch.tensor(3.0), tied=tied)):
            cache = model.run_with_cache(x, names="*.hook_mlp_out")[1]
        touched[tied] = [d for d in range(4) if bool((cache[f"blocks.{d}.hook_mlp_out"] == 3).all())]
    assert touched == {False: [1], True: [0, 1, 2, 3]}


def test_6_all_positions_come_back_as_positions():
    """pyvene: collecting 16 positions returned position 0 cut into 16 pieces."""
    case = CASES["gpt2"]
    model, x = hook(case.module()), case.inputs(n_pos=16)
    z = model.run_with_cache(x, names="blocks.0.attn.hook_z")[1]["blocks.0.attn.hook_z"]
    assert z.shape == (2, 16, 4, 8)
    by_hand = []
    handle = model.module.transformer.h[0].attn.c_proj.register_forward_pre_hook(lambda m, a: by_hand.append(a[0]))
    model(x)
    handle.remove()
    assert torch.equal(z.flatten(2), by_hand[0])
    with model.edit(Ablate("blocks.0.attn.hook_z", pos=slice(3, 16))):
        edited = model.run_with_cache(x, names="blocks.0.attn.hook_z")[1]["blocks.0.attn.hook_z"]
    assert torch.equal(edited[:, :3], z[:, :3]) and not edited[:, 3:].any() and z[:, 3:].any()


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "vit", "t5", "swin", "timm_vit"])
def test_7_inside_of_fused_attention_is_read_patched_and_restored(name):
    """TransformerLens registers a pattern that never fires under sdpa; nnsight's label gave a function; timm's
    `attn_drop` fires 0 of 12 times."""
    model, x = CASES[name].hooked()
    sites = model.sites("*attn.hook_pattern")
    plain = model(x)
    cache = model.run_with_cache(x, names="*attn.hook_pattern")[1]
    assert set(cache.counts[s.name] for s in sites) == {1}
    assert all(torch.allclose(p.sum(-1), torch.ones(()), atol=1e-5) for p in cache.values())
    with model.edit(Ablate(sites[0])):
        assert not torch.allclose(model(x), plain)
    assert torch.equal(model(x), plain)


# -- models that the leading tool refuses ----------------------------------------------------------------------------

LISTED = {**{name: CASES[name] for name in ("albert", "t5", "dinov2", "swin", "poolformer", "convnext")}, **REFUSED}


@pytest.mark.parametrize("name", LISTED)
def test_refused_model_answers(name):
    """Every refused family has its sites, its equation, and interventions that act."""
    model, x = LISTED[name].hooked()
    out, cache = model.run_with_cache(x)
    for prefix, block in model.map.blocks.items():
        stream, _, depth = prefix.rpartition("blocks.")
        terms = model.contributions(cache, int(depth), stream.rstrip(".") or None)
        terms.pop("constants", None)  # shifts of norms, zero before training
        assert terms and all(term.abs().sum() > 0 for term in terms.values())
        with model.edit(Ablate(block.steps[0].writes[0])):
            assert not torch.equal(model(x), out)


@pytest.mark.parametrize("name", ["mamba", "mamba2", "bert", "t5", "llama", "gemma2", "vit"])
def test_residual_decomposition_works_where_the_table_says_fail(name):
    """Table 2.3: `decompose_resid` fails on SSMs and T5, direct paths on post-norm and grouped-query models."""
    model, x = CASES[name].hooked(torch.float64)
    cache = model.run_with_cache(x)[1]
    stream = "decoder" if name == "t5" else None
    last = [b for p, b in model.map.blocks.items() if stream is None or p.startswith(stream)][-1].resid_post
    terms = model.contributions(cache, stream=stream)
    assert len(terms) > 2 and torch.allclose(sum(terms.values()), cache[last], atol=1e-10)


def test_what_cannot_be_answered_says_why():
    convnext, x = CASES["convnext"].hooked()
    cache = convnext.run_with_cache(x)[1]
    with pytest.raises(RequiresPattern, match="has no attention pattern and declares no mixing matrix"):
        sites = {"blocks.0.hook_resid_pre": ":in", "blocks.0.hook_mlp_out": "", "blocks.0.hook_resid_post": ""}
        lone = hook(nn.Linear(3, 3), sites=sites, equations={"blocks.0": "resid_post = 0 * resid_pre + mlp_out"})
        lone.mixing_matrix(lone.run_with_cache(torch.zeros(1, 2, 3))[1], 0)
    with pytest.raises(BadInput, match="declares no blocks"):
        hook(nn.Linear(3, 3), sites=sites).contributions({}, 0)
    with pytest.raises(RequiresResidualStream, match="a stage starts a stream of its own"):
        convnext.contributions(cache)
    t5, x = CASES["t5"].hooked()
    with pytest.raises(RequiresResidualStream, match="streams: decoder., encoder.; name one"):
        t5.contributions(t5.run_with_cache(x)[1])


@pytest.mark.parametrize(("model", "config", "family", "sizes"), [
    ("FNetModel", "FNetConfig", "fnet", {"num_hidden_layers": 1, "hidden_size": 16, "vocab_size": 20}),
    ("PatchTSTModel", "PatchTSTConfig", "patchtst", {"num_hidden_layers": 1, "d_model": 16, "context_length": 16}),
    ("ModernBertModel", "ModernBertConfig", "modernbert", {
        "num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2,
        "vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2,
    }),
])  # fmt: skip
def test_family_without_a_map_is_refused_with_the_way_out(model, config, family, sizes):
    """The rest of the table: no map ships yet, so nothing is guessed, and a map of one's own works at once."""
    module = of(model, config, **sizes).module()
    with pytest.raises(BadInput, match=rf"family '{family}' has no site map.*interp.hook\(module, sites="):
        hook(module)
    layers = next(n for n, part in module.named_modules() if isinstance(part, nn.ModuleList))
    own = hook(module, {"blocks.{d}.hook_resid_post": f"{layers}.{{d}}"})
    assert [s.name for s in own.sites("blocks.*")] == ["blocks.0.hook_resid_post"]


def test_any_module_is_wrapped_with_a_site_map_of_a_few_lines():
    """nnsight runs any module under its own names; here it has the workbench's."""
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    model = hook(module, {"mlp.hook_pre": "0", "mlp.hook_post": "2:in"})
    x = torch.randn(3, 5, 4)
    cache = model.run_with_cache(x)[1]
    assert torch.equal(cache["mlp.hook_pre"].tanh(), cache["mlp.hook_post"])
