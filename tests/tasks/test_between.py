"""The task of any architecture: 1 and -1 at the two outputs, linear between them, and what it refuses."""

import pytest
import torch

import interp
from interp.results import BadInput
from interp.tasks import task
from interp.tasks.between import Way


@pytest.mark.parametrize("name", ["itransformer", "graph-transformer", "vit", "lstm"])
def test_it_is_1_at_the_clean_output_and_minus_1_at_the_corrupt_one(name):
    model = interp.build(name, seed=0)
    made = task("between", model=model, n=8, seed=1)
    with torch.no_grad():
        one, other = (made.metric(model(side)) for side in (made.clean, made.corrupt))
    assert torch.allclose(one, torch.ones(8), atol=1e-5) and torch.allclose(other, -torch.ones(8), atol=1e-5)
    assert made.part("discover").metric.accuracy(model(made.part("discover").clean)).all()
    assert sorted(len(rows) for rows in made.split.values()) == [2, 2, 4]


def test_between_two_outputs_it_is_as_far_as_they_are_mixed():
    own, other = torch.randn(2, 3, 5, 4).unbind()
    metric = Way(own, other)
    for share in (0.0, 0.25, 1.3):
        assert torch.allclose(metric(share * own + (1 - share) * other), torch.full((3,), 2 * share - 1), atol=1e-5)
    across = own - other
    sideways = torch.randn(3, 5, 4)
    sideways -= (sideways * across).sum((1, 2), keepdim=True) / across.square().sum((1, 2), keepdim=True) * across
    assert torch.allclose(metric(own + sideways), torch.ones(3), atol=1e-4)  # what is not on the line does not count


@pytest.mark.parametrize(("name", "source"), [("lstm", "hook_embed"), ("itransformer", "instance.hook_mean")])
def test_the_part_through_which_everything_passes_has_the_whole_way(name, source):
    """An LSTM sees its input by the embedding alone; an untrained forecaster gives about the mean of each series."""
    model = interp.build(name, seed=0)
    made = task("between", model=model, n=6)
    found = interp.effects(model, made.clean, [interp.Source(source)], made.metric, rules="ablation",
                           baseline=interp.Counterfactual(made.corrupt)).frame()
    assert found["effect"][0] == pytest.approx(2.0, abs=1e-4 if name == "lstm" else 0.1)


def test_models_that_are_not_of_the_catalog_and_equal_outputs_are_refused():
    with pytest.raises(BadInput, match="interp.build made; give model="):
        task("between")
    model = interp.build("gpt", seed=0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    with pytest.raises(BadInput, match="the same output"):
        task("between", model=model)
    with pytest.raises(BadInput, match="outputs of shape"):
        Way(torch.ones(2, 3), torch.zeros(2, 3))(torch.ones(2, 4))
