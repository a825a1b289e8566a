"""What would lose the relevant part of a value without anyone noticing: each is refused by name, or right."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from interp.effects.decomposed_tensor import Decomposed, NoRule, parts
from interp.effects.decomposition_rules import CDT, LOCAL_SHAPLEY
from tests.effects.test_decomposed_ops import SOURCES, applied, drawn, same, value

# -- writing into plain tensors ---------------------------------------------------------------------------------------


def put(v):
    out = torch.zeros(2, 3, dtype=torch.float64)
    out[0] = v[0]


def written(name):
    def write(v):
        getattr(torch.zeros(2, 3, dtype=torch.float64), name)(*((0, torch.arange(2), v) if "index" in name else (v,)))
    return write


def into(v):
    torch.add(v, 1, out=torch.zeros(2, 3, dtype=torch.float64))


def own_entry(v):
    v[0] = 0.0


WRITES = {"__setitem__": put, "add_": written("add_"), "copy_": written("copy_"), "mul_": written("mul_"),
          "index_add_": written("index_add_"), "index_copy_": written("index_copy_"), "add with out=": into}


@pytest.mark.parametrize("name", WRITES)
def test_writing_a_decomposed_value_into_a_plain_tensor_raises_and_names_the_operation(name):
    with pytest.raises(NoRule, match=f"^{name} .*plain tensor|^{name} .*into a tensor"):
        applied(WRITES[name], value(2, 3))


def test_writing_entries_of_a_decomposed_value_raises():
    with pytest.raises(NoRule, match="__setitem__"):
        applied(own_entry, value(2, 3))


# -- writing into decomposed values -----------------------------------------------------------------------------------


def test_in_place_operations_change_the_value_itself():
    x, y = value(2, 3), value(2, 3, seed=5)
    for change, total, rows in (
        (lambda v: v.add_(y), x.total + y.total, [a + b for a, b in zip(x.relevant, y.relevant)]),
        (lambda v: v.mul_(3), x.total * 3, [r * 3 for r in x.relevant]),
        (lambda v: v.relu_(), x.total.relu(), [x.total.relu() - (x.total - r).relu() for r in x.relevant]),
        (lambda v: F.relu(v, inplace=True), x.total.relu(),
         [x.total.relu() - (x.total - r).relu() for r in x.relevant]),
        (nn.ReLU(inplace=True), x.total.relu(), [x.total.relu() - (x.total - r).relu() for r in x.relevant]),
        (nn.SiLU(inplace=True), F.silu(x.total), [F.silu(x.total) - F.silu(x.total - r) for r in x.relevant]),
        (lambda v: CDT.activation(nn.ReLU(inplace=True).forward, v), x.total.relu(),
         [x.total.relu() - (x.total - r).relu() for r in x.relevant]),
    ):
        own = Decomposed(x.total.clone(), x.relevant.clone())
        kept = own.total, own.relevant
        assert applied(change, own) is own
        same(own, total, rows)
        assert torch.equal(kept[0], x.total) and torch.equal(kept[1], x.relevant)  # what others hold is as it was

    def grows(v):
        v += y
        v -= 1
        return v

    same(applied(grows, Decomposed(x.total, x.relevant[:1])), x.total + y.total - 1,
         [y.relevant[k] + (x.relevant[0] if k == 0 else 0) for k in range(SOURCES)])


def test_in_place_operations_on_a_value_with_another_view_in_use_are_refused():
    """Plain storage is shared, so the other view would have changed as well."""

    def on_view(v):
        v[:, 0].add_(1)

    def on_base(v):
        view = v.view(6)
        v.add_(1)
        return view

    for trap in (on_view, on_base, lambda v: F.relu(v.view(6), inplace=True), lambda v: v.chunk(3, 1)[0].mul_(2)):
        with pytest.raises(NoRule, match="in place"):
            applied(trap, value(2, 3))

    def rebound(v):
        v = (v * 2).view(6)  # what it was a view of is gone
        v += 1
        return v

    x = value(2, 3)
    same(applied(rebound, x), x.total.view(6) * 2 + 1, [2 * r.view(6) for r in x.relevant])


# -- decisions --------------------------------------------------------------------------------------------------------

DECISIONS = {
    "item": lambda v: v.sum().item(), "__bool__": lambda v: bool(v.sum()), "__float__": lambda v: float(v.sum()),
    "__int__": lambda v: int(v.sum()), "tolist": lambda v: v.tolist(), "numpy": lambda v: v.numpy(),
    "argmax": lambda v: v.argmax(-1), "argsort": lambda v: torch.argsort(v), "gt": lambda v: v > 0,
    "lt": lambda v: v < 0,
    "ge": lambda v: v >= 0, "eq": lambda v: v == 0, "long": lambda v: v.long(), "to": lambda v: v.to(torch.long),
    "type": lambda v: v.type(torch.int32), "round": lambda v: v.round(), "multinomial": lambda v: v.multinomial(1),
    "nonzero": lambda v: v.nonzero(), "any": lambda v: v.any(), "allclose": lambda v: torch.allclose(v, v),
    "bool": lambda v: torch.where(v, 1.0, 0.0), "where": lambda v: 1.0 if v.mean() > 0 else 0.0,
}


@pytest.mark.parametrize("name", DECISIONS)
def test_decisions_from_a_relevant_float_raise(name):
    expected = {"where": "gt"}.get(name, name)
    with pytest.raises(NoRule, match=f"{expected}.*(decision|decides)"):
        applied(DECISIONS[name], value(2, 3))


REFUSED = {
    "cross": lambda v: torch.cross(v, v, -1), "floordiv": lambda v: v // 2, "remainder": lambda v: v % 2,
    "maximum": lambda v: torch.maximum(v, v), "prod": lambda v: v.prod(), "cumprod": lambda v: v.cumprod(0),
    "max": lambda v: v.max(), "instance_norm": lambda v: F.instance_norm(v[None]), "median": lambda v: v.median(),
    "multi_head_attention_forward": lambda v: nn.MultiheadAttention(3, 1).double()(v, v, v), "rounded": lambda v:
    torch.div(v, 2, rounding_mode="floor"), "clamp": lambda v: torch.clamp(v, max=v),
    "pow": lambda v: torch.pow(2.0, v),
    "dropout": lambda v: F.dropout(v, 0.5, True), "linear": lambda v: F.linear(torch.ones(2, 3).double(), v),
    "batch norm": lambda v: F.batch_norm(v, None, None, training=True), "einsum": lambda v:
    torch.einsum("ab,ab,ab->a", v, v, v), "repeat_interleave": lambda v: torch.repeat_interleave(v, v, 0),
    "layer norm": lambda v: F.layer_norm(v, (2, 3)), "kl_div": lambda v: F.kl_div(v, v), "scatter": lambda v:
    v.scatter(0, torch.zeros(1, 3, dtype=torch.long), 1.0), "bits": lambda v: v.view(torch.int64),
    "attention": lambda v: F.scaled_dot_product_attention(v, v, v, dropout_p=0.5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operations_without_a_rule_are_refused_by_name(name):
    with pytest.raises(NoRule, match=name):
        applied(REFUSED[name], value(2, 3))


def test_no_torch_function_passes_without_a_rule():
    """Anything that is not in the tables is refused: nothing falls through to plain arithmetic."""
    from torch.overrides import get_overridable_functions

    from interp.effects import decomposed_ops as ops
    from interp.effects import decomposed_table as table

    known = {*table.FACTS, *table.CONSTANT, *table.LINEAR, *table.ADD, *table.REVERSED_SUB, *table.PRODUCTS,
             *table.DIVISIONS, *table.REVERSED_DIVISIONS, *table.NONLINEAR, *table.IN_PLACE, *ops._SPECIAL}
    everything = {f for functions in get_overridable_functions().values() for f in functions}
    others = [f for f in everything - known if ops.name_of(f) not in ("__get__", "__set__", "__delete__")]
    assert len(others) > 500
    for function in others:
        with pytest.raises(NoRule):
            ops.dispatch(function, (value(2, 3),), {})


def test_properties_that_would_lose_the_parts_are_refused_and_facts_are_not():
    x = value(2, 3)
    assert applied(lambda v: (v.shape, v.ndim, v.dtype, v.device, v.size(0), v.is_contiguous()), x) == (
        x.total.shape, 2, torch.float64, torch.device("cpu"), 2, True)
    z = applied(lambda v: torch.fft.fft(v), x)
    same(applied(lambda v: v.imag, z), torch.fft.fft(x.total).imag, [torch.fft.fft(r).imag for r in x.relevant])
    with pytest.raises(NoRule, match="__set__"):
        applied(lambda v: setattr(v, "data", torch.zeros(2, 3)), x)


# -- constants and activations ---------------------------------------------------------------------------------------


def test_constants_in_the_shape_of_a_decomposed_value_stay_constants():
    """`mask.expand_as(hidden)` holds nothing of `hidden`."""
    x, mask = value(2, 3), drawn(1, 3, seed=7)
    for function in (lambda v: mask.expand_as(v), lambda v: mask.to(v), lambda v: mask.type_as(v),
                     lambda v: mask.view_as(v[:1]), lambda v: torch.zeros_like(v), lambda v: v.new_ones(3)):
        assert type(applied(function, x)) is torch.Tensor
    same(applied(lambda v: v * mask.expand_as(v), x), x.total * mask, [r * mask for r in x.relevant])


def test_rotations_and_scales_are_linear_and_gates_follow_the_product_rule():
    """cos, sin and a layer scale are constants; a gate is an activation even where nothing in it is relevant."""
    x, angle, scale = value(2, 4), drawn(4, seed=7), nn.Parameter(drawn(4, seed=8))

    def rotate(v):
        return v * angle.cos() + torch.cat([-v[..., 2:], v[..., :2]], -1) * angle.sin()

    same(applied(rotate, x), rotate(x.total), [rotate(r) for r in x.relevant])
    same(applied(lambda v: v * scale, x), x.total * scale, [r * scale for r in x.relevant])
    gate = parts(drawn(2, 4, seed=9))
    same(applied(torch.mul, x, gate), x.total * gate.total, [torch.zeros(2, 4).double()] * SOURCES)
    same(applied(torch.mul, x, gate, rules=LOCAL_SHAPLEY), x.total * gate.total,
         [r * gate.total / 2 for r in x.relevant])


# -- infinities and NaN -----------------------------------------------------------------------------------------------


def test_nothing_is_relevant_where_the_total_is_infinite():
    """Masks by -inf, as in attention or in Mamba-2's segment sums, and what is computed from them."""
    x, mask = value(3, 3), torch.ones(3, 3).tril().bool()
    filled = applied(lambda v: v.masked_fill(~mask, float("-inf")), x)
    assert (filled.relevant[:, ~mask] == 0).all() and torch.equal(filled.relevant[:, mask], x.relevant[:, mask])
    for function in (lambda v: v + 1, lambda v: v * 2, lambda v: v[:, :2], lambda v: v.cumsum(-1), lambda v: v.sum(-1),
                     lambda v: v + v, torch.where(mask, 0.0, float("-inf")).double().__add__):
        got = applied(function, filled)
        assert torch.isfinite(got.relevant).all() and (got.relevant[:, ~torch.isfinite(got.total)] == 0).all()
    t = filled.total
    same(applied(torch.exp, filled), t.exp(), [t.exp() - (t - r).exp() for r in filled.relevant])
    same(applied(lambda v: v.softmax(-1), filled), t.softmax(-1),
         [t.softmax(-1) - (t - r).softmax(-1) for r in filled.relevant])
    padded = applied(lambda v: F.pad(v, (1, 0), value=float("-inf")), x)
    assert (padded.relevant[:, :, 0] == 0).all() and torch.equal(padded.relevant[:, :, 1:], x.relevant)
    assert (applied(lambda v: F.pad(v, (1, 0), value=2.0), x).relevant[:, :, 0] == 0).all()


def test_nan_is_an_error_that_names_the_operation():
    x = Decomposed(torch.tensor([1.0, 4.0]), torch.tensor([[2.0, 1.0]]))  # the rest of 1 is -1
    for name in ("sqrt", "log", "rsqrt"):
        with pytest.raises(NoRule, match=f"{name} gave NaN"):
            applied(getattr(torch, name), x)
    with pytest.raises(NoRule, match="pow|__pow__"):
        applied(lambda v: v**0.5, x)
    with pytest.raises(NoRule, match="mul"):
        applied(lambda v: v * float("nan"), x)


def test_a_value_can_be_shown_while_debugging():
    assert repr(value(2, 3)) == "Decomposed(shape=[2, 3], sources=3)"
