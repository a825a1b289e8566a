"""Every torch function of the decomposed engine against the same thing written for one source at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from interp.effects.decomposed_tensor import Decomposed, NoRule
from interp.effects.decomposition_rules import CDT, LOCAL_SHAPLEY, active_rules

SOURCES = 3
RULES = [CDT, LOCAL_SHAPLEY]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value(*shape: int, seed: int = 0, sources: int = SOURCES) -> Decomposed:
    return Decomposed(drawn(*shape, seed=seed), drawn(sources, *shape, seed=seed + 1))


def applied(function, *values, rules=CDT):
    with active_rules(rules), torch.no_grad():
        return function(*values)


def same(got, total: torch.Tensor, rows: list[torch.Tensor]) -> None:
    """`got` has this total and these relevant parts, to float64's rounding."""
    assert isinstance(got, Decomposed) and got.shape == total.shape
    torch.testing.assert_close(got.total, total, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got.relevant, torch.stack(rows), rtol=1e-12, atol=1e-12)


def is_linear(function, x: Decomposed) -> None:
    """Every part goes through the function as the total does; without sources too."""
    got, total = applied(function, x), function(x.total)
    bare = applied(function, Decomposed(x.total, x.relevant[:0]))
    if isinstance(total, tuple | list):
        assert type(got) is type(total) and len(got) == len(total)
        for k, piece in enumerate(got):
            same(piece, total[k], [function(r)[k] for r in x.relevant])
            assert bare[k].relevant.shape == (0, *total[k].shape)
    else:
        same(got, total, [function(r) for r in x.relevant])
        assert bare.relevant.shape == (0, *total.shape)


shapes = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)


@given(shape=shapes, data=st.data())
def test_views_and_permutes_move_parts_as_they_move_the_total(shape, data):
    x, dims = value(*shape), len(shape)
    a, b = (data.draw(st.integers(-dims, dims - 1)) for _ in range(2))
    order = data.draw(st.permutations(range(dims)))
    for function in (
        lambda v: v.transpose(a, b), lambda v: v.permute(order), lambda v: v.permute(*order).reshape(-1),
        lambda v: v.permute(*order).contiguous().view(-1, shape[order[-1]]), lambda v: v.flatten(0, 1),
        lambda v: v.unsqueeze(a), lambda v: v.unsqueeze(a).squeeze(a), lambda v: v.unflatten(0, (1, -1)),
        lambda v: v.mT,
        lambda v: v.swapaxes(a, b), lambda v: v.movedim(a, b), lambda v: torch.permute(v, tuple(order)),
    ):
        is_linear(function, x)


@given(shape=shapes, data=st.data())
def test_indexing_selects_from_parts_as_from_the_total(shape, data):
    x, dims = value(*shape), len(shape)
    places = data.draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, max_size=5))
    last = torch.tensor(data.draw(st.lists(st.integers(0, shape[-1] - 1), min_size=1, max_size=1)))
    first, keep = torch.tensor(places), torch.arange(shape[0]) % 2 == 0
    dim = data.draw(st.integers(-dims, dims - 1))
    for function in (
        lambda v: v[0], lambda v: v[..., -1], lambda v: v[:, None], lambda v: v[..., ::2], lambda v: v[first],
        lambda v: v[:, :1][..., 0], lambda v: v[keep], lambda v: v[first, ..., last], lambda v: v[..., last],
        lambda v: v[torch.arange(shape[0]), 0], lambda v: v[None, first], lambda v: v.select(dim, 0),
        lambda v: v.narrow(dim, 0, 1), lambda v: v.index_select(0, first), lambda v: v.flip(dim),
        lambda v: v.roll(1, dim),
        lambda v: v.unbind(dim), lambda v: v.chunk(2, dim), lambda v: v.split(2, dim),
        lambda v: v.split([1, shape[0] - 1]),
        lambda v: v.repeat_interleave(2, dim), lambda v: v.repeat(2, *[1] * dims), lambda v: v.tril(),
        lambda v: v.gather(0, torch.zeros(shape, dtype=torch.long)),
    ):
        is_linear(function, x)


@given(shape=shapes, data=st.data())
def test_sums_and_casts_are_linear(shape, data):
    x, dim = value(*shape), data.draw(st.integers(-len(shape), len(shape) - 1))
    for function in (
        lambda v: v.sum(), lambda v: v.sum(dim), lambda v: v.mean(dim, keepdim=True), lambda v: v.mean((0, -1)),
        lambda v: v.cumsum(dim), lambda v: -v, lambda v: v.to(torch.float64), lambda v: v.double().clone().detach(),
        lambda v: v / 3, lambda v: v / drawn(shape[-1]), lambda v: v * 2, lambda v: 2 * v, lambda v: v.data,
        lambda v: torch.fft.rfft(v, dim=dim).real, lambda v: torch.fft.fft(v).imag, lambda v: F.dropout(v, 0.5, False),
        lambda v: F.pad(v, (1, 2)), lambda v: v.masked_fill(drawn(shape[-1]) > 0, 0.0),
        lambda v: torch.where(drawn(*shape, seed=5) > 0, v, torch.zeros_like(v)),
    ):
        is_linear(function, x)


@given(shape=shapes, data=st.data())
def test_expanding_and_broadcasting(shape, data):
    """One axis of size 1 is broadcast; the other operand may have more axes, fewer, or no source yet."""
    dim = data.draw(st.integers(0, len(shape) - 1))
    thin = tuple(1 if k == dim else n for k, n in enumerate(shape))
    x, whole, more = value(*thin, seed=2), value(*shape, seed=4, sources=1), value(2, *shape, seed=8)
    is_linear(lambda v: v.expand(shape), x)
    is_linear(lambda v: v.expand(2, *shape), x)
    is_linear(lambda v: v.expand_as(whole.total), x)
    is_linear(lambda v: v * drawn(*shape, seed=7), x)
    is_linear(lambda v: v * drawn(2, *shape, seed=7), x)
    for other in (whole, more):
        rows = [*other.relevant, *[torch.zeros_like(other.total)] * (SOURCES - len(other.relevant))]
        same(applied(torch.add, x, other), x.total + other.total, [a + b for a, b in zip(x.relevant, rows)])
        same(applied(torch.sub, other, x), other.total - x.total, [b - a for a, b in zip(x.relevant, rows)])
        same(applied(lambda a, b: torch.add(a, b, alpha=3), x, other), x.total + 3 * other.total,
             [a + 3 * b for a, b in zip(x.relevant, rows)])
        same(applied(torch.rsub, other, x), x.total - other.total, [a - b for a, b in zip(x.relevant, rows)])
        same(applied(torch.mul, x, other), x.total * other.total, [a * b for a, b in zip(x.relevant, rows)])
    constant = drawn(2, *shape, seed=9)
    same(applied(torch.add, x, constant), x.total + constant, [r + torch.zeros_like(constant) for r in x.relevant])
    same(applied(lambda v: 1 - v, x), 1 - x.total, [-r for r in x.relevant])


@given(a=st.integers(1, 3), b=st.integers(1, 3), c=st.integers(1, 4), d=st.integers(1, 4))
def test_matrix_products_with_a_constant_are_linear(a, b, c, d):
    x, vector = value(a, b, c), value(c)
    for function in (
        lambda v: v @ drawn(c, d), lambda v: drawn(d, b) @ v, lambda v: torch.matmul(v, drawn(a, c, d)),
        lambda v: torch.bmm(v, drawn(a, c, d)), lambda v: torch.matmul(v, drawn(2, a, c, d)), lambda v: v @ drawn(c),
        lambda v: torch.einsum("abc,cd->adb", v, drawn(c, d)), lambda v: torch.einsum("ab,abc->c", drawn(a, b), v),
    ):
        is_linear(function, x)
    for function in (lambda v: v @ drawn(c, d), lambda v: drawn(d, c) @ v, lambda v: v @ drawn(c)):
        is_linear(function, vector)
    is_linear(lambda v: torch.mm(v, drawn(c, d)), value(b, c))


@pytest.mark.parametrize("rules", RULES)
@given(a=st.integers(1, 3), b=st.integers(1, 3), c=st.integers(1, 4))
def test_products_of_two_activations_follow_the_product_rule(rules, a, b, c):
    """f(r, r), or its mean with f(t, t) - f(i, i); also where one of them has nothing relevant, or fewer sources."""
    functions = [
        (torch.mul, (a, b, c), (b, c)), (torch.matmul, (a, b, c), (c, b)), (torch.matmul, (a, b, c), (2, a, c, b)),
        (torch.matmul, (b, c), (c,)), (torch.bmm, (a, b, c), (a, c, b)),
        (lambda u, v: torch.einsum("abc,adc->abd", u, v), (a, b, c), (a, b, c)),
    ]
    for function, left, right in functions:
        for sources in (SOURCES, 1, 0):
            x, y = value(*left, seed=3), value(*right, seed=6, sources=sources)
            rows = [*y.relevant, *[torch.zeros_like(y.total)] * (SOURCES - sources)]
            wanted = [product_rule(function, x.total, y.total, r, s, rules) for r, s in zip(x.relevant, rows)]
            same(applied(function, x, y, rules=rules), function(x.total, y.total), wanted)


def product_rule(function, t, u, r, s, rules):
    alone = function(r, s)
    return alone if rules is CDT else (alone + function(t, u) - function(t - r, u - s)) / 2


def share(bias, r, i, rules=CDT):
    """The part of a bias that goes with r, entry by entry."""
    if rules is LOCAL_SHAPLEY:
        return torch.zeros_like(r + bias)
    size = r.abs() + i.abs()
    return torch.where(size > 0, bias * r.abs() / torch.where(size > 0, size, 1), 0)


@pytest.mark.parametrize("rules", RULES)
@given(batch=st.integers(1, 3), groups=st.integers(1, 2), n=st.integers(3, 5), dead=st.booleans())
def test_linear_layers_and_convolutions_share_their_bias(rules, batch, groups, n, dead):
    layers = [
        (lambda v, w, b: F.linear(v, w, b), (batch, 2, n), (4, n), ()),
        (lambda v, w, b: F.conv1d(v, w, b, padding=2, groups=groups), (batch, 2 * groups, n), (4 * groups, 2, 3), (1,)),
        (lambda v, w, b: F.conv1d(v, w, b), (2, n), (4, 2, 3), (1,)),
        (lambda v, w, b: F.conv2d(v, w, bias=b, stride=2), (batch, 2, n, n), (3, 2, 2, 2), (1, 1)),
        (lambda v, w, b: torch.addmm(b, v, w.T), (batch, n), (4, n), ()),
    ]
    for function, shape, weight, after in layers:
        x, w = value(*shape), drawn(*weight, seed=4)
        if dead:  # nothing comes in: the bias is nobody's
            x = Decomposed(torch.zeros(shape, dtype=torch.float64), torch.zeros(SOURCES, *shape, dtype=torch.float64))
        b = nn.Parameter(drawn(weight[0], seed=5))
        zero = torch.zeros_like(b)
        rows = []
        for r in x.relevant:
            a, rest = function(r, w, zero), function(x.total - r, w, zero)
            rows.append(a + share(b.reshape(-1, *after), a, rest, rules))
        same(applied(lambda v, f=function, w=w, b=b: f(v, w, b), x, rules=rules), function(x.total, w, b), rows)
    is_linear(lambda v: F.linear(v, drawn(4, n)), value(batch, n))
    is_linear(lambda v: F.conv2d(v, drawn(3, 2, 2, 2)), value(batch, 2, n, n))


@pytest.mark.parametrize("rules", RULES)
def test_a_parameter_is_a_bias_and_a_plain_tensor_is_not(rules):
    x, bias = value(2, 4), nn.Parameter(drawn(3, 1, 4, seed=5))
    wanted = [r + share(bias, r, x.total - r, rules) for r in x.relevant]
    same(applied(torch.add, x, bias, rules=rules), x.total + bias, wanted)
    same(applied(lambda v: bias + v, x, rules=rules), x.total + bias, wanted)
    wanted = [share(bias, r, x.total - r, rules) - r for r in x.relevant]
    same(applied(lambda v: bias - v, x, rules=rules), bias - x.total, wanted)
    same(applied(torch.add, x, bias.detach(), rules=rules), x.total + bias, [r.expand(3, 2, 4) for r in x.relevant])


@pytest.mark.parametrize("rules", RULES)
@given(batch=st.integers(1, 3), groups=st.integers(1, 2), side=st.integers(2, 3))
def test_norms_hold_the_statistics_of_the_total(rules, batch, groups, side):
    x = value(batch, 4, side, side)
    w, b = drawn(4, seed=3), drawn(4, seed=4)
    channels = (4, 1, 1)

    def group_norm(part):
        flat = x.total.reshape(batch, groups, -1)
        own = part.reshape(batch, groups, -1)
        scale = (flat.var(-1, correction=0, keepdim=True) + 1e-3).sqrt()
        return ((own - own.mean(-1, keepdim=True)) / scale).reshape(part.shape) * w.reshape(channels)

    wanted = [group_norm(r) + share(b.reshape(channels), r, x.total - r, rules) for r in x.relevant]
    same(applied(lambda v: F.group_norm(v, groups, w, b, 1e-3), x, rules=rules),
         F.group_norm(x.total, groups, w, b, 1e-3), wanted)

    mean, var = drawn(4, seed=6), drawn(4, seed=7).square()
    factor = (w / (var + 1e-5).sqrt()).reshape(channels)
    shift = b.reshape(channels) - mean.reshape(channels) * factor
    wanted = [r * factor + share(shift, r * factor, (x.total - r) * factor, rules) for r in x.relevant]
    same(applied(lambda v: F.batch_norm(v, mean, var, w, b), x, rules=rules), F.batch_norm(x.total, mean, var, w, b),
         wanted)

    y = value(batch, side, 4)
    centred = y.total - y.total.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    wanted = [(r - r.mean(-1, keepdim=True)) / scale * w + share(b, r, y.total - r, rules) for r in y.relevant]
    same(applied(lambda v: F.layer_norm(v, (4,), w, b), y, rules=rules), F.layer_norm(y.total, (4,), w, b), wanted)
    scale = (y.total.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    same(applied(lambda v: F.rms_norm(v, (4,), w, 1e-6), y, rules=rules), F.rms_norm(y.total, (4,), w, 1e-6),
         [r / scale * w for r in y.relevant])


@given(batch=st.integers(1, 3), side=st.integers(3, 6))
def test_pools_and_interpolation(batch, side):
    x = value(batch, 2, side, side)
    for function in (
        lambda v: F.avg_pool2d(v, 2), lambda v: F.avg_pool2d(v, 3, 1, 1, count_include_pad=False),
        lambda v: F.adaptive_avg_pool2d(v, 1), lambda v: F.interpolate(v, scale_factor=2, mode="bilinear"),
        lambda v: F.unfold(v, 2), lambda v: F.adaptive_avg_pool1d(v.flatten(2).transpose(1, 2), 1), lambda v:
        F.avg_pool1d(v[:, 0], 2), lambda v: F.pad(v, (1, 1, 1, 1), mode="reflect"), lambda v: F.avg_pool2d(v[0], 2),
    ):
        is_linear(function, x)
    winners = F.max_pool2d(x.total, 2, return_indices=True)[1]
    rows = [r.flatten(-2).gather(-1, winners.flatten(-2)).reshape(winners.shape) for r in x.relevant]
    same(applied(lambda v: F.max_pool2d(v, 2), x), F.max_pool2d(x.total, 2), rows)


NONLINEAR = {
    "gelu": F.gelu, "gelu (tanh)": lambda v: F.gelu(v, approximate="tanh"), "relu": torch.relu, "silu": F.silu,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "exp": torch.exp, "square": lambda v: v**2, "softplus": F.softplus,
    "abs": abs, "clamp": lambda v: v.clamp(-0.5, 0.5), "softmax": lambda v: v.softmax(-1), "var": lambda v: v.var(-1),
    "log_softmax": lambda v: F.log_softmax(v, 0), "logsumexp": lambda v: v.logsumexp(1),
    "norm": lambda v: v.norm(dim=-1),
    "normalize": lambda v: F.normalize(v, dim=-1), "elu": nn.ELU(), "leaky": nn.LeakyReLU(0.1),
}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", NONLINEAR)
def test_nonlinear_functions(name, rules):
    """f(t) - f(i), or its mean with f(r) - f(0)."""
    function, x = NONLINEAR[name], value(2, 3, 4)
    t = x.total
    rows = [function(t) - function(t - r) for r in x.relevant]
    if rules is LOCAL_SHAPLEY:
        rows = [(row + function(r) - function(torch.zeros_like(r))) / 2 for row, r in zip(rows, x.relevant)]
    same(applied(function, x, rules=rules), function(t), rows)
    bare = applied(function, Decomposed(t, x.relevant[:0]), rules=rules)
    assert torch.equal(bare.total, function(t)) and len(bare.relevant) == 0


@pytest.mark.parametrize("rules", RULES)
def test_division_by_an_activation_is_one_over_it_times_the_other(rules):
    x, y = value(2, 3), value(2, 3, seed=5)
    y = Decomposed(y.total.abs() + 4, y.relevant * 0.1)
    wanted = []
    for r, s in zip(x.relevant, y.relevant):
        inverse = 1 / y.total - 1 / (y.total - s)
        if rules is LOCAL_SHAPLEY:  # 1/x has no value at 0, so f(r) - f(0) is infinite
            break
        wanted.append(r * inverse)
    if rules is LOCAL_SHAPLEY:
        with pytest.raises(NoRule, match="division"):
            applied(torch.div, x, y, rules=rules)
        return
    same(applied(torch.div, x, y), x.total / y.total, wanted)
    same(applied(lambda v: 2 / v, y), 2 / y.total, [2 / y.total - 2 / (y.total - s) for s in y.relevant])


def test_joining_counts_plain_pieces_once():
    """A class token has nothing relevant in it, however many sources there are."""
    x, token = value(2, 3, 4), drawn(2, 1, 4, seed=7)
    rows = [torch.cat([torch.zeros_like(token), r], 1) for r in x.relevant]
    same(applied(lambda v: torch.cat([token, v], 1), x), torch.cat([token, x.total], 1), rows)
    same(applied(lambda v: torch.cat((token, v), dim=1), x), torch.cat([token, x.total], 1), rows)
    other = value(2, 3, 4, seed=9, sources=1)
    rows = [torch.stack([r, other.relevant[0] if k == 0 else torch.zeros_like(r)]) for k, r in enumerate(x.relevant)]
    same(applied(lambda v: torch.stack([v, other]), x), torch.stack([x.total, other.total]), rows)


@given(shape=shapes, data=st.data())
def test_selections_are_the_totals_and_parts_are_gathered(shape, data):
    x, dim = value(*shape), data.draw(st.integers(-len(shape), len(shape) - 1))
    k = data.draw(st.integers(1, shape[dim]))
    for function in (
        lambda v: torch.topk(v, k, dim), lambda v: v.topk(k, dim=dim), lambda v: torch.sort(v, dim),
        lambda v: v.sort(dim=dim, descending=True), lambda v: v.max(dim, keepdim=True),
    ):
        chosen, got = function(x.total), applied(function, x)
        assert torch.equal(got.indices, chosen.indices) and type(got) is type(chosen)
        same(got.values, chosen.values, [r.gather(dim, chosen.indices) for r in x.relevant])
    got, chosen = applied(lambda v: v.max(dim), x), x.total.max(dim)
    rows = [r.gather(dim, chosen.indices.unsqueeze(dim)).squeeze(dim) for r in x.relevant]
    same(got.values, chosen.values, rows)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("mask", ["causal", "bool", "float", "none"])
def test_fused_attention_equals_attention_written_out(rules, mask):
    """softmax(Q_r K_r + mask) V_r, or its mean with z - softmax(Q_i K_i + mask) V_i."""
    q, k, v = (value(2, 3, 4, 5, seed=s) for s in (0, 2, 4))
    allowed = torch.ones(4, 4).tril().bool()
    bias = torch.zeros(4, 4, dtype=torch.float64).masked_fill(~allowed, float("-inf")) if mask != "none" else 0.0
    if mask == "float":
        bias = bias + drawn(4, 4, seed=9)  # relative positions: a constant of every part's scores
    given = {"causal": dict(is_causal=True), "bool": dict(attn_mask=allowed), "float": dict(attn_mask=bias),
             "none": {}}[mask]

    def attend(a, b, c):
        return torch.softmax(a @ b.mT / 5**0.5 + bias, -1) @ c

    z = attend(q.total, k.total, v.total)
    rows = [attend(a, b, c) for a, b, c in zip(q.relevant, k.relevant, v.relevant)]
    if rules is LOCAL_SHAPLEY:
        rest = [attend(a, b, c) for a, b, c in zip(q.irrelevant, k.irrelevant, v.irrelevant)]
        rows = [(r + z - i) / 2 for r, i in zip(rows, rest)]
    same(applied(lambda a, b, c: F.scaled_dot_product_attention(a, b, c, **given), q, k, v, rules=rules), z, rows)


def test_signs_are_normalised_by_the_larger_part_and_the_total_keeps_its_bits():
    x = value(50, 40)
    got = CDT.normalise_sign(x)
    for k in range(SOURCES):
        entries = (v.flatten().tolist() for v in (x.total, x.relevant[k], got.relevant[k]))
        for t, r, g in zip(*entries):
            i = t - r
            wanted = r if r * i >= 0 else t if abs(r) > abs(i) else 0.0
            assert g == wanted
    assert got.total is x.total
