"""Attention against loops over heads and positions, grouped keys and values, masks, and every position scheme."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interp.parts import Alibi, Attention, Rotary, Sinusoidal
from interp.parts.context import Context
from interp.parts.positions import slopes


def _attention(**options) -> Attention:
    torch.manual_seed(0)
    return Attention(16, 4, **options).double()


def _input(n_pos: int = 5, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, n_pos, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _context(n_pos: int = 5, batch: int = 2, mask: torch.Tensor | None = None) -> Context:
    return Context(torch.zeros(batch, n_pos, dtype=torch.long), mask)


def _literal(module: Attention, x: torch.Tensor, add=lambda head, q, k: 0.0, turn=lambda v, pos: v) -> torch.Tensor:
    """softmax(q k / sqrt(d) + add) v, one number at a time."""
    batch, n_pos, _ = x.shape
    d = module.d_head
    rows = []
    for b in range(batch):
        q, k, v = ((layer(x[b])).view(n_pos, -1, d) for layer in (module.q, module.k, module.v))
        for i in range(n_pos):
            z = []
            for h in range(module.n_heads):
                g = h // (module.n_heads // module.n_kv_heads)
                keys = range(i + 1) if module.causal else range(n_pos)
                s = torch.stack([turn(q[i, h], i) @ turn(k[j, g], j) / math.sqrt(d) + add(h, i, j) for j in keys])
                z.append(sum(w * v[j, g] for w, j in zip(s.softmax(0), keys)))
            rows.append(module.o(torch.cat(z)))
    return torch.stack(rows).view(batch, n_pos, -1)


@pytest.mark.parametrize("kv_heads", [None, 2, 1])
@pytest.mark.parametrize("causal", [True, False])
def test_attention_is_the_formula(kv_heads, causal):
    module = _attention(n_kv_heads=kv_heads, causal=causal)
    assert torch.allclose(module(_input(), _context()), _literal(module, _input()), atol=1e-12)


def test_alibi_is_the_formula():
    module = _attention(alibi=Alibi(4))
    wanted = _literal(module, _input(), add=lambda head, q, k: -(2.0 ** (-2 * (head + 1))) * (q - k))
    assert torch.allclose(module(_input(), _context()), wanted, atol=1e-12)


def test_rotary_is_the_formula():
    def turn(v, pos):
        half = len(v) // 2
        out = v.clone()
        for i in range(half):
            angle = pos * 10000 ** (-i / half)
            cos, sin = math.cos(angle), math.sin(angle)
            out[i], out[i + half] = v[i] * cos - v[i + half] * sin, v[i + half] * cos + v[i] * sin
        return out

    module = _attention(rotary=Rotary())
    assert torch.allclose(module(_input(), _context()), _literal(module, _input(), turn=turn), atol=1e-6)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.sampled_from([2, 4, 8, 64]))
def test_rotary_products_know_the_distance_alone(i, j, shift, width):
    generator = torch.Generator().manual_seed(i + 1000 * j)
    q, k = torch.randn(2, 1, 1, 1, width, generator=generator)

    def product(a: int, b: int) -> float:
        turned = [Rotary()(v, torch.tensor([[place]])) for v, place in ((q, a), (k, b))]
        return float((turned[0] * turned[1]).sum())

    assert product(i, j) == pytest.approx(product(i + shift, j + shift), abs=2e-3)


@given(st.integers(1, 33))
def test_slopes_are_one_a_head_positive_and_different(n_heads):
    found = slopes(n_heads)
    assert len(set(found)) == n_heads and all(0 < slope <= 1 for slope in found)


def test_slopes_of_a_power_of_two_are_the_papers():
    assert slopes(8) == [2.0**-i for i in range(1, 9)]


def test_sinusoidal_is_the_formula():
    found = Sinusoidal(10, 6)(torch.tensor([[0, 3, 7]]))[0]
    for row, place in zip(found, (0, 3, 7)):
        for i in range(3):
            angle = place / 10000 ** (2 * i / 6)
            assert row[2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert row[2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_context_counts_from_the_first_real_token():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
    assert _context(4, mask=mask).place.tolist() == [[0, 0, 0, 1], [0, 1, 2, 2]]


def test_padding_is_never_looked_at_and_padded_queries_stay_finite():
    module, x = _attention(), _input()
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    changed = x.clone()
    changed[0, :2] += 5
    plain, other = (module(v, _context(mask=mask)) for v in (x, changed))
    assert torch.equal(plain[0, 2:], other[0, 2:])
    assert torch.isfinite(plain).all()
