"""Which part of a site is meant: masks of heads, positions and units."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interp.hooks.index import Index, Lengths, Source
from interp.hooks.site import Site
from interp.hooks.vocabulary import KINDS
from interp.results.errors import BadInput, MissingSite

Z = Site("blocks.0.attn.hook_z", KINDS["attn.hook_z"].axes, 0, heads=4)
K = Site("blocks.0.attn.hook_k", KINDS["attn.hook_k"].axes, 0, heads=2, groups=2)
PATTERN = Site("blocks.0.attn.hook_pattern", KINDS["attn.hook_pattern"].axes, 0, heads=4)
STREAM = Site("blocks.0.hook_resid_post", KINDS["hook_resid_post"].axes, 0)
SCALE = Site("batchless.hook_value", ("d_model",))
VALUE = torch.zeros(3, 5, 4, 2)


def chosen(index: Index, site: Site, value, lengths=None) -> set[tuple[int, ...]]:
    return {tuple(i.tolist()) for i in torch.broadcast_to(index.mask(site, value, lengths), value.shape).nonzero()}


def test_head_is_one_slice_of_the_head_axis():
    assert chosen(Index(head=2), Z, VALUE) == {(b, p, 2, u) for b in range(3) for p in range(5) for u in range(2)}
    value = torch.zeros(1, 4, 3, 3)
    assert chosen(Index(head=1), PATTERN, value) == {(0, 1, q, k) for q in range(3) for k in range(3)}


def test_query_head_of_a_key_site_is_an_error_that_names_its_group():
    with pytest.raises(BadInput, match=r"has 2 key/value heads; query head 3 reads key/value head 1. Ask for head=1"):
        Index(head=3).check(K)
    Index(head=1).check(K)
    with pytest.raises(BadInput, match="has heads 0 to 1; head 4 was asked for"):
        Index(head=4).check(K)
    with pytest.raises(BadInput, match="has heads 0 to 3; head -1"):
        Index(head=-1).check(Z)


def test_missing_axis_is_named():
    with pytest.raises(MissingSite, match="has no head axis .its axes: batch pos d_model."):
        Index(head=0).check(STREAM)
    with pytest.raises(MissingSite, match="has no position axis"):
        Index(pos=0).check(SCALE)
    with pytest.raises(BadInput, match="has 2 units; unit 2 was asked for"):
        Index(unit=2).mask(Z, VALUE)


def test_position_of_a_pattern_is_its_query():
    value = torch.zeros(1, 4, 3, 3)
    assert chosen(Index(pos=-1), PATTERN, value) == {(0, h, 2, k) for h in range(4) for k in range(3)}


@pytest.mark.parametrize("side", ["left", "right"])
def test_negative_position_counts_from_the_last_real_token(side):
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]])
    mask = mask.flip(1) if side == "left" else mask
    lengths = Lengths.of(3, 5, mask)
    last = {"right": [4, 1, 2], "left": [4, 4, 4]}[side]
    first = {"right": [0, 0, 0], "left": [0, 3, 2]}[side]
    value = torch.zeros(3, 5, 1)
    assert chosen(Index(pos=-1), STREAM, value, lengths) == {(b, p, 0) for b, p in enumerate(last)}
    assert chosen(Index(pos=0), STREAM, value, lengths) == {(b, p, 0) for b, p in enumerate(first)}
    with pytest.raises(BadInput, match="position 2 is outside prompt 1, which has 2 tokens"):
        Index(pos=2).mask(STREAM, value, lengths)
    with pytest.raises(BadInput, match="position -3 is outside prompt 1"):
        Index(pos=-3).mask(STREAM, value, lengths)


def test_one_position_per_prompt():
    value = torch.zeros(3, 5, 1)
    assert chosen(Index(pos=(0, -1, 2)), STREAM, value) == {(0, 0, 0), (1, 4, 0), (2, 2, 0)}
    with pytest.raises(BadInput, match="one position per prompt was asked for: 2 positions, 3 prompts"):
        Index(pos=(0, 1)).mask(STREAM, value)


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), left=st.booleans(),
    start=st.one_of(st.none(), st.integers(-7, 7)), stop=st.one_of(st.none(), st.integers(-7, 7)),
    step=st.sampled_from([None, 1, 2, -1]),
)  # fmt: skip
def test_slice_means_what_python_means_within_the_real_tokens(lengths, left, start, stop, step):
    width = max(lengths)
    mask = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, n in enumerate(lengths):
        mask[row, width - n :] = 1 if left else 0
        if not left:
            mask[row, :n] = 1
    at = slice(start, stop, step)
    expected = set()
    for row, n in enumerate(lengths):
        first = width - n if left else 0
        expected |= {(row, p, 0) for p in range(first, first + n)[at]}
    value = torch.zeros(len(lengths), width, 1)
    assert chosen(Index(pos=at), STREAM, value, Lengths.of(len(lengths), width, mask)) == expected


@given(st.integers(0, 3), st.integers(-5, 4), st.integers(-2, 1))
def test_parts_of_an_index_intersect(head, pos, unit):
    got = chosen(Index(head, pos, unit), Z, VALUE)
    assert got == {(b, pos % 5, head, unit % 2) for b in range(3)}


def test_nothing_left_out_is_the_whole_site():
    assert Index().whole and not Index(unit=0).whole
    assert bool(Index().mask(Z, VALUE).all())


def test_lengths_fold_source_major():
    lengths = Lengths.of(2, 4, torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]])).repeat(2)
    assert lengths.stop.tolist() == [2, 3, 2, 3]


def test_source_has_a_label_and_compares_by_value():
    source = Source("blocks.9.attn.hook_z", head=6, pos=[1, 2])
    assert source == Source("blocks.9.attn.hook_z", head=6, pos=torch.tensor([1, 2]))
    assert source.label == "blocks.9.attn.hook_z[head=6,pos=(1, 2)]"
    assert Source("hook_embed").label == "hook_embed"
