"""Laws of every member of the catalog, and what its builder says to wrong names and sizes."""

import sys
from dataclasses import fields, replace

import pytest
import torch

from interp.architectures import build, catalog, describe, register
from interp.architectures.catalog import full_name
from interp.architectures.entry import member
from interp.architectures.gpt import GPT
from interp.architectures.parents import PARENTS, differences, parent_of
from interp.hooks.contributions import carry
from interp.parts import Spec
from interp.results.errors import BadInput, RequiresResidualStream

ENTRIES = {entry.name: entry for entry in catalog()}
SIZES = dict(d_model=32, n_layers=3, n_heads=4, d_vocab=50, n_ctx=16)


def _sizes(name: str) -> dict[str, int]:
    return {size: value for size, value in SIZES.items() if size in ENTRIES[name].sizes}


def _model(name: str):
    return build(name, seed=1, **_sizes(name))


LANGUAGE = [name for name, entry in ENTRIES.items() if entry.kind == "language model"]


def _tokens(n_pos: int = 11) -> torch.Tensor:
    return torch.randint(0, 50, (3, n_pos), generator=torch.Generator().manual_seed(3))


def _x(name: str, model):
    return ENTRIES[name].example(model, batch=3, n_pos=11, seed=3)


each = pytest.mark.parametrize("name", ENTRIES)
READERS = [name for name, entry in ENTRIES.items() if entry.kind in ("language model", "encoder")]
each_language_model = pytest.mark.parametrize("name", LANGUAGE)


@each
def test_building_depends_on_the_seed_alone(name):
    before = torch.get_rng_state()
    first, again, other = (build(name, seed=seed, **_sizes(name)).state_dict() for seed in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def _where(prefix: str) -> tuple[str | None, int]:
    """`token.blocks.3` -> ("token", 3); the only stream of a model has no name."""
    stream, _, depth = prefix.rpartition("blocks.")
    return stream.rstrip(".") or None, int(depth)


@each
def test_blocks_add_up(name):
    model = _model(name)
    _, cache = model.run_with_cache(_x(name, model))
    for block in model.map.blocks.values():
        stream, depth = _where(block.prefix)
        terms = model.contributions(cache, depth, stream)
        total = carry(model, cache, depth, cache[block.resid_pre], stream) + sum(terms.values())
        post = cache[block.resid_post]
        assert (total - post).abs().max() <= 1e-5 * post.abs().max()
        assert all(cache[name].any() for step in block.steps for name in step.writes)


@each
def test_all_writers_add_up_to_the_last_stream(name):
    model = _model(name)
    _, cache = model.run_with_cache(_x(name, model))
    if any(not block.continues for block in list(model.map.blocks.values())[1:]):
        with pytest.raises(RequiresResidualStream, match="a stage starts a stream of its own"):
            model.contributions(cache)
        return
    lasts = {_where(prefix)[0]: cache[block.resid_post] for prefix, block in model.map.blocks.items()}
    for stream, last in lasts.items():
        total = sum(model.contributions(cache, stream=stream).values())
        assert (total - last).abs().max() <= 1e-5 * last.abs().max()


@each_language_model
def test_the_future_does_not_leak(name):
    model, tokens = _model(name), _tokens()
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 50
    with torch.no_grad():
        difference = (model(tokens) - model(changed)).abs().amax((0, 2))
    assert model.map.causal
    assert difference[:6].max() == 0 and difference[6:].min() > 0


@each
def test_caching_everything_changes_nothing(name):
    model = _model(name)
    with torch.no_grad():
        plain = model(_x(name, model))
    out, cache = model.run_with_cache(_x(name, model), [site.name for site in model.sites()])
    assert len(cache) == len(model.sites())
    assert (out - plain).abs().max() <= 1e-5 * plain.abs().max()


REFUSES_MASKS = ("block-transformer", "hat")  # padding would move the borders of their units


@pytest.mark.parametrize("name", REFUSES_MASKS)
def test_a_mask_that_cannot_be_respected_is_refused(name):
    mask = torch.ones(3, 11, dtype=torch.long)
    model = _model(name)
    assert torch.equal(model({"input_ids": _tokens(), "attention_mask": mask}), model(_tokens()))
    mask[0, :2] = 0
    with pytest.raises(BadInput, match="attention_mask hides tokens"):
        model({"input_ids": _tokens(), "attention_mask": mask})


@pytest.mark.parametrize("name", [name for name in READERS if name not in REFUSES_MASKS])
def test_padding_on_either_side_changes_nothing(name):
    model, tokens = _model(name), _tokens(8)
    with torch.no_grad():
        plain = model(tokens)
        for left in (0, 3):
            padded = torch.zeros(3, 11, dtype=torch.long)
            mask = torch.zeros_like(padded)
            padded[:, left : left + 8], mask[:, left : left + 8] = tokens, 1
            out = model({"input_ids": padded, "attention_mask": mask})[:, left : left + 8]
            assert (out - plain).abs().max() <= 1e-5 * plain.abs().max()


@each
def test_gradients_reach_every_parameter(name):
    model = _model(name).train()
    model(_x(name, model)).pow(2).sum().backward()
    missed = [path for path, p in model.module.named_parameters() if p.grad is None or not p.grad.any()]
    assert missed == list(model.map.unused_parameters)


@each
def test_streams_are_patchable(name):
    model = _model(name)
    with torch.no_grad():
        plain = model(_x(name, model))
    names = [s.name for s in model.sites("*blocks.1.hook_*") if "resid" in s.name or "out" in s.name]
    for site in names:
        patched = model.run_with_hooks(_x(name, model), [
            (site, lambda value, site: value * torch.tensor([1.0, 2.0]).repeat(value.shape[-1] // 2))])
        assert (patched - plain).abs().max() > 1e-4 * plain.abs().max(), site
        same = model.run_with_hooks(_x(name, model), [(site, lambda value, site: value.clone())])
        assert (same - plain).abs().max() <= 1e-5 * plain.abs().max(), site


@each
def test_description_names_every_kind_of_site_and_what_differs_from_the_parent(name):
    text = describe(name, **_sizes(name))
    model = _model(name)
    assert ENTRIES[name].citation in text and f"{sum(p.numel() for p in model.parameters()):,} parameters" in text
    parent = parent_of(name)
    assert parent is None or f"against {parent}\n  " in text and "no equation" not in text
    equations = text.split("\nsites\n")[0]
    assert all(site.name.replace(f"blocks.{site.depth}", "blocks.{d}") in text for site in model.sites())
    for site in model.sites():
        assert site.kind.rsplit("_", 1)[-1].split(".")[-1] in equations, site.name


def test_every_entry_descends_from_gpt():
    from interp.garden.catalog import catalog  # with what other packages bring

    names = {entry.name for entry in catalog()}
    children = [child for group in PARENTS.values() for child in group]
    assert len(children) == len(set(children)) and set(children) == names - {"gpt"}
    for name in names:
        line = [name]
        while (parent := parent_of(line[-1])) is not None:
            assert parent not in line
            line.append(parent)
        assert line[-1] == "gpt"


def test_differences_are_the_equations_of_one_and_not_the_other():
    lines = differences(ENTRIES["sigmoid-attention"], ENTRIES["gpt"])
    assert lines == ["- A_h = softmax(s_h)", "+ A_h = sigmoid(s_h - 4.16)"]
    assert differences(ENTRIES["gpt"], ENTRIES["gpt"]) == []


GPT_SITES = """hook_embed hook_pos_embed blocks.0.hook_resid_pre blocks.0.ln1.hook_scale blocks.0.ln1.hook_normalized
blocks.0.attn.hook_q blocks.0.attn.hook_k blocks.0.attn.hook_v blocks.0.attn.hook_attn_scores blocks.0.attn.hook_pattern
blocks.0.attn.hook_z blocks.0.attn.hook_result blocks.0.hook_attn_out blocks.0.hook_resid_mid blocks.0.ln2.hook_scale
blocks.0.ln2.hook_normalized blocks.0.mlp.hook_pre blocks.0.mlp.hook_post blocks.0.hook_mlp_out blocks.0.hook_resid_post
ln_final.hook_scale ln_final.hook_normalized output""".split()
DIFFERENCES = {  # what a member has more and less than gpt, at one depth
    "gpt": ("", ""),
    "attn-only": ("", "hook_resid_mid ln2.hook_scale ln2.hook_normalized mlp.hook_pre mlp.hook_post hook_mlp_out"),
    "llama": ("attn.hook_rot_q attn.hook_rot_k mlp.hook_pre_linear", "hook_pos_embed"),
    "post-norm": ("", "ln_final.hook_scale ln_final.hook_normalized"),
    "peri-ln": ("embed_ln.hook_scale embed_ln.hook_normalized ln1_post.hook_scale ln1_post.hook_normalized "
                "ln2_post.hook_scale ln2_post.hook_normalized", ""),
    "parallel": ("", "hook_resid_mid"),
    "layerscale": ("", ""),
    "rotary": ("attn.hook_rot_q attn.hook_rot_k", "hook_pos_embed"),
    "alibi": ("", "hook_pos_embed"),
    "sinusoidal": ("", ""),
    "looped": ("", ""),
    "attn-only-rotary": ("attn.hook_rot_q attn.hook_rot_k", "hook_pos_embed hook_resid_mid ln2.hook_scale "
                         "ln2.hook_normalized mlp.hook_pre mlp.hook_post hook_mlp_out"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_site_names(name):
    more, less = ({kind if kind in GPT_SITES or kind.startswith("embed_ln") else f"blocks.0.{kind}"
                   for kind in words.split()} for words in DIFFERENCES[name])
    found = [site.name for site in build(name, **SIZES | {"n_layers": 1}).sites()]
    assert len(found) == len(set(found))
    assert set(found) == (set(GPT_SITES) | more) - less


def test_looped_depths_are_visits_of_one_block():
    model = build("looped", **SIZES)
    assert model.n_layers == 3 and len(model.module.blocks) == 1
    sites = model.tied("blocks.0.hook_attn_out")
    assert [(site.name, site.visit) for site in sites] == [(f"blocks.{d}.hook_attn_out", d) for d in range(3)]
    one = sum(p.numel() for p in build("gpt", **SIZES | {"n_layers": 1}).parameters())
    assert sum(p.numel() for p in model.parameters()) == one


def test_looped_equals_gpt_with_the_block_copied():
    looped, deep = build("looped", seed=2, **SIZES), build("gpt", seed=3, **SIZES)
    state = looped.state_dict()
    deep.module.load_state_dict({key: state["blocks.0." + key.split(".", 2)[2] if key.startswith("blocks.") else key]
                                 for key in deep.state_dict()})
    with torch.no_grad():
        assert torch.equal(looped(_tokens()), deep(_tokens()))


def test_a_spec_is_at_most_twelve_fields_and_frozen():
    assert len(fields(Spec)) <= 12
    with pytest.raises(AttributeError):
        GPT.d_model = 3


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(BadInput, match='Did you mean "peri-ln"'):
        build("peri_ln")


def test_an_unknown_size_names_the_nearest():
    with pytest.raises(BadInput, match='Did you mean "n_layers"'):
        build("gpt", layers=3)


@pytest.mark.parametrize("sizes, message", [
    ({"d_model": 30, "n_heads": 4}, "no multiple of n_heads"),
    ({"n_kv_heads": 3}, "no multiple of n_kv_heads"),
    ({"n_layers": 0}, "at least 1"),
    ({"d_vocab": 1.5}, "whole number"),
    ({"d_model": 12, "n_heads": 4}, "even d_head"),
])
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(BadInput, match=message):
        build("llama", **sizes)


def test_a_prompt_longer_than_learned_positions_is_refused_and_others_go_on():
    with pytest.raises(BadInput, match="context"):
        build("gpt", **SIZES)(torch.zeros(1, 17, dtype=torch.long))
    assert build("rotary", **SIZES)(torch.zeros(1, 17, dtype=torch.long)).shape == (1, 17, 50)


def test_a_registered_entry_is_built_and_its_name_is_taken(monkeypatch):
    # the module: the package's attribute of that name is the function
    monkeypatch.setattr(sys.modules["interp.architectures.catalog"], "_registered", {})
    entry = member("tiny-test", "a test", replace(GPT, n_layers=1), family="test", citation="none")
    register(entry)
    assert build("tiny-test").n_layers == 1 and entry in catalog()
    with pytest.raises(BadInput, match="already"):
        register(entry)


def test_numbers_of_papers_are_those_of_the_seed_list():
    assert all(1 <= entry.paper <= 205 for entry in catalog() if entry.paper)
    assert all(entry.citation and entry.title and entry.family and entry.kind for entry in catalog())


def test_a_name_may_be_shortened_to_a_beginning_that_fits_one():
    given = ("sigmoid", "gpt", "dual-stream")
    assert [full_name(name) for name in given] == ["sigmoid-attention", "gpt", "dual-stream"]
    for none in ("metaformer", "sigmo", ""):  # three of them, not at a hyphen, nothing
        with pytest.raises(BadInput, match="no architecture"):
            full_name(none)
