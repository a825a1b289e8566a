"""Matching: similarities by hand, solvers that are known inside and must be found, and others that must not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import interp
from interp.icl import baselines
from interp.icl.families import Family, families_for, family
from interp.icl.match import HOME, Matching, conditions_for, match_algorithms, random_twin, sims
from interp.icl.match_figures import rates_frame
from interp.icl.match_weights import weight_matching
from interp.icl.models import build, predict
from interp.icl.readouts import fit_readouts
from interp.icl.ridge import fit_ridge, r_squared
from interp.icl.similarity import error_similarity, induced_weights, weight_similarity
from interp.icl.swapping import swap
from interp.results.errors import BadInput
from interp.tasks.functions import function_task, shifted
from tests.icl.planted import solver

D, N = 3, 10
TASK = function_task("linear", d=D)


def newton(xs, ys):
    return baselines.newton(xs, ys, 9, iterates=True)


def descent(xs, ys):
    return baselines.gradient_descent(xs, ys, 20, iterates=True)


def slow_descent(xs, ys):
    return baselines.gradient_descent(xs, ys, 20, rate=0.04, iterates=True)


def neighbours(xs, ys):
    near = baselines.nearest_neighbours(xs, ys, 2)
    return torch.stack([share * near for share in (0.0, 0.3, 0.6, 1.0)])


def shrunk(xs, ys):
    return baselines.ridge_path(xs, ys, (1e6, 30.0, 5.0, 0.5))


@pytest.fixture(scope="module")
def control():
    return build("gpt", TASK, n=N, d_model=16, n_layers=1, n_heads=2)


FEW = {name: task for name, task in conditions_for(TASK).items() if name in (
    HOME, "conditioning 10", "conditioning 100", "x times 3")}


def matched(solve, steps, control, start=0, prompts=60) -> Matching:
    """Three families with fewer steps and rates than `families_for`, for speed."""
    few = [family("gradient descent", tuple(range(17)), baselines.gradient_descent, {"rate": 0.04}, {"rate": 0.02}),
           family("conjugate gradients", tuple(range(D + 2)), baselines.conjugate_gradient),
           family("Newton", tuple(range(10)), baselines.newton)]
    return match_algorithms(solver(D, solve, steps, start=start), TASK, N, prompts=prompts, families=few,
                            conditions=FEW, control=control)


# The pieces


def test_similarity_by_hand():
    ys = torch.tensor([[3.0, 4.0, 0.0]], dtype=torch.float64)
    a = ys + torch.tensor([[1.0, 0.0, 0.0]])
    floor = (0.05 * 5) ** 2
    assert float(error_similarity(a, a, ys)) == pytest.approx(1)
    assert float(error_similarity(a, 2 * ys - a, ys)) == pytest.approx((-1 + floor) / (1 + floor))
    assert float(error_similarity(ys, ys, ys)) == pytest.approx(1)
    assert float(error_similarity(a, ys, ys)) == pytest.approx(floor / (floor * (1 + floor)) ** 0.5)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_similarity_is_a_cosine_and_alike_both_ways(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b, ys = (torch.randn(4, 6, generator=generator, dtype=torch.float64) for _ in range(3))
    found = error_similarity(a, b, ys)
    assert torch.allclose(found, error_similarity(b, a, ys)) and bool((found.abs() <= 1 + 1e-12).all())
    assert torch.allclose(found, error_similarity(5 * a, 5 * b, 5 * ys))  # the unit of the answers does not matter


def test_linear_answers_imply_their_weights():
    xs, w = torch.randn(5, 9, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    found = induced_weights(xs, torch.einsum("bqd,bd->bq", xs, w))
    assert torch.allclose(found, w)
    assert torch.allclose(weight_similarity(found, -2 * w), torch.full((5,), -1.0, dtype=torch.float64))
    assert float(weight_similarity(torch.zeros(1, 3), torch.zeros(1, 3))) == 1


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.floats(1e-6, 10))
def test_ridge_equals_its_normal_equations(seed, penalty):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(40, k, generator=generator, dtype=torch.float64) for k in (5, 2))
    x[:, 2] = 3.0  # a constant feature gets no weight
    read = fit_ridge(x, y, penalty)
    keep = [0, 1, 3, 4]
    unit = (x[:, keep] - x[:, keep].mean(0)) / x[:, keep].std(0, correction=0)
    want = np.linalg.lstsq(
        torch.cat([unit / 40**0.5, penalty**0.5 * torch.eye(4, dtype=torch.float64)]).numpy(),
        torch.cat([(y - y.mean(0)) / 40**0.5, torch.zeros(4, 2, dtype=torch.float64)]).numpy(), rcond=None)[0]
    assert torch.allclose(read(x), unit @ torch.tensor(want) + y.mean(0), atol=1e-8)
    assert float(read.weight[2].abs().max()) == 0
    assert r_squared(y, y) == 1 and r_squared(y.mean(0).expand_as(y), y) == pytest.approx(0)


def test_readouts_of_a_planted_solver_say_its_steps():
    model = solver(D, newton, [3, 6])
    readouts = fit_readouts(model, TASK, N, 1000)
    drawn = TASK.sample(50, N, 7)
    said, truth = readouts(model, drawn.xs, drawn.ys), newton(drawn.xs, drawn.ys)
    for depth, step in enumerate((0, 3, 6)):
        slope = float((said[depth] * truth[step]).sum() / truth[step].square().sum())
        assert slope > 1  # stretched, the less the later
        assert float((said[depth] - slope * truth[step]).square().mean()) < 0.01
    with pytest.raises(BadInput, match="prompts at least"):
        fit_readouts(model, TASK, N, 5)


def test_a_family_is_stretched_as_least_squares_says():
    drawn = TASK.sample(300, N, 0)
    one = family("gradient descent", (0, 1, 4), baselines.gradient_descent, {"rate": 0.05}, {"rate": 1e-4})
    truth = baselines.gradient_descent(drawn.xs, drawn.ys, 4, rate=0.05, iterates=True)[[0, 1, 4]]
    ys = drawn.ys.double()
    slopes = (truth * ys).sum((1, 2)) / truth.square().sum((1, 2)).clamp_min(1e-9)
    found = one.fitted(drawn.xs, drawn.ys, (slopes[:, None, None] * truth)[:, :100])
    assert found.variant == "rate 0.05"
    assert found.scales[1] == pytest.approx(float((truth[1] * ys).sum() / truth[1].square().sum()))
    assert torch.allclose(found(drawn.xs, drawn.ys)[2], found.scales[2] * truth[2])
    wild = family("gradient descent", (0, 400), baselines.gradient_descent, {"rate": 50.0})
    assert torch.isfinite(Family(wild.name, wild.steps, wild.variants, "rate 50")(drawn.xs, drawn.ys)).all()


def test_sims_are_those_of_every_pair():
    drawn = TASK.sample(6, N, 1)
    said = torch.randn(2, 6, N, dtype=torch.float64)
    iterates = descent(drawn.xs, drawn.ys)[:3]
    table = sims(said, iterates, drawn.ys, slice(1, 4))
    for depth in range(2):
        for step in range(3):
            for i in range(6):
                want = error_similarity(said[depth, i, 1:4], iterates[step, i, 1:4], drawn.ys[i, 1:4].double())
                assert table[depth, step, i] == pytest.approx(float(want))


# The verdict


@pytest.mark.parametrize("solve, steps, name", [
    (newton, [2, 4, 6], "Newton"), (descent, [2, 5, 12], "gradient descent"),
    (slow_descent, [2, 5, 12], "gradient descent"),
])
def test_a_planted_algorithm_is_found_with_its_steps(solve, steps, name, control):
    found = matched(solve, steps, control)
    verdict = found.verdict()
    assert verdict.algorithm == name, verdict.reason
    labels = found.families[name].steps
    assert [labels[i] for i in found.step[name]][1:] == steps
    low, high = found.interval[name]
    assert (low <= found.step[name]).all() and (found.step[name] <= high).all()
    assert min(found.chosen[name][:, 1:].mean(-1).min(), 1) > 0.9  # everywhere, not only on average
    assert found.control_score(name, 1).mean() < 0.9


@pytest.mark.parametrize("solve", [neighbours, shrunk])
def test_what_is_no_algorithm_of_the_list_is_undecided(solve, control):
    verdict = matched(solve, [1, 2, 3], control).verdict()
    assert verdict.algorithm == "undecided" and verdict.reason
    assert set(verdict.frame()["depth"]) == {0, 1, 2, 3}


def test_an_untrained_model_is_undecided(control):
    model = build("gpt", TASK, n=N, d_model=16, n_layers=2, n_heads=2, seed=3)
    few = [f for f in families_for(TASK, N) if f.name in ("conjugate gradients", "Newton")]
    found = match_algorithms(model, TASK, N, prompts=60, families=few, conditions=FEW)
    assert found.verdict().algorithm == "undecided"
    assert not any(d.active for d in found.verdict().depths)


def test_steps_that_do_not_rise_are_undecided(control):
    found = matched(newton, [4, 4, 4], control, start=4)
    assert found.verdict().algorithm == "undecided"


def test_the_speed_is_the_slope_of_the_logarithm_of_errors(control):
    found = matched(newton, [2, 5], control)
    table = rates_frame(found)
    assert [d.active for d in found.verdict().depths] == [True] * 3
    means = [found.errors[1, depth].mean() for depth in range(3)]
    slope = (np.log(means[0]) - np.log(means[2])) / 2  # of three points in equal steps, the ends alone decide
    assert table["rate"][1] == pytest.approx(slope) and table["low"][1] <= slope <= table["high"][1]
    assert len(table) == len(found.conditions)


def test_every_family_has_own_bounds_and_starts_at_its_step_0():
    drawn = TASK.sample(3, N, 0)
    for one in families_for(TASK, N):
        assert next(iter(one.variants)) == "own bounds" and one.steps[0] == 0 and list(one.steps) == sorted(one.steps)
        assert one(drawn.xs, drawn.ys).shape == (len(one.steps), 3, N)


def test_tables_and_figures_hold_the_same_numbers(control):
    found = matched(newton, [2, 5], control)
    frame = found.frame()
    assert len(frame) == 3 * 3 and (frame["low"] <= frame["outside"]).all()
    assert "Newton" in frame.attrs["verdict"]
    figure = found.figure("conditioning 100, k > d")
    assert np.allclose(figure.data[0].z, found.mean["gradient descent"][
        1 + found.conditions.index("conditioning 100, k > d")].T)
    with pytest.raises(BadInput, match="conditioning 100"):
        found.figure("conditioning 99")
    model = solver(D, newton, [2, 5])
    table = weight_matching(model, TASK, found, fit_readouts(model, TASK, N, 500), prompts=10)
    same = table[(table["family"] == "Newton") & (table["depth"] == 2)]
    assert (same["SimW"] > 0.99).all() and (same["fit"] > 0.95).all()


def test_matching_refuses_what_it_cannot_tell(control):
    with pytest.raises(BadInput, match="real values"):
        match_algorithms(control, function_task("conjunction", d=D), N)
    with pytest.raises(BadInput, match="d \\+ 1"):
        match_algorithms(control, TASK, D + 1)
    with pytest.raises(BadInput, match="control="):
        random_twin(solver(D, newton, [1]))


def test_a_random_twin_has_the_same_sizes_and_other_weights(control):
    twin = random_twin(control)
    drawn = TASK.sample(4, N, 0)
    assert predict(twin, drawn.xs, drawn.ys).shape == (4, N)
    assert not torch.equal(predict(twin, drawn.xs, drawn.ys), predict(control, drawn.xs, drawn.ys))
    assert shifted(TASK, "conditioning", 3.0).d == twin.module.d_input


# The causal step


def approach(xs, ys, steps=1, *, iterates=True):
    best = baselines.least_squares(xs, ys)
    return torch.stack([(1 - 0.5**j) * best for j in range(steps + 1)])


@pytest.mark.parametrize("way, nearest", [("add", "carried"), ("overwrite", "recomputed"), ("approach", "continued")])
def test_a_swapped_iterate_is_followed_as_the_model_is_made(way, nearest):
    if way == "approach":
        model = solver(D, lambda x, y: approach(x, y, 60)[[0, -1]], [1, 1, 1], way)
        own, steps, put = family("half way", tuple(range(9)), approach), np.arange(4), 3
    else:
        model = solver(D, descent, [2, 5, 8], way)
        own = family("gradient descent", tuple(range(20)), baselines.gradient_descent)
        steps, put = np.array([0, 2, 5, 8]), 0
    drawn = TASK.sample(300, N, 5)
    readouts = fit_readouts(model, TASK, N, 600)
    own = own.fitted(drawn.xs, drawn.ys, readouts(model, drawn.xs, drawn.ys))
    found = swap(model, readouts, own, steps, 1, put, TASK.sample(80, N, 0))
    assert [found.way(depth) for depth in found.later] == [nearest, nearest]
    assert all(found.distance(nearest, depth).value < 0.02 for depth in found.later)
    if way != "approach":
        assert found.kept(2).value == pytest.approx(float(nearest == "carried"), abs=0.15)
    assert set(found.frame()["nearest"]) == {nearest} and len(found.figure().data)


def test_a_swap_needs_depths_and_steps_behind_it():
    model = solver(D, descent, [2, 5])
    readouts, drawn = fit_readouts(model, TASK, N, 300), TASK.sample(5, N, 0)
    own = family("gradient descent", (0, 1, 2), baselines.gradient_descent)
    with pytest.raises(BadInput, match="no depth behind"):
        swap(model, readouts, own, np.array([0, 1, 2]), 2, 0, drawn)
    for put in (3, 0):  # one that is not there, the one that is there already
        with pytest.raises(BadInput, match="another one is needed"):
            swap(model, readouts, own, np.array([0, 1, 2]), 0, put, drawn)


def test_going_on_is_counted_in_steps_where_a_family_leaves_some_out():
    model = solver(D, lambda x, y: approach(x, y, 60)[[0, -1]], [1, 1, 1], "approach")
    drawn, few = TASK.sample(300, N, 5), TASK.sample(40, N, 0)
    readouts = fit_readouts(model, TASK, N, 600)
    said = readouts(model, drawn.xs, drawn.ys)
    every = family("half way", tuple(range(9)), approach).fitted(drawn.xs, drawn.ys, said)
    some = family("half way", (0, 1, 2, 3, 6), approach).fitted(drawn.xs, drawn.ys, said)
    steps = np.arange(4)
    found = [swap(model, readouts, of, steps, 1, put, few) for of, put in ((every, 6), (some, 4))]
    assert np.allclose(found[0].misses["continued"], found[1].misses["continued"], rtol=1e-5)
    assert [found[1].way(depth) for depth in found[1].later] == ["continued", "continued"]


def test_the_public_names_are_functions_whatever_was_imported_first():
    for name in ("swap", "composition", "in_context", "function_vectors", "probe", "paste", "match_algorithms"):
        assert callable(getattr(interp.icl, name)) and getattr(interp.icl, name).__name__ == name
