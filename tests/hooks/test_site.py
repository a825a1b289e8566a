"""Names: one place takes them apart, and nothing is lost on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.hooks.site import Site, check_style, full_name, kind_of, split_name
from interp.hooks.vocabulary import KINDS
from interp.results.errors import BadInput
from tests.adapters.tiny import CASES

OUTSIDE = ("hook_embed", "hook_pos_embed", "hook_token_type_embed", "embed_ln", "ln_final", "output", "stage")
INSIDE = [kind for kind in KINDS if not kind.startswith(OUTSIDE)]


@given(st.sampled_from([None, "encoder", "decoder"]), st.integers(0, 999), st.sampled_from(INSIDE))
def test_block_name_round_trips(stream, depth, kind):
    name = f"{stream + '.' if stream else ''}blocks.{depth}.{kind}"
    assert split_name(name) == (stream, depth, kind)
    site = Site(name, kind_of(name).axes, depth)
    assert site.prefix + site.kind == name == str(site)
    check_style(name)


@given(st.integers(0, 99), st.sampled_from(["hook_in", "hook_out"]))
def test_stage_name_keeps_its_word_in_the_kind(number, point):
    assert split_name(f"stage.{number}.{point}") == (None, number, f"stage.{point}")
    assert kind_of(f"stage.{number}.{point}").axes[0] == "batch"


@pytest.mark.parametrize("kind", [k for k in KINDS if k.startswith(OUTSIDE) and not k.startswith("stage")])
def test_name_outside_blocks_has_no_depth(kind):
    assert split_name(kind) == (None, None, kind)


def test_name_outside_the_vocabulary_is_refused():
    with pytest.raises(BadInput, match="'blocks.0.hook_resid_middle' has no entry in the vocabulary"):
        kind_of("blocks.0.hook_resid_middle")


@pytest.mark.parametrize("name", ["", "hook embed", "blocks..hook_x", "blocks.0.resid", "Blocks.0.hook_x", "hook_"])
def test_style_refuses(name):
    with pytest.raises(BadInput, match="not written like a site name"):
        check_style(name)


@pytest.mark.parametrize(("short", "full"), [
    (("pattern", 3), "blocks.3.attn.hook_pattern"),
    (("q", 0, "attn"), "blocks.0.attn.hook_q"),
    (("resid_post", 1), "blocks.1.hook_resid_post"),
    (("post", 2), "blocks.2.mlp.hook_post"),
    (("scale", 2, "ln1"), "blocks.2.ln1.hook_scale"),
    (("embed",), "hook_embed"),
    (("output",), "output"),
])  # fmt: skip
def test_shorthand_of_transformerlens(short, full):
    assert full_name(*short) == full


def test_every_declared_site_of_every_family_is_in_the_vocabulary():
    for name in ("gpt2", "llama", "bert", "albert", "t5", "mamba2", "swin", "convnext", "poolformer"):
        model, _ = CASES[name].hooked()
        for site in model.sites():
            assert kind_of(site.name) and site.axes and (site.depth is None) == ("." not in site.prefix)
        assert len({site.name for site in model.sites()}) == len(model.sites())


def test_head_and_position_axes_are_found_by_name():
    site = Site("blocks.0.attn.hook_pattern", KINDS["attn.hook_pattern"].axes, 0, heads=4)
    assert (site.head_axis, site.pos_axis, site.axis("key"), site.axis("unit")) == (1, 2, 3, None)
