"""Patching by place: every cell against an intervention written out, laws at the ends, and the comparison."""

import numpy as np
import pytest
import torch

from interp.discovery.patching import agreement, agreement_figure, parts_of, patch_map
from interp.garden.catalog import build
from interp.garden.loading import load
from interp.hooks import Patch
from interp.lens.look import one
from interp.results import BadInput, RequiresResidualStream, Run
from interp.tasks import Task, task


@pytest.fixture(scope="module")
def asked():
    model = load("garden/induction-2l")
    return model, task("induction", model=model, n=12, seed=0)


@pytest.mark.parametrize("direction", ["restore", "remove"])
@pytest.mark.parametrize(("what", "row", "site", "head"), [
    ("stream", 1, "blocks.0.hook_resid_post", None), ("attn", 1, "blocks.1.hook_attn_out", None),
    ("heads", 6, "blocks.1.attn.hook_z", 2),
])
def test_a_cell_is_the_metric_with_that_value_put_in_by_hand(asked, direction, what, row, site, head):
    model, prompts = asked
    part = one(prompts, 0)
    there, other = (part.corrupt, part.clean) if direction == "restore" else (part.clean, part.corrupt)
    found = patch_map(model, part, what, direction)
    assert (found.parts[row].site, found.parts[row].head) == (site, head)
    for position in (0, int(np.abs(found.mean[row]).argmax()), found.values.shape[1] - 1):
        value, new = (model.read(x, site)[site].clone() for x in (there, other))
        index = (slice(None), position) if head is None else (slice(None), position, head)
        value[index] = new[index]
        with torch.no_grad(), model.edit(Patch(site, value=value)):
            patched = float(part.metric(model(there))[0])
        with torch.no_grad():
            before = float(part.metric(model(there))[0])
        expected = patched - before if direction == "restore" else before - patched
        assert found.values[row, position, 0] == pytest.approx(expected, abs=1e-3)


def test_the_whole_stream_at_the_answer_is_all_there_is_and_before_the_change_nothing(asked):
    model, prompts = asked
    for direction in ("restore", "remove"):
        found = patch_map(model, prompts.part("discover"), "stream", direction)
        at = int(prompts.metric.positions[0])
        assert np.allclose(found.values[-1, at], found.clean - found.corrupt, atol=1e-3)
        assert np.abs(found.values[:, 0]).max() == 0  # the first token is the same in both
    frame = found.frame()
    top = frame.loc[frame["effect"].idxmax()]
    assert top["low"] <= top["effect"] <= top["high"] and top["share"] == pytest.approx(top["effect"] / found.gap)


def test_chosen_cells_are_those_of_the_whole_map_and_the_rest_is_not_there(asked):
    model, prompts = asked
    part = prompts.part("discover")
    whole, some = patch_map(model, part, "heads"), patch_map(model, part, "heads", cells=[(2, 40), (7, 48)])
    assert np.allclose(some.values[[2, 7], [40, 48]], whole.values[[2, 7], [40, 48]], atol=1e-4)
    assert np.isnan(some.values).sum() == (8 * 49 - 2) * len(part) and len(some.frame()) == 2
    with pytest.raises(BadInput, match="was not measured"):
        some.estimate(0, 0)


def test_agreement_is_the_correlation_over_cells_with_prompts_resampled(asked):
    model, prompts = asked
    part = prompts.part("discover")
    exact, estimate = (patch_map(model, part, "attn", rules=rules) for rules in ("ablation", "tangent"))
    r, cells = agreement(exact, estimate)
    assert r.value == pytest.approx(np.corrcoef(exact.mean.ravel(), estimate.mean.ravel())[0, 1])
    assert r.low <= r.value <= r.high and len(cells) == exact.mean.size
    assert agreement(exact, exact)[0].value == pytest.approx(1.0)
    assert agreement(patch_map(model, part, "attn", cells=[(0, 1), (0, 2)]), estimate)[0] is None
    assert len(agreement_figure(cells).data) == 2


def test_rows_are_what_the_model_has_and_wrong_input_is_refused(asked, tmp_path):
    model, prompts = asked
    assert [node.label for node in parts_of(load("garden/dyck-2l"), "mlp")] == ["MLP0", "MLP1"]
    assert [node.site for node in parts_of(build("mamba", d_model=16, n_layers=2, d_vocab=9), "attn")] == [
        f"blocks.{i}.hook_mixer_out" for i in range(2)]
    with pytest.raises(RequiresResidualStream, match="declares no MLP"):
        patch_map(model, one(prompts, 0), "mlp")
    with pytest.raises(BadInput, match="cannot be patched"):
        parts_of(model, "logits")
    with pytest.raises(BadInput, match="restore or remove"):
        patch_map(model, one(prompts, 0), direction="up")
    pad = {"input_ids": torch.ones(2, 4, dtype=torch.long), "attention_mask": torch.tensor([[1] * 4, [0, 1, 1, 1]])}
    uneven = Task("uneven", pad, pad, lambda out: out[:, -1, 0], prompts.prompts.head(2), np.arange(2),
                  {"discover": np.arange(2)})
    with pytest.raises(BadInput, match="differ in length"):
        patch_map(model, uneven)
    with Run.create(tmp_path / "run", "patch", {}, 0) as run:
        patch_map(model, one(prompts, 0), "attn").save(run)
    assert len(Run.open(tmp_path / "run").table("patching")) == 98
