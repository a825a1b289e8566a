"""What the shipped models of functions do: recorded facts of these checkpoints, measured again on other prompts."""

import pytest
import torch

from interp.garden.icl import trained_on
from interp.garden.loading import load
from interp.icl import predict, run, task
from interp.icl.curves import prefix_curves
from interp.results.errors import BadInput


def test_the_linear_model_is_near_least_squares_at_first_and_at_the_end():
    found = run(load("garden/icl-linear-d5"), "linear:d=5", prompts=1500, seed=7)
    for k in (1, 2):
        assert found.gap(k, "least squares").value < 0.03
    assert found.gap(3, "least squares").value < 0.045
    assert found.estimate(10).high < 0.07
    assert float(found.mean()[5]) < 0.3 < float(found.mean("3 nearest")[5])


def test_the_taught_model_is_right_behind_every_teaching_sequence():
    model = load("garden/icl-teaching")
    found = run(model, "teaching:d=8", prompts=800, seed=7)
    behind = prefix_curves(found, task("teaching").sample(800, 16, 7).latents["lead"], 7)
    assert float(behind.mean().min()) > 0.995 and float(behind.mean("nearest")[4:].max()) < 0.95
    ordinary = run(model, "teaching:d=8,share=0.0", prompts=800, seed=7)
    assert float(ordinary.mean()[10]) < float(ordinary.mean("nearest")[10])


def test_the_representation_model_is_better_than_anything_linear_in_x():
    found = run(load("garden/icl-representation"), "representation:d=5,layers=1", prompts=1000, seed=7)
    assert (found.mean()[6:] < 0.75 * found.mean("least squares")[6:]).all()
    assert float(found.mean("bayes")[6:].max()) < 1e-6 < float(found.mean()[15])


def test_each_is_measured_on_the_class_it_was_trained_on():
    assert trained_on("garden/icl-linear-d5") == task("linear") and trained_on("icl-teaching").name == "teaching"
    with pytest.raises(BadInput, match="name one with --task"):
        trained_on("garden/induction-2l")


def test_what_a_model_says_of_one_prompt_does_not_depend_on_the_others():
    model, drawn = load("garden/icl-linear-d5"), task("linear").sample(5, 11, 0)
    every = predict(model, drawn.xs, drawn.ys)
    assert torch.allclose(predict(model, drawn.xs[2:3], drawn.ys[2:3]), every[2:3], atol=1e-5)
