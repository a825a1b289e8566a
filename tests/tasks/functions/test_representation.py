"""Fixed representations, mixtures of them, dynamical systems, and prompts out of distribution."""

import pytest
import torch

from interp.results.errors import BadInput
from interp.tasks.functions import function_task, shifted
from interp.tasks.functions.shifts import AMOUNTS


def test_a_representation_is_its_layers_and_the_same_for_all_prompts():
    task = function_task("representation", d=3, layers=2)
    drawn = task.sample(4, 5, 0)
    from interp.tasks.functions.representation import maps

    first, second = maps(3, 2, 0)
    assert torch.allclose(first @ first.T, torch.eye(3), atol=1e-5)
    x = drawn.xs[2, 1] @ first
    x = torch.where(x > 0, x, 0.01 * x) @ second
    x = torch.where(x > 0, x, 0.01 * x)
    assert float(drawn.ys[2, 1]) == pytest.approx(float(x @ drawn.latents["w"][2]), abs=1e-5)
    assert torch.equal(task.sample(4, 5, 9).xs * 0 + task.phi(drawn.xs), task.phi(drawn.xs))


def test_bayes_of_a_representation_needs_d_examples_and_ridge_on_x_more():
    task = function_task("representation")
    drawn = task.sample(1000, 10, 0)
    error = ((task.bayes(drawn.xs, drawn.ys) - drawn.ys) ** 2).mean(0) / task.scale
    raw = ((function_task("linear").bayes(drawn.xs, drawn.ys) - drawn.ys) ** 2).mean(0) / task.scale
    assert float(error[5:].max()) < 1e-3 < 0.2 < float(raw[5:].min())


def test_bayes_of_a_mixture_is_the_right_ridge_once_it_is_known():
    task = function_task("representations", d=3, noise=0.05)
    drawn = task.sample(400, 14, 0)
    said = task.bayes(drawn.xs, drawn.ys)
    own = task.ridges(drawn.xs, drawn.ys)[drawn.latents["kind"], torch.arange(400)]
    assert float((said - own)[:, -1].abs().median()) < 1e-3
    bayes, best = (((part - drawn.ys) ** 2).mean(0) for part in (said, own))
    assert float(bayes[-1]) == pytest.approx(float(best[-1]), rel=0.3)
    assert float(bayes[:10].sum()) > float(best[:10].sum())


def test_mixture_posterior_is_a_literal_gaussian_mixture():
    from torch.distributions import MultivariateNormal

    from interp.tasks.functions.solve import mixture_posterior

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 1, 4, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(1, 4, generator=generator, dtype=torch.float64)
    said, weights = mixture_posterior(x, y, 0.3)
    logs, guesses = [], []
    for features in x[:, 0]:
        noise = 0.3 * torch.eye(3, dtype=torch.float64)
        spread = features[:3] @ features[:3].T + noise
        logs.append(MultivariateNormal(torch.zeros(3, dtype=torch.float64), spread).log_prob(y[0, :3]))
        guesses.append(features[3] @ features[:3].T @ torch.linalg.inv(spread) @ y[0, :3])
    share = torch.stack(logs).softmax(0)
    assert torch.allclose(weights[:, 0, 3], share) and torch.allclose(said[0, 3], (share * torch.stack(guesses)).sum())


def test_a_dynamical_system_follows_its_own_map():
    task = function_task("dynamical", d=2, memory=2, noise=0.0)
    drawn = task.sample(5, 7, 0)
    w = drawn.latents["w"]
    assert torch.allclose(w @ w.transpose(1, 2), torch.eye(2).expand(5, 2, 2), atol=1e-5)
    assert torch.equal(drawn.xs[:, 1:], drawn.ys[:, :-1])
    assert torch.allclose(task.values(drawn.xs, drawn.latents), drawn.ys, atol=1e-5)
    window = torch.cat([drawn.xs[3, 2], drawn.xs[3, 3]])
    assert torch.allclose(task.features(drawn.xs)[3, 3], task_phi(window), atol=1e-6)


def task_phi(window):
    from interp.tasks.functions.representation import phi

    return phi(window, 1, 0)


# -- out of distribution ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", AMOUNTS)
def test_shifted_answers_are_the_functions_own(kind):
    task = shifted(function_task("linear"), kind)
    drawn = task.sample(40, 5, 3)
    again = task.sample(40, 5, 3)
    assert torch.equal(drawn.xs, again.xs) and torch.equal(drawn.targets, again.targets)
    asked = drawn.xs if drawn.queries is None else drawn.queries
    assert torch.allclose(drawn.targets, task.values(asked, drawn.latents), atol=1e-4)
    if kind != "label-noise":
        assert torch.allclose(drawn.ys, task.values(drawn.xs, drawn.latents), atol=1e-4)


def test_each_shift_is_what_it_is_called():
    def drawn(kind, amount=None):
        return shifted(function_task("linear", d=4), kind, amount).sample(200, 4, 0)

    plain = function_task("linear", d=4).sample(200, 4, 0)
    assert (torch.linalg.matrix_rank(drawn("half-subspace").xs) <= 2).all()
    assert torch.allclose(drawn("x-scale", 3.0).xs, 3 * plain.xs)
    assert torch.allclose(drawn("y-scale", 3.0).ys, 3 * plain.ys)
    assert (drawn("dims", 1).xs[..., 1:] == 0).all()
    noisy = drawn("label-noise", 0.5)
    assert float((noisy.ys - noisy.answers).std()) == pytest.approx(0.5, rel=0.1)
    inside = drawn("quadrants")
    assert (inside.xs.sign() == inside.xs.sign()[:, :1]).all() and torch.equal(inside.queries, plain.xs)
    opposite = drawn("opposite")
    assert torch.equal(opposite.queries.sign(), -opposite.xs.sign())
    away = drawn("orthogonal")
    for k in range(4):
        products = torch.einsum("bkd,bd->bk", away.xs[:, :k], away.queries[:, k])
        assert products.numel() == 0 or float(products.abs().max()) < 1e-4
    assert torch.allclose(away.queries.norm(dim=-1), torch.full((200, 4), 2.0), atol=1e-4)
    again = drawn("repeated")
    for k in range(1, 4):
        assert (again.queries[:, k, None] == again.xs[:, :k]).all(-1).any(1).all()


@pytest.mark.parametrize("call, message", [
    (lambda: shifted(function_task("linear"), "oposite"), 'Did you mean "opposite"'),
    (lambda: shifted(function_task("linear"), "skewed", 2.0), "takes no amount"),
    (lambda: shifted(function_task("majority"), "y-scale"), "labels of majority are signs"),
    (lambda: shifted(function_task("dynamical"), "skewed"), "cannot be shifted"),
    (lambda: shifted(function_task("linear"), "orthogonal").sample(2, 7, 0), "n <= 5"),
])
def test_shifts_that_do_not_fit_are_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()


def test_flipped_signs_keep_the_true_answers():
    drawn = shifted(function_task("majority"), "label-noise", 0.2).sample(500, 10, 0)
    assert float((drawn.ys != drawn.answers).float().mean()) == pytest.approx(0.2, abs=0.02)
