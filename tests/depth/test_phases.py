"""Segments against brute force, the nulls against hand-made streams, and what is refused."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.architectures import build
from interp.depth.phase_count import count_phases, even_pace, phases, prompt_distances
from interp.depth.phases import best_cut, best_segments, free_cut, phase_score, segment, within
from interp.depth.streams import streams
from interp.results.errors import BadInput


def _random(n: int, seed: int) -> np.ndarray:
    table = np.random.default_rng(seed).random((n, n))
    table = (table + table.T) / 2
    np.fill_diagonal(table, 0)
    return table


def _planted(sizes: list[int], near=0.1, far=1.0) -> np.ndarray:
    label = np.repeat(np.arange(len(sizes)), sizes)
    table = np.where(label[:, None] == label[None], near, far)
    np.fill_diagonal(table, 0)
    return table


def _every_segmentation(n: int, k: int):
    for places in combinations(range(1, n), k - 1):
        yield [list(range(a, b)) for a, b in zip((0, *places), (*places, n))]


@given(st.integers(2, 9), st.integers(0, 10**6), st.data())
def test_dp_is_the_best_of_all_segmentations(n, seed, data):
    table, k = _random(n, seed), data.draw(st.integers(1, n))
    found = segment(table, "dp", k=k)
    assert len(found) == k and sum(found, []) == list(range(n))
    assert within(table, found) == pytest.approx(min(within(table, way) for way in _every_segmentation(n, k)))


@given(st.integers(4, 9), st.integers(0, 10**6))
def test_the_best_cut_is_the_heaviest_of_all_contiguous_ones(n, seed):
    table = _random(n, seed)
    weight, place = best_cut(table, list(range(n)), smallest=1)
    weights = {p: table[:p, p:].sum() for p in range(1, n)}
    assert weight == pytest.approx(max(weights.values())) and weights[place] == pytest.approx(weight)


@given(st.integers(3, 8), st.integers(0, 10**6))
def test_the_free_cut_is_the_heaviest_of_all_sets(n, seed):
    table = _random(n, seed)

    def cut(side) -> float:
        other = [i for i in range(n) if i not in side]
        return table[np.ix_(side, other)].sum()

    best = max(cut(list(side)) for size in range(1, n) for side in combinations(range(n), size))
    one, two = free_cut(table)
    assert sorted(one + two) == list(range(n)) and cut(one) == pytest.approx(best)


@pytest.mark.parametrize("sizes", [[4, 4], [5, 3], [3, 6], [8, 4, 4]])
def test_planted_phases_are_found_by_both_methods(sizes):
    table = _planted(sizes)
    expected = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    expected = [part.tolist() for part in expected]
    assert segment(table, "dp", k=len(sizes)) == expected
    assert segment(table, "maxcut", eps=0.1) == expected
    found = count_phases(np.stack([table] * 3))
    assert found.k_gain == len(sizes) and found.contiguous is not False
    assert phase_score(table, expected) == pytest.approx(0.9)


def test_maxcut_cuts_the_middle_one_of_three_equal_phases_and_dp_does_not():
    """Its quirk: 36 pairs across the middle weigh more than the 32 between phases, since it adds distances up."""
    table = _planted([4, 4, 4])
    assert segment(table, "dp", k=3) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert segment(table, "maxcut", eps=0.2) == [list(range(6)), list(range(6, 12))]


def test_eps_decides_how_far_maxcut_goes_and_half_of_constant_distances_lie_across_one_cut():
    """The method's quirk: it cuts what has no phases. Cut of n equal distances: n^2 / 4 of n (n - 1) / 2."""
    table = _planted([12], near=1.0)
    assert segment(table, "maxcut", eps=0.2) == [list(range(6)), list(range(6, 12))]
    assert segment(table, "maxcut", eps=36 / 66 + 0.01) == [list(range(12))]
    assert count_phases(table[None]).k_gain == 1


def test_a_stream_at_an_even_pace_has_no_gain_and_random_orders_show_that_order_matters():
    steps = np.abs(np.subtract.outer(np.arange(10.0), np.arange(10.0)))
    assert np.allclose(even_pace(steps), steps)
    curve = count_phases(steps[None]).curve
    assert np.allclose(curve["gain"], 0, atol=1e-12) and (curve["within"] < curve["shuffled"])[1:4].all()


def test_one_table_serves_every_k():
    table = _random(9, 3)
    for k, found in enumerate(best_segments(table, 5), 1):
        assert found == segment(table, "dp", k=k)


def test_distances_of_a_model_are_those_of_its_streams_prompt_by_prompt():
    import torch

    model = build("gpt", d_model=16, n_layers=4, n_heads=2, d_vocab=20, n_ctx=12)
    ids = torch.randint(0, 20, (3, 8), generator=torch.Generator().manual_seed(0))
    cache = model.run_with_cache(ids)[1]
    tables = prompt_distances(streams(model, ids))
    for prompt, i, j in ((0, 1, 3), (2, 0, 2)):
        a, b = (cache[f"blocks.{d}.hook_resid_post"][prompt] for d in (i, j))
        cosines = [float(x @ y / (x.norm() * y.norm())) for x, y in zip(a, b)]
        assert tables[prompt, i, j] == pytest.approx(1 - np.mean(cosines), abs=1e-6)
    found = phases(model, ids, method="dp", k=2, draws=10)
    assert found.k == 2 and len(found.frame()) == 4 and found.figure().layout.shapes and found.count_figure().data


@pytest.mark.parametrize(("make", "message"), [
    (lambda: segment(np.zeros((3, 4))), "square"), (lambda: segment(np.full((3, 3), np.nan)), "finite"),
    (lambda: segment(_random(5, 0), "kmeans"), "maxcut or dp"), (lambda: segment(_random(5, 0), "dp"), "needs k"),
    (lambda: segment(_random(5, 0), "dp", k=6), "do not fit"), (lambda: free_cut(_random(21, 0)), "too many"),
    (lambda: count_phases(_random(3, 0)[None]), "4 at least"),
])
def test_what_has_no_segments_is_refused(make, message):
    with pytest.raises(BadInput, match=message):
        make()
