import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.results import BadInput, Estimate, bootstrap_mean, bootstrap_ratio
from interp.results.estimate import benjamini_hochberg, binomial, bootstrap_statistic, max_t, share

steady = settings(deadline=None, max_examples=60)  # a busy machine is not a failure

numbers = st.floats(-1e6, 1e6)
rows = st.lists(numbers, min_size=2, max_size=30)


@steady
@given(numbers, st.integers(2, 20))
def test_constant_data_have_a_point_as_interval(value, n):
    found = bootstrap_mean([value] * n, draws=50)
    assert found.low <= found.value <= found.high
    assert found.high - found.low <= 1e-9 * max(1, abs(value))
    assert math.isclose(found.value, value, rel_tol=1e-12, abs_tol=1e-12)


@steady
@given(rows, st.integers(0, 9))
def test_interval_holds_the_mean_and_lies_within_the_data(values, seed):
    found = bootstrap_mean(values, seed=seed, draws=50)
    slack = 1e-9 * max(1, max(map(abs, values)))
    assert min(values) - slack <= found.low <= found.value <= found.high <= max(values) + slack
    assert math.isclose(found.value, np.mean(values), rel_tol=1e-9, abs_tol=slack)
    assert found == bootstrap_mean(values, seed=seed, draws=50)


def test_clusters_of_one_row_equal_no_clusters_and_copies_do_not_narrow():
    values = np.random.default_rng(0).normal(size=40)
    alone = bootstrap_mean(values)
    named = bootstrap_mean(values, [f"prompt {i}" for i in range(40)])
    copied = bootstrap_mean(np.repeat(values, 5), np.repeat(np.arange(40), 5))
    assert (alone.low, alone.high) == (named.low, named.high)
    assert copied.n == 40
    assert math.isclose(copied.high - copied.low, alone.high - alone.low, rel_tol=1e-9)
    assert (alone.method, named.method) == ("bootstrap", "cluster bootstrap")


@pytest.mark.parametrize(("clusters", "lowest"), [(6, 0.90), (30, 0.92)])
def test_interval_covers_the_truth_in_clustered_data(clusters, lowest):
    generator, hits, trials = np.random.default_rng(1), 0, 400
    labels = np.repeat(np.arange(clusters), 5)
    for trial in range(trials):
        values = generator.normal(size=clusters)[labels] + 0.3 * generator.normal(size=len(labels)) + 2
        found = bootstrap_mean(values, labels, seed=trial, draws=400)
        hits += found.low <= 2 <= found.high
    # 400 trials have a standard error of 0.011; ignoring the clusters would cover some 0.6 of the time.
    assert lowest <= hits / trials <= 0.985


def test_rows_taken_as_independent_cover_too_little():
    generator, labels = np.random.default_rng(1), np.repeat(np.arange(30), 5)
    hits = 0
    for trial in range(200):
        values = generator.normal(size=30)[labels] + 0.3 * generator.normal(size=150)
        hits += not bootstrap_mean(values, seed=trial, draws=300).excludes(0)
    assert hits / 200 < 0.8


@steady
@given(st.lists(st.tuples(numbers, st.floats(1, 100)), min_size=3, max_size=20))
def test_ratio_is_a_ratio_of_means(pairs):
    top, bottom = np.array(pairs).T
    found = bootstrap_ratio(top, bottom, draws=50)
    assert math.isclose(found.value, top.mean() / bottom.mean(), rel_tol=1e-9, abs_tol=1e-9)
    assert found.low <= found.value <= found.high


def test_ratio_is_not_clipped():
    generator = np.random.default_rng(0)
    assert bootstrap_ratio(generator.normal(3, 0.1, 50), generator.normal(1, 0.1, 50)).low > 1
    assert bootstrap_ratio(generator.normal(-3, 0.1, 50), generator.normal(1, 0.1, 50)).high < 0


def test_ratio_is_refused_when_the_denominator_may_be_zero():
    generator = np.random.default_rng(0)
    with pytest.raises(BadInput, match="contains 0"):
        bootstrap_ratio(generator.normal(1, 1, 50), generator.normal(0.0, 1, 50))
    with pytest.raises(BadInput, match="one of the prompts has no interval.*Give two or more") as refused:
        bootstrap_ratio([1.0], [5.0])  # one prompt says nothing about the next
    assert "contains 0" not in str(refused.value)


def test_a_share_has_a_width_even_where_all_are_right():
    assert share([1] * 24) == binomial(24, 24, "prompts") and share([1, 0, 1]) == binomial(2, 3, "prompts")
    pairs = np.arange(24) // 2
    assert share([1] * 24, pairs) == binomial(12, 12, "clusters") and share([0] * 24, pairs).high > 0.2
    mixed = [0, *[1] * 23]
    assert share(mixed, pairs) == bootstrap_mean(mixed, pairs)
    assert share([0.5, 1.0, 1.0]) == bootstrap_mean([0.5, 1.0, 1.0])  # rows that are shares are no hits


def test_statistic_of_the_mean_agrees_with_the_mean():
    values = np.random.default_rng(0).normal(size=60)
    labels = np.arange(60) // 3
    general = bootstrap_statistic(np.mean, [values], labels, draws=2000)
    direct = bootstrap_mean(values, labels)
    assert math.isclose(general.value, direct.value)
    assert abs(general.low - direct.low) < 0.05 and abs(general.high - direct.high) < 0.05
    assert general.n == 20


def test_statistic_undefined_on_resamples_is_said_or_refused():
    rare, common = np.array([0.0] * 30 + [1.0] * 5), np.array([0.0] * 30 + [1.0])
    share = lambda x: x[x > 0].mean() if (x > 0).any() else np.nan  # noqa: E731
    assert "undefined on" in bootstrap_statistic(share, [rare]).method
    with pytest.raises(BadInput, match="undefined on"):
        bootstrap_statistic(share, [common])


def test_torch_tensors_with_gradients_are_rows():
    values = torch.randn(10, dtype=torch.bfloat16, requires_grad=True)
    assert math.isclose(bootstrap_mean(values).value, values.double().mean().item(), rel_tol=1e-6)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf], [[1.0, 2.0]], ["a"]])
def test_bad_rows_are_refused(values):
    with pytest.raises(BadInput):
        bootstrap_mean(values)


def test_one_cluster_has_no_interval():
    found = bootstrap_mean([1.0, 2.0], ["same", "same"])
    assert (found.low, found.high, found.n) == (-math.inf, math.inf, 1)
    assert "no interval" in str(found)
    assert Estimate.from_dict(found.to_dict()) == found


def test_estimate_reads_well_and_round_trips():
    found = Estimate(0.83, 0.71, 0.92, 64, "prompts", "cluster bootstrap")
    assert str(found) == "0.83 [0.71, 0.92] (n=64 prompts, cluster bootstrap)"
    assert Estimate.from_dict(found.to_dict()) == found
    with pytest.raises(BadInput):
        Estimate(2.0, 0.0, 1.0, 3, "prompts", "bootstrap")
    for damaged in ({}, {"value": 1.0}, found.to_dict() | {"value": "x"}, found.to_dict() | {"more": 1}):
        with pytest.raises(BadInput):
            Estimate.from_dict(damaged)


def stepped_up(p):
    """Benjamini and Hochberg's own definition, one p at a time."""
    m, ranked = len(p), sorted(p)
    return [min(1.0, min(ranked[j] * m / (j + 1) for j in range(m) if ranked[j] >= value)) for value in p]


@steady
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_benjamini_hochberg_is_the_step_up_rule(p):
    adjusted = benjamini_hochberg(p)
    assert np.allclose(adjusted, stepped_up(p))
    assert (adjusted >= np.array(p) - 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= -1e-12).all()


def test_benjamini_hochberg_keeps_shape_and_refuses_what_is_no_p():
    assert benjamini_hochberg(np.full((3, 4), 0.5)).shape == (3, 4)
    for p in ([1.5], [-0.1], [math.nan]):
        with pytest.raises(BadInput):
            benjamini_hochberg(p)


def test_max_t_holds_the_family_wise_error_on_null_data():
    generator, alarms, trials = np.random.default_rng(2), 0, 300
    for trial in range(trials):
        shared = generator.normal(size=(1, 24))
        values = generator.normal(size=(15, 24)) + shared  # nodes of one model are correlated
        alarms += (max_t(values, draws=199, seed=trial) <= 0.05).any()
    assert alarms / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_max_t_finds_effects_keeps_order_and_ignores_scale():
    values = np.random.default_rng(0).normal(size=(8, 40))
    values[3] += 1.5
    p = max_t(values)
    assert p[3] < 0.01 and np.delete(p, 3).min() > 0.05
    assert np.allclose(p, max_t(values * np.arange(1, 9)[:, None]))
    assert np.allclose(p[::-1], max_t(values[::-1]))


def test_max_t_is_exact_with_few_clusters():
    p = max_t([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    assert p.tolist() == [1 / 8, 1.0]
    doubled = max_t([[1.0, 1.0, 2.0, 2.0]], ["a", "a", "b", "b"])
    assert doubled.tolist() == [1 / 2]
