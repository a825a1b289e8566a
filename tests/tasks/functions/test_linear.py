"""Real functions: what is drawn is what is said, and Bayes is at its closed form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.results.errors import BadInput
from interp.tasks.functions import FunctionTask, function_task, function_tasks
from interp.tasks.functions.linear import conditioned, rotations

N = 8


def _error(task, said, drawn):
    return ((said - drawn.ys) ** 2).mean(0) / task.scale


@pytest.mark.parametrize("name", function_tasks())
def test_prompts_depend_on_the_seed_alone_and_have_their_shapes(name):
    task = function_task(name)
    before = torch.get_rng_state()
    one, same, other = task.sample(3, N, 5), task.sample(3, N, 5), task.sample(3, N, 6)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.xs, same.xs) and torch.equal(one.ys, same.ys) and not torch.equal(one.xs, other.xs)
    assert one.xs.shape == (3, N, task.d) and one.ys.shape[:2] == (3, N) and len(one) == 3
    assert all(len(value) == 3 for value in one.latents.values())
    assert isinstance(task, FunctionTask) and torch.equal(one.targets, one.ys)


@pytest.mark.parametrize("name", function_tasks())
def test_predicting_nothing_costs_one(name):
    task = function_task(name)
    drawn = task.sample(3000, N, 1)
    square = (drawn.ys**2).sum(-1) if drawn.ys.dim() == 3 else drawn.ys**2
    within = 0.2 if name == "dynamical" else 0.12  # it settles with time
    assert float(square.mean()) / task.scale == pytest.approx(1.0, abs=within)
    if task.labels == "sign":
        assert set(drawn.ys.unique().tolist()) <= {-1.0, 1.0}


@pytest.mark.parametrize("name", ["linear", "noisy", "sparse", "ill-conditioned", "quadratic", "representation",
                                  "representations", "dynamical", "conjunction", "disjunction", "nearest-neighbour"])
def test_bayes_sees_only_what_stands_before(name):
    """The last answers and points changed: every earlier prediction stays."""
    task = function_task(name)
    drawn = task.sample(6, N, 2)
    said = task.bayes(drawn.xs, drawn.ys)
    xs, ys = drawn.xs.clone(), drawn.ys.clone()
    xs[:, -1], ys[:, -2:] = xs[:, -1].flip(0), -ys[:, -2:]
    assert said.shape == drawn.ys.shape
    assert torch.allclose(task.bayes(xs, ys)[:, : N - 1], said[:, : N - 1], atol=1e-5)


def test_linear_values_are_the_product_and_bayes_errs_by_one_minus_k_over_d():
    task = function_task("linear", d=4)
    drawn = task.sample(4000, 7, 0)
    for row, x, y in zip(drawn.latents["w"][:3], drawn.xs[:3], drawn.ys[:3]):
        assert torch.allclose(y, torch.stack([(row * point).sum() for point in x]), atol=1e-5)
    found = _error(task, task.bayes(drawn.xs, drawn.ys), drawn)
    expected = torch.tensor([max(0.0, 1 - k / 4) for k in range(7)])
    assert torch.allclose(found, expected, atol=0.06)
    assert float(found[4:].max()) < 1e-3


def test_noisy_bayes_is_ridge_and_leaves_the_noise():
    task = function_task("noisy", d=3, noise=0.5)
    drawn = task.sample(2, 30, 0)
    x, y = drawn.xs[1, :20].double(), drawn.ys[1, :20].double()
    w = torch.linalg.inv(x.T @ x + 0.25 * torch.eye(3, dtype=torch.float64)) @ x.T @ y
    assert float(task.bayes(drawn.xs, drawn.ys)[1, 20]) == pytest.approx(float(w @ drawn.xs[1, 20].double()), abs=1e-5)
    many = task.sample(2000, 40, 1)
    assert float(_error(task, task.bayes(many.xs, many.ys), many)[-1]) * 3 == pytest.approx(0.25, rel=0.2)


def test_sparse_weights_have_their_number_of_entries_and_bayes_finds_them():
    task = function_task("sparse", d=6, nonzero=2)
    drawn = task.sample(300, 9, 0)
    assert ((drawn.latents["w"] != 0).sum(1) == 2).all()
    found = _error(task, task.bayes(drawn.xs, drawn.ys), drawn)
    assert float(found[4:].max()) < 0.02  # least squares needs six examples
    assert function_task("sparse", d=40, nonzero=4).bayes(drawn.xs, drawn.ys) is None


def test_sparse_bayes_before_it_knows_is_the_mean_over_supports():
    """One example: every support explains it, with the evidence of a Gaussian."""
    task = function_task("sparse", d=3, nonzero=1)
    drawn = task.sample(5, 2, 3)
    for x, y, said in zip(drawn.xs.double(), drawn.ys.double(), task.bayes(drawn.xs, drawn.ys)[:, 1]):
        weight = torch.exp(-0.5 * (y[0] / x[0]) ** 2) / x[0].abs()
        guess = y[0] / x[0] * x[1]
        assert float(said) == pytest.approx(float((weight * guess).sum() / weight.sum()), rel=1e-3, abs=1e-4)


def test_ill_conditioned_points_have_their_condition_and_their_length():
    task = function_task("ill-conditioned", d=4, condition=50.0)
    xs = task.sample(2000, 8, 0).xs
    assert float(xs.square().sum(-1).mean()) == pytest.approx(4.0, rel=0.05)
    one = function_task("ill-conditioned", d=4, condition=50.0).sample(1, 4000, 0).xs[0]
    spread = torch.linalg.svdvals(one)
    assert float(spread[0] / spread[-1]) == pytest.approx(50, rel=0.1)
    assert conditioned(5, 10.0).tolist() == [10, 10, 1, 1, 1]


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(0, 99))
def test_rotations_are_orthogonal(d, seed):
    q = rotations(3, d, torch.Generator().manual_seed(seed))
    assert torch.allclose(q @ q.transpose(1, 2), torch.eye(d).expand(3, d, d), atol=1e-5)


def test_a_network_and_a_quadratic_are_their_formulas():
    task = function_task("network", d=2, hidden=3)
    drawn = task.sample(2, 2, 0)
    w1, w2 = drawn.latents["w1"][1], drawn.latents["w2"][1]
    x = drawn.xs[1, 1]
    by_hand = sum(float(w2[h]) * max(0.0, float(w1[h] @ x)) for h in range(3)) * (2 / 3) ** 0.5
    assert float(drawn.ys[1, 1]) == pytest.approx(by_hand, abs=1e-5)
    task = function_task("quadratic", d=3)
    drawn = task.sample(200, 6, 0)
    assert float(drawn.ys[0, 0]) == pytest.approx(float((drawn.latents["w"][0] * drawn.xs[0, 0] ** 2).sum()) / 3**0.5,
                                                  abs=1e-5)
    assert float(_error(task, task.bayes(drawn.xs, drawn.ys), drawn)[3:].max()) < 1e-3


def test_a_tree_is_walked_by_hand():
    task = function_task("tree", d=3, depth=2)
    drawn = task.sample(20, 10, 0)
    for row in range(20):
        coordinate, leaf = drawn.latents["coordinate"][row], drawn.latents["leaf"][row]
        for x, y in zip(drawn.xs[row], drawn.ys[row]):
            first = bool(x[coordinate[0]] > 0)
            second = bool(x[coordinate[2 if first else 1]] > 0)
            assert y == leaf[2 * first + second]


@pytest.mark.parametrize("call, message", [
    (lambda: function_task("lineer"), 'Did you mean "linear"'),
    (lambda: function_task("linear", dd=3), 'Did you mean "d"'),
    (lambda: function_task("linear", d=0), "at least 1"),
    (lambda: function_task("linear:d"), "write NAME=VALUE"),
    (lambda: function_task("linear:d=3", d=4), "given twice"),
    (lambda: function_task("linear", amount=3), "without a shift"),
    (lambda: function_task("sparse", d=3, nonzero=4), "has 3 entries"),
    (lambda: function_task("ill-conditioned", condition=0.5), "at least 1"),
    (lambda: function_task("conjunction", literal=1.5), "share from 0 to 1"),
    (lambda: function_task("parity", size=9), "1 to 8"),
    (lambda: function_task("linear").sample(0, 3, 0), "batch is 0"),
    (lambda: function_task("linear").sample(2, True, 0), "n is True"),
])
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()


def test_options_may_stand_in_the_name():
    task = function_task("noisy:d=3,noise=0.25")
    assert (task.d, task.noise, task.name) == (3, 0.25, "noisy")
    assert function_task("teaching:signed=true").signed and function_task("parity:size=none").size is None
    assert function_task("sparse-parity").size == 2 and function_tasks()["sparse-parity"]["size"] == 2
    assert function_task("linear:shift=opposite").name == "linear, opposite"
