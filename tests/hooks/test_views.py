"""Views: what is read can be written back, and what is written is read again; never in place."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from interp.hooks.tap import Call, Columns, Heads, Image, Minus, Output, Plus, Result, Whole

SIZES = st.integers(1, 4)


def law(view, raw, call=None):
    """read . write = id, write . read = id, and nothing is changed in place."""
    call = call or Call(nn.Identity())
    tensors = raw if isinstance(raw, tuple) else tuple(raw.values()) if isinstance(raw, dict) else (raw,)
    before = [t.clone() for t in tensors if isinstance(t, torch.Tensor)]
    value = view.read(raw, call)
    same = view.write(raw, value.clone(), call)
    assert torch.equal(view.read(same, call), value)
    new = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=value.dtype)
    written = view.write(raw, new, call)
    assert torch.allclose(view.read(written, call), new, rtol=1e-10, atol=1e-10)
    assert all(torch.equal(a, b) for a, b in zip(before, [t for t in tensors if isinstance(t, torch.Tensor)]))
    assert type(written) is type(raw)
    return value, written


@given(SIZES, SIZES, SIZES, SIZES, st.booleans(), st.data())
def test_heads_round_trip_and_touch_only_their_part(batch, heads, d, parts, interleaved, data):
    part = data.draw(st.integers(0, parts - 1))
    raw = torch.arange(batch * 3 * parts * heads * d, dtype=torch.float64).reshape(batch, 3, -1)
    value, written = law(Heads(heads, part, parts, interleaved), raw)
    assert value.shape == (batch, 3, heads, d)
    for other in set(range(parts)) - {part}:
        view = Heads(heads, other, parts, interleaved)
        assert torch.equal(view.read(written, None), view.read(raw, None))


def test_fused_layouts_are_what_gpt2_and_neox_do():
    raw = torch.arange(12.0)[None, None]  # 2 heads, 3 parts, 2 units
    assert Heads(2, 1, 3).read(raw, None).tolist() == [[[[4, 5], [6, 7]]]]  # (part, head, d)
    assert Heads(2, 1, 3, interleaved=True).read(raw, None).tolist() == [[[[2, 3], [8, 9]]]]  # (head, part, d)


@given(SIZES, SIZES, SIZES, SIZES, st.booleans())
def test_images_are_tokens(batch, d, h, w, last):
    shape = (batch, h, w, d) if last else (batch, d, h, w)
    raw = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value, _ = law(Image(last), raw)
    assert value.shape == (batch, h * w, d)
    pixel = raw[0, h - 1, 0] if last else raw[0, :, h - 1, 0]
    assert torch.equal(value[0, (h - 1) * w], pixel)


@given(st.integers(0, 3), st.integers(1, 4))
def test_columns(start, width):
    raw = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value, written = law(Columns(start, start + width), raw)
    assert value.shape[-1] == width and torch.equal(written[..., : start], raw[..., :start])


@pytest.mark.parametrize("view", [Plus("a"), Minus("a"), Plus("a", Image()), Plus("a", Heads(2))])
def test_stream_behind_a_branch(view):
    raw = torch.randn(2, 4, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inner = view.inner.read(raw, None)
    start = torch.randn(inner.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    call = Call(nn.Identity(), values={"a": start})
    value, _ = law(view, raw, call)
    assert torch.equal(value, inner + start if isinstance(view, Plus) else inner - start)
    assert torch.equal(view.write(raw, value, call), raw)  # its own value, to the last bit


@given(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32))
def test_own_value_behind_a_branch_changes_no_bit_in_float32(a, b):
    raw, call = torch.tensor([a]), Call(nn.Identity(), values={"s": torch.tensor([b])})
    for view in (Plus("s"), Minus("s")):
        assert torch.equal(view.write(raw, view.read(raw, call), call), raw)


def test_tuples_and_mappings_keep_their_other_entries():
    t = torch.ones(2, dtype=torch.float64)
    value, written = law(Whole(), (t, "past"))
    assert written[1] == "past"
    value, written = law(Whole(1), (0 * t, t))
    assert torch.equal(value, t) and torch.equal(written[0], 0 * t)
    _, written = law(Whole("b"), {"a": 0 * t, "b": t})
    assert torch.equal(written["a"], 0 * t)


def test_output_is_logits_else_features():
    t = torch.ones(2, dtype=torch.float64)
    assert torch.equal(law(Output(), {"logits": t, "last_hidden_state": 0 * t})[0], t)
    assert torch.equal(law(Output(), {"logits": None, "last_hidden_state": t})[0], t)


@pytest.mark.parametrize("transposed", [False, True])
def test_result_is_each_heads_write_and_sums_to_the_projection(transposed):
    torch.manual_seed(0)
    linear = nn.Linear(6, 5, dtype=torch.float64)
    z = torch.randn(2, 3, 6, dtype=torch.float64)
    raw = linear(z)
    if transposed:
        linear.weight = nn.Parameter(linear.weight.T.contiguous())
    call = Call(linear, z)
    view = Result(2, transposed)
    value = view.read(raw, call)
    assert value.shape == (2, 3, 2, 5) and torch.allclose(value.sum(2) + linear.bias, raw)
    without = view.write(raw, torch.cat([value[:, :, :1], 0 * value[:, :, 1:]], 2), call)
    assert torch.allclose(without, value[:, :, 0] + linear.bias)
