"""Choices: one-hot where they should be, distributed as they should be, with gradients."""

import math

import pytest
import torch

from interp.programs.gates import Gates
from interp.programs.gumbel import Choice, gumbel

LOGITS = torch.tensor([0.0, 1.0, 2.0, -1.0])


def _seeded(mode: str, tau: float = 1.0, seed: int = 0) -> Choice:
    return Choice(mode, tau, torch.Generator().manual_seed(seed))


def test_noise_has_the_mean_and_variance_of_gumbel_and_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    drawn = gumbel(torch.zeros(200_000), torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state()) and drawn.isfinite().all()
    assert float(drawn.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(drawn.var()) == pytest.approx(math.pi**2 / 6, abs=0.03)


@pytest.mark.parametrize("mode", ["soft", "straight"])
def test_options_are_drawn_as_often_as_the_softmax_says(mode):
    drawn = _seeded(mode, 0.05)(LOGITS.expand(50_000, 4)).argmax(-1).bincount(minlength=4) / 50_000
    assert torch.allclose(drawn, LOGITS.softmax(0), atol=0.01)


def test_soft_choices_sum_to_one_and_harden_as_they_cool():
    hot, cold = (_seeded("soft", tau)(LOGITS.expand(1000, 4)) for tau in (3.0, 0.01))
    assert torch.allclose(hot.sum(-1), torch.ones(1000)) and torch.allclose(cold.sum(-1), torch.ones(1000))
    assert hot.amax(-1).mean() < 0.6 and cold.amax(-1).mean() > 0.99


@pytest.mark.parametrize("mode", ["straight", "argmax"])
def test_hard_choices_are_one_hot_bit_for_bit_and_pass_gradients(mode):
    logits = torch.randn(50, 4, requires_grad=True)
    chosen = _seeded(mode)(logits, dim=0)
    assert set(chosen.unique().tolist()) == {0.0, 1.0} and (chosen.sum(0) == 1).all()
    (chosen * torch.randn(50, 4)).sum().backward()
    assert logits.grad.abs().min() > 0


def test_argmax_takes_the_first_of_equals_and_draws_nothing():
    before = torch.get_rng_state()
    assert Choice()(torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]])).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert torch.equal(before, torch.get_rng_state())


def test_a_gate_with_one_variable_has_nothing_to_learn():
    gates = Gates(3, 1)
    assert gates(Choice()).tolist() == [[1.0]] * 3 and not list(gates.parameters())
    assert gates.double()(Choice()).dtype == torch.float64
