"""Knocking nodes out, against edited forwards; and that the shrinkage is what selection adds."""

import numpy as np
import pytest
import torch

import interp
from interp.discovery.knock_out import BASELINES, knock_out
from interp.hooks import Ablate, Counterfactual, Mean
from interp.results import BadInput, MissingSite, Node

HEAD = Node("blocks.0.attn.hook_z", head=2)


@pytest.fixture(scope="module")
def asked():
    model = interp.load("garden/induction-2l")
    return model, interp.task("induction", model=model, n=48)


@pytest.mark.parametrize("baseline", ["counterfactual", "mean", "zero"])
def test_effects_are_the_clean_metric_minus_that_of_the_edited_model(asked, baseline):
    model, task = asked
    done = knock_out(model, task, [HEAD], baseline)
    for part in ("discover", "test"):
        prompts = task.part(part)
        put_at = {"counterfactual": Counterfactual(prompts.corrupt), "mean": Mean(over=prompts.corrupt), "zero": "zero"}
        with torch.no_grad():
            clean = prompts.metric(model(prompts.clean))
            with model.edit(Ablate(HEAD.site, head=2, baseline=put_at[baseline])):
                changed = prompts.metric(model(prompts.clean))
        assert np.allclose(done.values[part], clean - changed, atol=1e-3)
    assert done.clean.value - done.without.value == pytest.approx(done.held.value, abs=1e-6)
    assert done.held.n == 12 and done.found.n == 24


def test_the_previous_token_head_is_all_there_is(asked):
    done = knock_out(*asked, [HEAD])
    assert done.right.value == 1 and done.still_right.value == 0
    assert done.held.excludes(0) and done.shrinkage.low < 1 < done.shrinkage.high


def test_the_best_of_many_nodes_that_do_nothing_shrinks(asked):
    """Random metrics: what is picked is luck, so held out it is near none, and the shrinkage is not told where the
    effect cannot be told from 0."""
    model, task = asked
    rng = np.random.default_rng(0)
    picked, held = [], []
    for _ in range(40):
        noise = rng.normal(size=(20, 36))
        best = noise[:, :24].mean(1).argmax()
        picked.append(noise[best, :24].mean())
        held.append(noise[best, 24:].mean())
    assert np.mean(picked) > 0.3 and abs(np.mean(held)) < 0.15  # the size of what is being guarded against
    idle = knock_out(model, task, [Node("blocks.0.attn.hook_z", head=0)])
    assert abs(idle.held.value) < 1
    assert idle.shrinkage is None or idle.shrinkage.low < idle.shrinkage.high


def test_nodes_together_are_removed_together(asked):
    model, task = asked
    heads = [Node("blocks.1.attn.hook_z", head=h) for h in range(4)]
    together = knock_out(model, task, heads)
    assert together.held.value > max(knock_out(model, task, [head]).held.value for head in heads)
    assert together.frame()["what"].tolist()[:2] == ["effect", "effect"]


def test_every_baseline_has_a_name_and_others_are_refused(asked):
    assert all(knock_out(*asked, [HEAD], name).held.value > 5 for name in BASELINES)
    with pytest.raises(BadInput, match='Did you mean "mean"'):
        knock_out(*asked, [HEAD], "maen")
    with pytest.raises(BadInput, match="nothing to knock out"):
        knock_out(*asked, [])
    with pytest.raises(MissingSite):
        knock_out(*asked, [Node("blocks.7.attn.hook_z", head=0)])
