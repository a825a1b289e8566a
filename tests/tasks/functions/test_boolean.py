"""Boolean functions against truth tables, their balance, their teaching sequences; Bayes against a literal sum."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.tasks.functions import function_task
from interp.tasks.functions.boolean import corners, holds_all, holds_one

weights = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=4, max_size=4)


@given(weights)
def test_conjunctions_and_disjunctions_are_all_and_any(w):
    cube = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)))
    for x, both, one in zip(cube.tolist(), holds_all(cube, torch.tensor(w)), holds_one(cube, torch.tensor(w))):
        met = [a == b for a, b in zip(x, w) if b]
        assert (both > 0) == all(met) and (one > 0) == any(met)


@pytest.mark.parametrize("name, inner, outer", [("dnf", all, any), ("cnf", any, all)])
def test_forms_of_clauses_are_their_truth_tables(name, inner, outer):
    drawn = function_task(name, d=5).sample(30, 6, 0)
    for xs, ys, clauses in zip(drawn.xs.tolist(), drawn.ys.tolist(), drawn.latents["w"].tolist()):
        for x, y in zip(xs, ys):
            said = outer(inner(a == b for a, b in zip(x, clause) if b) for clause in clauses)
            assert (y > 0) == said


@pytest.mark.parametrize("name, forced_label", [("conjunction", 1), ("disjunction", -1)])
def test_a_share_of_points_is_forced_to_the_rarer_label(name, forced_label):
    plain = function_task(name, balance=0.0, literal=1.0).sample(400, 16, 0).ys
    helped = function_task(name, balance=0.3, literal=1.0).sample(400, 16, 0).ys
    assert float((plain == forced_label).float().mean()) < 0.02  # one corner of 256
    assert float((helped == forced_label).float().mean()) == pytest.approx(0.3, abs=0.03)


@settings(max_examples=15)
@given(st.integers(0, 1000))
def test_counting_functions_are_their_inequalities(seed):
    for name, bound in (("majority", 0.5), ("halfspace", 0.5), ("threshold", None)):
        drawn = function_task(name).sample(4, 5, seed)
        for xs, ys, w, b in zip(drawn.xs, drawn.ys, drawn.latents["w"], drawn.latents["b"]):
            assert bound is None or float(b) == bound
            for x, y in zip(xs, ys):
                assert float(y) == (1.0 if float((w * x).sum()) > float(b) else -1.0)
        assert drawn.latents["w"].abs().max() <= (3 if name == "halfspace" else 1)


def test_parity_multiplies_its_subset():
    for name in ("parity", "sparse-parity"):
        drawn = function_task(name).sample(50, 5, 0)
        for xs, ys, w in zip(drawn.xs, drawn.ys, drawn.latents["w"]):
            for x, y in zip(xs, ys):
                assert float(y) == float(torch.tensor([v for v, chosen in zip(x, w) if chosen]).prod())
        if name == "sparse-parity":
            assert (drawn.latents["w"].sum(1) == 2).all()


def test_nearest_neighbour_copies_the_first_of_the_nearest():
    task = function_task("nearest-neighbour", d=4, start=3)
    drawn = task.sample(50, 9, 0)
    for xs, ys in zip(drawn.xs.tolist(), drawn.ys.tolist()):
        for k in range(9):
            near = [sum(a * b for a, b in zip(xs[k], xs[j])) for j in range(k)]
            repeated = bool(near) and max(near) == 4
            if k >= 3 or repeated:
                assert ys[k] == ys[near.index(max(near))]
    said = task.bayes(drawn.xs, drawn.ys)
    assert (said[:, 3:] == drawn.ys[:, 3:]).all()
    first = said[:, :3]
    assert ((first == 0) | (first == drawn.ys[:, :3])).all() and (first == 0).any()


# -- teaching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
def test_a_teaching_sequence_leaves_one_conjunction(signed):
    task = function_task("teaching", d=4, signed=signed)
    drawn = task.sample(60, 9, 0)
    every = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0) if signed else (0.0, 1.0), repeat=4)))
    for xs, ys, w, lead in zip(drawn.xs, drawn.ys, drawn.latents["w"], drawn.latents["lead"].tolist()):
        count = int(w.abs().sum())
        assert lead == count + (2 if signed else 1)
        fits = (holds_all(xs[:lead].expand(len(every), -1, -1), every) == ys[:lead]).all(1)
        assert torch.equal(every[fits], w[None])
        shorter = (holds_all(xs[: lead - 1].expand(len(every), -1, -1), every) == ys[: lead - 1]).all(1)
        assert int(shorter.sum()) > 1
        # the positives, then one negative for each literal
        assert ys[:lead].tolist() == [1.0] * (lead - count) + [-1.0] * count
    assert torch.equal(drawn.ys, holds_all(drawn.xs, drawn.latents["w"]))


def test_the_mixture_holds_both_kinds_of_prompts():
    drawn = function_task("teaching-mixture").sample(1000, 12, 0)
    taught = drawn.latents["taught"]
    assert float(taught.float().mean()) == pytest.approx(0.5, abs=0.06)
    assert (drawn.latents["lead"][~taught] == 0).all() and (drawn.ys[taught, 0] == 1).all()
    assert float((drawn.ys[~taught, 0] == 1).float().mean()) < 0.8


# -- Bayes -----------------------------------------------------------------------------------------------------------


def _literal(task, xs, ys):
    """p(y_k = 1) - p(y_k = -1) by running through every conjunction."""
    d, said = task.d, []
    for k in range(len(xs)):
        total = vote = 0.0
        for w in itertools.product((-1, 0, 1), repeat=d):
            met = [all(x == v for x, v in zip(point, w) if v) for point in xs[: k + 1]]
            if any(m != (y > 0) for m, y in zip(met[:k], ys)):
                continue
            count = sum(map(abs, w))
            weight = (task.literal / 2) ** count * (1 - task.literal) ** (d - count)
            for m in met:
                weight *= (1 - task.balance) * 2.0**-d + m * task.balance * 2.0 ** (count - d)
            total += weight
            vote += weight * (1 if met[k] else -1)
        said.append(vote / total)
    return said


@pytest.mark.parametrize("name", ["conjunction", "disjunction"])
def test_bayes_of_conjunctions_is_the_literal_sum(name):
    task = function_task(name, d=3)
    drawn = task.sample(6, 5, 1)
    found = task.bayes(drawn.xs, drawn.ys)
    sign = 1 if name == "conjunction" else -1
    for xs, ys, said in zip(drawn.xs.tolist(), drawn.ys.tolist(), found.tolist()):
        # a disjunction is the negation of a conjunction of negations, so points are the same and labels turn over
        literal = _literal(task, [[sign * sign * x for x in point] for point in xs], [sign * y for y in ys])
        assert said == pytest.approx([sign * value for value in literal], abs=1e-5)


def test_no_rule_beats_bayes_on_conjunctions():
    task = function_task("conjunction", d=5)
    drawn = task.sample(1500, 10, 2)
    said = task.bayes(drawn.xs, drawn.ys)
    right = ((said > 0) == (drawn.ys > 0)).float().mean(0)
    near = drawn.xs @ drawn.xs.transpose(1, 2)
    for k in range(1, 10):
        copied = drawn.ys.gather(1, near[:, k, :k].argmax(1)[:, None])[:, 0]
        assert float(right[k]) > float((copied == drawn.ys[:, k]).float().mean()) - 0.02
    assert task.bayes(drawn.xs[:1], -drawn.ys[:1].abs()).isfinite().all()
    assert function_task("conjunction", d=9).bayes(drawn.xs, drawn.ys) is None


def test_corners_are_uniform():
    xs = corners(500, 20, 6, torch.Generator().manual_seed(0))
    assert (xs.abs() == 1).all() and float(xs.mean().abs()) < 0.02
