"""Every predictor against a literal loop, a closed form, or a case solved by hand; k = 0, k < d and one prompt."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.icl import baselines
from interp.icl.baselines.table import _TABLE
from interp.results.errors import BadInput
from interp.tasks.functions import function_task

SLOW = ("elimination", "boosted trees", "lasso", "logistic", "tree", "network")
QUICK = [name for name in _TABLE if name not in SLOW]
ITERATIVE = ("gradient_descent", "gd_plus_plus", "heavy_ball", "chebyshev", "conjugate_gradient", "newton")


def _drawn(batch=6, n=9, d=4, seed=0):
    return function_task("linear", d=d).sample(batch, n, seed)


# -- what all have in common -----------------------------------------------------------------------------------------


_CHEAP = {"boosted trees": partial(baselines.boosted_trees, trees=5),
          "network": partial(baselines.network, hidden=8, steps=10)}


@pytest.mark.parametrize("name", _TABLE)
def test_a_prediction_sees_only_the_examples_before_it(name):
    if name in ("elimination", "logistic"):
        drawn = function_task("conjunction", d=4).sample(3, 6, 0)
    else:
        drawn = _drawn(3, 6)
    predictor = _CHEAP.get(name, _TABLE[name])
    said = predictor(drawn.xs, drawn.ys)
    xs, ys = drawn.xs.clone(), drawn.ys.clone()
    xs[:, 5], ys[:, 4:] = -xs[:, 5], -ys[:, 4:]
    assert said.shape == (3, 6) and said.dtype == torch.float64 and said.isfinite().all()
    assert torch.allclose(predictor(xs, ys)[:, :5], said[:, :5])
    if name not in ("null", "elimination"):
        assert (said[:, 0] == 0).all()
    assert torch.allclose(predictor(drawn.xs[1:2], drawn.ys[1:2]), said[1:2], atol=1e-6)  # one prompt alone


@pytest.mark.parametrize("name", [n for n in QUICK if n not in ("null", "zero", "3 nearest", "nearest")])
@settings(max_examples=10)
@given(turn=st.integers(0, 1000))
def test_linear_predictors_do_not_know_the_axes(name, turn):
    """Points rotated, the same answers: predictions stay. And answers doubled: they double."""
    drawn = _drawn()
    q = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(turn), dtype=torch.float64))[0]
    predictor = _TABLE[name]
    said = predictor(drawn.xs.double(), drawn.ys)
    assert torch.allclose(predictor(drawn.xs.double() @ q, drawn.ys), said, atol=1e-8)
    assert torch.allclose(predictor(drawn.xs.double(), 2 * drawn.ys), 2 * said, atol=1e-8)


# -- closed forms ----------------------------------------------------------------------------------------------------


def test_least_squares_and_ridge_are_numpys():
    drawn = _drawn()
    ys = drawn.ys + 0.3 * torch.randn(drawn.ys.shape, generator=torch.Generator().manual_seed(1))
    shortest, penalised = baselines.least_squares(drawn.xs, ys), baselines.ridge(drawn.xs, ys, 0.7)
    for row in range(6):
        x, y = drawn.xs[row].double().numpy(), ys[row].double().numpy()
        for k in range(1, 9):
            w = np.linalg.lstsq(x[:k], y[:k], rcond=None)[0]
            assert shortest[row, k] == pytest.approx(w @ x[k], abs=1e-9)
            w = np.linalg.solve(x[:k].T @ x[:k] + 0.7 * np.eye(4), x[:k].T @ y[:k])
            assert penalised[row, k] == pytest.approx(w @ x[k], abs=1e-9)


def test_least_squares_errs_by_one_minus_k_over_d():
    """Show 1: within sampling error of 4000 prompts."""
    drawn = _drawn(4000, 9, 5)
    error = (baselines.least_squares(drawn.xs, drawn.ys) - drawn.ys).square() / 5
    for k in range(9):
        wanted = max(0.0, 1 - k / 5)
        assert float(error[:, k].mean()) == pytest.approx(wanted, abs=4 * float(error[:, k].std()) / 4000**0.5 + 1e-8)


def test_averaging_errs_by_d_plus_one_over_k():
    drawn = _drawn(8000, 9, 5)
    error = (baselines.averaging(drawn.xs, drawn.ys) - drawn.ys).square() / 5
    for k in range(1, 9):
        assert float(error[:, k].mean()) == pytest.approx(6 / k, abs=4 * float(error[:, k].std()) / 8000**0.5)


def test_the_ridge_path_ends_in_least_squares_and_in_nothing():
    drawn = _drawn()
    path = baselines.ridge_path(drawn.xs, drawn.ys, (1e-9, 1.0, 1e9))
    assert torch.allclose(path[0], baselines.least_squares(drawn.xs, drawn.ys), atol=1e-5)
    assert torch.equal(path[1], baselines.ridge(drawn.xs, drawn.ys, 1.0)) and float(path[2].abs().max()) < 1e-6


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("neighbours", [1, 3])
def test_neighbours_are_those_of_a_sort(metric, neighbours):
    drawn = function_task("majority", d=4).sample(20, 8, 0)  # corners, so that there are ties
    said = baselines.nearest_neighbours(drawn.xs, drawn.ys, neighbours, metric)
    for xs, ys, row in zip(drawn.xs.tolist(), drawn.ys.tolist(), said.tolist()):
        for k in range(1, 8):
            far = [math.dist(xs[k], x) if metric == "euclidean" else -sum(a * b for a, b in zip(xs[k], x))
                   for x in xs[:k]]
            order = sorted(range(k), key=lambda i: far[i])[:neighbours]  # noqa: B023
            assert row[k] == pytest.approx(sum(ys[i] for i in order) / len(order))


# -- iterations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ITERATIVE)
def test_iterates_are_the_predictions_behind_each_step_and_end_in_least_squares(name):
    drawn = _drawn(5, 9, 3)
    method = getattr(baselines, name)
    every = method(drawn.xs, drawn.ys, 4, iterates=True)
    assert every.shape == (5, 5, 9)
    assert all(torch.allclose(every[j], method(drawn.xs, drawn.ys, j)) for j in range(5))
    many = method(drawn.xs, drawn.ys, 30000 if name == "gradient_descent" else 3000 if name == "heavy_ball" else 300)
    assert torch.allclose(many, baselines.least_squares(drawn.xs, drawn.ys), atol=1e-4)


def test_gradient_descent_is_its_loop():
    drawn = _drawn(2, 6)
    said = baselines.gradient_descent(drawn.xs, drawn.ys, 3, 0.02)
    momentum = baselines.heavy_ball(drawn.xs, drawn.ys, 3, 0.02, 0.5)
    for row in range(2):
        for k in range(6):
            x, y = drawn.xs[row, :k].double(), drawn.ys[row, :k].double()
            w = v = before = torch.zeros(4, dtype=torch.float64)
            for _ in range(3):
                w = w - 0.02 * x.T @ (x @ w - y)
                before, v = v, v - 0.02 * x.T @ (x @ v - y) + 0.5 * (v - before)
            point = drawn.xs[row, k].double()
            assert float(said[row, k]) == pytest.approx(float(w @ point), abs=1e-10)
            assert float(momentum[row, k]) == pytest.approx(float(v @ point), abs=1e-10)


def test_gd_plus_plus_is_the_loop_over_tokens_that_shrink():
    """As von Oswald et al. write it: every token, the asked one too, takes the step, then the points shrink."""
    drawn = _drawn(2, 7)
    said = baselines.gd_plus_plus(drawn.xs, drawn.ys, 3, 0.02, 0.03)
    for row in range(2):
        for k in range(1, 7):
            x, left = drawn.xs[row, :k].double(), drawn.ys[row, :k].double()
            point, answer = drawn.xs[row, k].double(), 0.0
            for _ in range(3):
                step = 0.02 * x.T @ left
                answer, left = answer + point @ step, left - x @ step
                point, x = point - 0.03 * x.T @ x @ point, x - 0.03 * x @ x.T @ x
            assert float(said[row, k]) == pytest.approx(float(answer), abs=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 500), st.integers(1, 6))
def test_newton_errs_by_its_closed_form(seed, k):
    """w_j = (1 - (1 - a l^2)^(2^j)) w along every eigenvector of S, a = 1 / ||S S||_F."""
    drawn = _drawn(1, 8, 4, seed)
    x, w = drawn.xs[0, :k].double(), drawn.latents["w"][0].double()
    values, vectors = torch.linalg.eigh(x.T @ x)
    a = 1 / values.square().norm()
    every = baselines.newton(drawn.xs, drawn.ys, 6, iterates=True)[:, 0, k]
    for j in range(7):
        kept = 1 - (1 - a * values**2) ** (2**j)
        expected = (vectors * kept) @ vectors.T @ w @ drawn.xs[0, k].double()
        assert float(every[j]) == pytest.approx(float(expected), abs=1e-4)  # ys are float32


def test_conjugate_gradients_are_exact_behind_k_or_d_steps():
    drawn = _drawn(20, 9, 4)
    exact = baselines.least_squares(drawn.xs, drawn.ys)
    assert torch.allclose(baselines.conjugate_gradient(drawn.xs, drawn.ys, 4), exact, atol=1e-4)
    assert torch.allclose(baselines.conjugate_gradient(drawn.xs, drawn.ys, 2)[:, :3], exact[:, :3], atol=1e-4)


def test_chebyshev_error_is_the_chebyshev_polynomial():
    """Along an eigenvector of eigenvalue l, T_j((m - l) / h) / T_j(m / h) of the weight is missing."""
    drawn = _drawn(1, 8, 3, 1)
    x, w = drawn.xs[0, :7].double(), drawn.latents["w"][0].double()
    values, vectors = torch.linalg.eigh(x.T @ x)
    middle, half = float(values[-1] + values[0]) / 2, float(values[-1] - values[0]) / 2

    def T(j, t):
        return np.polynomial.chebyshev.Chebyshev.basis(j)(t)

    every = baselines.chebyshev(drawn.xs, drawn.ys, 4, iterates=True)[:, 0, 7]
    for j in range(5):
        missing = torch.tensor([T(j, (middle - float(v)) / half) / T(j, middle / half) for v in values])
        expected = (vectors * (1 - missing)) @ vectors.T @ w @ drawn.xs[0, 7].double()
        assert float(every[j]) == pytest.approx(float(expected), abs=1e-5)


def test_the_fitted_rate_is_the_best_of_its_grid():
    drawn = _drawn(200, 9, 4)
    rate = baselines.fitted_rate(drawn.xs, drawn.ys, 2)

    def error(r):
        return float((baselines.gradient_descent(drawn.xs, drawn.ys, 2, r) - drawn.ys).square().mean())

    assert all(error(rate) <= error(rate * factor) + 1e-12 for factor in (10**-0.125, 10**0.125, 0.3, 3.0))


# -- Boolean, library, network ---------------------------------------------------------------------------------------


def test_elimination_keeps_what_every_positive_example_meets():
    xs = torch.tensor([[[1, 1, -1], [1, -1, -1], [1, 1, 1], [-1, 1, 1], [1, 1, -1]]]).float()
    ys = torch.tensor([[1, 1, -1, -1, 1]]).float()
    # behind +(1,1,-1) the conjunction is (a, b, not c), behind +(1,-1,-1) it is (a, not c)
    assert baselines.elimination(xs, ys).tolist() == [[-1, -1, -1, -1, 1]]
    assert baselines.elimination(xs, ys, signed=False).tolist() == [[-1, -1, 1, -1, 1]]


@pytest.mark.parametrize("signed", [True, False])
def test_elimination_is_right_behind_every_teaching_sequence(signed):
    drawn = function_task("teaching", signed=signed).sample(500, 14, 0)
    said = baselines.elimination(drawn.xs, drawn.ys, signed)
    behind = torch.arange(14) >= drawn.latents["lead"][:, None]
    assert (said == drawn.ys)[behind].all()


def test_elimination_never_calls_a_negative_point_positive():
    drawn = function_task("conjunction").sample(500, 14, 0)
    assert not ((baselines.elimination(drawn.xs, drawn.ys) > 0) & (drawn.ys < 0)).any()


def test_lasso_finds_what_is_zero_and_trees_a_step():
    drawn = function_task("sparse", d=8, nonzero=1).sample(15, 8, 0)
    lasso, shortest = baselines.lasso(drawn.xs, drawn.ys), baselines.least_squares(drawn.xs, drawn.ys)
    assert (lasso - drawn.ys)[:, 7].square().mean() < 0.2 * (shortest - drawn.ys)[:, 7].square().mean()
    xs = torch.tensor([1.2, -1.0, 2.0, -1.7, 1.1, -1.3, 1.9, -1.1, 1.6, -1.5, 1.4, -1.2])[None, :, None]
    ys = torch.where(xs[..., 0] > 0, 3.0, -1.0)
    for grown in (baselines.tree(xs, ys, depth=1), baselines.boosted_trees(xs, ys, trees=60)):
        assert torch.allclose(grown[:, 8:], ys[:, 8:].double(), atol=0.01)


def test_logistic_regression_separates_and_repeats_a_single_label():
    drawn = function_task("classification", d=2).sample(10, 25, 0)
    said = baselines.logistic(drawn.xs, drawn.ys, penalty=0.1)
    assert ((said > 0) == (drawn.ys > 0))[:, 15:].double().mean() > 0.8
    same = baselines.logistic(drawn.xs[:1], torch.ones(1, 25))
    assert (same[:, 1:] == 1).all()


def test_a_network_is_trained_on_each_prompt_by_itself():
    drawn = function_task("linear", d=2).sample(4, 12, 0)
    said = baselines.network(drawn.xs, drawn.ys, hidden=12, steps=60, rate=5e-2)
    alone = baselines.network(drawn.xs[2:3], drawn.ys[2:3], hidden=12, steps=60, rate=5e-2)
    assert torch.allclose(said[2:3], alone, atol=1e-6)
    error = (said - drawn.ys).square()
    assert float(error[:, 8:].mean()) < 0.3 * float(drawn.ys.square().mean())
    signs = torch.where(drawn.ys > 0, 1.0, -1.0)
    votes = baselines.network(drawn.xs, signs, hidden=12, steps=60, rate=5e-2, labels="sign")
    assert ((votes > 0) == (signs > 0))[:, 8:].double().mean() > 0.7


@pytest.mark.parametrize("call, message", [
    (lambda x, y: baselines.ridge(x, y, 0.0), "least_squares has none"),
    (lambda x, y: baselines.newton(x, y, -1), "at least 0"),
    (lambda x, y: baselines.least_squares(x, y[:, :3]), "are needed"),
    (lambda x, y: baselines.averaging(x, y * float("nan")), "NaN or Inf"),
    (lambda x, y: baselines.nearest_neighbours(x, y, 0), "at least 1"),
    (lambda x, y: baselines.elimination(x, y), "points and labels of -1"),
    (lambda x, y: baselines.baseline("newtn 3"), "there is no baseline"),
    (lambda x, y: baselines.network(x, y, hidden=0), "at least 1"),
])
def test_what_no_predictor_can_read_is_refused(call, message):
    drawn = _drawn()
    with pytest.raises(BadInput, match=message):
        call(drawn.xs, drawn.ys)


def test_predictors_are_found_by_name_and_by_class():
    drawn = _drawn()
    assert torch.equal(baselines.baseline("newton 3")(drawn.xs, drawn.ys), baselines.newton(drawn.xs, drawn.ys, 3))
    assert baselines.baseline("ridge") is baselines.ridge
    assert set(baselines.baselines_for(function_task("noisy"))) == {"least squares", "averaging", "3 nearest"}
    taught = baselines.baselines_for(function_task("teaching"))["elimination"]
    prompts = function_task("teaching").sample(100, 6, 0)
    assert (taught(prompts.xs, prompts.ys) == prompts.ys)[:, 1:].all()
