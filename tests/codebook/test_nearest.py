"""The search against its definition, pair by pair."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.codebook import nearest as module
from interp.codebook.nearest import largest, nearest


def literal(x, codes, k, similarity):
    """Similarities of every pair by the formula, sorted."""
    found = torch.empty(len(codes), len(x[0]), len(codes[0]))
    for g in range(len(codes)):
        for i, a in enumerate(x[g]):
            for j, c in enumerate(codes[g]):
                dot = sum(float(p * q) for p, q in zip(a, c))
                length = float(a.norm() * c.norm())
                found[g, i, j] = dot / length if similarity == "cosine" else -float(((a - c) ** 2).sum())
    return found.sort(-1, descending=True)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_nearest_is_the_sorted_list_of_all_pairs(similarity):
    x, codes = torch.randn(2, 5, 3), 3 * torch.randn(2, 7, 3)
    values, ids = nearest(x, codes, 4, similarity)
    wanted, order = literal(x, codes, 4, similarity)
    assert torch.equal(ids, order[..., :4])
    assert torch.allclose(values, wanted[..., :4], atol=1e-5)


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 6000), st.integers(0, 10**6))
def test_largest_is_topk_for_every_number_of_codes(k, n, seed):
    scores = torch.randperm(3 * n, generator=torch.Generator().manual_seed(seed)).view(3, n).float()
    k = min(k, n)
    assert all(torch.equal(a, b) for a, b in zip(largest(scores, k), scores.topk(k)))


def test_rows_in_small_parts_give_the_same(monkeypatch):
    x, codes = torch.randn(3, 50, 4), torch.randn(3, 20, 4)
    whole = nearest(x, codes, 3)
    monkeypatch.setattr(module, "SCORES", 200)
    assert torch.equal(nearest(x, codes, 3)[1], whole[1])


def test_what_is_left_out_is_not_found_and_the_rest_keeps_its_order():
    x, codes = torch.randn(1, 6, 4), torch.randn(1, 30, 4)
    every = nearest(x, codes, 30)[1][0]
    ids = nearest(x, codes, 5, without=torch.tensor([3, 8]))[1][0]
    for row, order in zip(ids.tolist(), every.tolist()):
        assert row == [i for i in order if i not in (3, 8)][:5]


def test_a_zero_vector_is_similar_to_nothing():
    values, _ = nearest(torch.zeros(1, 1, 4), torch.randn(1, 5, 4), 2)
    assert torch.equal(values, torch.zeros(1, 1, 2))
