"""Matched parameters, state and work: against counting by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.garden.catalog import build
from interp.garden.comparison.cost import flops, state_size
from interp.garden.comparison.match import PARAMETERS, count, matched
from interp.results.errors import BadInput

NAMES = ("gpt", "llama", "sigmoid-attention", "momentum", "gla", "looped", "mamba", "mamba2-hybrid", "lmuformer",
         "dual-stream", "aaren", "urpe", "ladder", "tokenformer")


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_matched(name):
    sizes = matched(name, d_vocab=33, n_ctx=40)
    model = build(name, **sizes)
    reached = sum(p.numel() for p in model.parameters())
    closes = "d_mlp" in sizes and name not in ("momentum",)
    assert abs(reached - PARAMETERS) <= (0.01 if closes else 0.15) * PARAMETERS
    assert model.map.d_vocab == 33 and model(torch.zeros(1, 40, dtype=torch.long)).shape == (1, 40, 33)


@settings(max_examples=10)
@given(parameters=st.integers(5_000, 60_000))
def test_no_other_width_comes_nearer(parameters):
    sizes = matched("attn-only", 16, 16, parameters)
    reached = abs(count("attn-only", sizes) - parameters)
    for width in (sizes["d_model"] - 8, sizes["d_model"] + 8):
        if width >= 8:
            assert reached <= abs(count("attn-only", sizes | {"d_model": width}) - parameters)


@pytest.mark.parametrize("name, message", [
    ("gtp", 'Did you mean "gpt"'), ("swin", "kind 'vision'"), ("three-phase", "no one width"), ("slab", "encoder"),
])
def test_what_cannot_be_matched_says_why(name, message):
    with pytest.raises(BadInput, match=message):
        matched(name, 33, 40)


def test_a_number_that_no_width_has_is_refused():
    with pytest.raises(BadInput, match="the nearest is"):
        matched("gpt", 5000, 40, 1000)


def test_the_state_of_gpt_is_its_keys_and_values():
    model = build("gpt", d_model=24, n_layers=3, n_heads=2, d_vocab=9, n_ctx=12)
    assert [state_size(model, t) for t in (1, 5)] == [3 * 2 * 24, 5 * 3 * 2 * 24]


def test_the_state_of_grouped_queries_is_smaller_by_the_groups():
    model = build("llama", d_model=32, n_layers=2, n_heads=4, n_kv_heads=1, d_vocab=9, n_ctx=12)
    assert state_size(model, 3) == 3 * 2 * 2 * 8


def test_a_looped_model_keeps_every_visit():
    model = build("looped", d_model=16, n_layers=4, n_heads=2, d_vocab=9, n_ctx=12)
    assert state_size(model, 2) == 2 * 4 * 2 * 16


def test_the_state_of_gla_is_a_matrix_a_head_whatever_the_length():
    model = build("gla", d_model=32, n_layers=2, n_heads=4, d_vocab=9, n_ctx=12)
    assert state_size(model, 1) == state_size(model, 12) == 2 * 4 * (4 * 8)  # keys are half as wide as values


def test_the_state_of_mamba_is_its_scan_and_its_convolution():
    model = build("mamba", d_model=16, n_layers=2, d_state=4, d_vocab=9)
    assert [state_size(model, t) for t in (1, 2, 9)] == [2 * (32 * 4 + 32 * kept) for kept in (1, 2, 3)]


def test_filters_keep_what_they_need_of_the_token_before():
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_vocab": 9, "n_ctx": 12}
    plain = state_size(build("attn-only-rotary", **sizes), 4)
    more = {name: state_size(build(name, **sizes), 4) - plain
            for name in ("momentum", "smeared-keys", "short-conv-keys", "token-shift")}
    assert more == {"momentum": 32, "smeared-keys": 16, "short-conv-keys": 32, "token-shift": 16}


def test_aaren_reads_a_prefix_from_a_state_of_one_size():
    model = build("aaren", d_model=16, n_layers=2, n_heads=2, d_vocab=9, n_ctx=12)
    assert state_size(model, 1) == state_size(model, 12) == 2 * (16 + 2 * 2)


@pytest.mark.parametrize("name, t, message", [("gpt", 0, "1 at least"), ("flowformer-bidirectional", 3, "as a whole")])
def test_states_that_there_are_not(name, t, message):
    with pytest.raises(BadInput, match=message):
        state_size(build(name), t)


@pytest.mark.parametrize("t", [1, 6])
def test_products_of_gpt_by_hand(t):
    d, mlp, vocab, layers = 16, 24, 9, 3
    model = build("gpt", d_model=d, d_mlp=mlp, n_layers=layers, n_heads=2, d_vocab=vocab, n_ctx=8)
    projections = 4 * d * d + 2 * d * mlp
    attention = 2 * d * t  # q k and A v, all pairs of t tokens, a token
    assert flops(model, t).products == pytest.approx(2 * (layers * (projections + attention) + d * vocab))


def test_products_of_gla_by_hand():
    """Projections, decay of rank 16, gate, reading the state, gated MLP; the state itself is built elementwise."""
    d, mlp, vocab, heads = 32, 40, 9, 4
    model = build("gla", d_model=d, d_mlp=mlp, n_layers=1, n_heads=heads, d_vocab=vocab, n_ctx=8)
    work = flops(model, 8)
    d_key = d // 2
    weights = 2 * d * d_key + 2 * d * d + d * 16 + 16 * d_key + d * d + 3 * d * mlp + d * vocab
    reading = d_key * d // heads
    assert work.products == pytest.approx(2 * (weights + reading))
    assert work.elementwise >= 2 * d_key * d // heads  # decay and outer product of every entry of the state


def test_scans_are_counted_as_elementwise_work():
    model, wider = (build("mamba", d_model=16, n_layers=1, d_state=s, d_vocab=9) for s in (4, 8))
    assert flops(wider, 4).elementwise - flops(model, 4).elementwise >= 4 * 32 * 4  # four operations an entry
