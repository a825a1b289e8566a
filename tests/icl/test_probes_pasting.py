"""Probes on planted information, pasting on a planted solver."""

import numpy as np
import pytest
import torch

import interp
from interp.icl import baselines
from interp.icl.match import random_twin
from interp.icl.models import build
from interp.icl.pasting import CONTROL, Pasted, fit_embedding, paste
from interp.icl.probes import probe
from interp.icl.targets import targets_for
from interp.results.errors import BadInput
from interp.tasks.functions import function_task
from tests.icl.planted import solver

D, N = 3, 9
TASK = function_task("linear", d=D)


def newton(xs, ys):
    return baselines.newton(xs, ys, 8, iterates=True)


@pytest.fixture(scope="module")
def probes():
    return probe(solver(D, newton, [2, 8], "overwrite", None), TASK, N, fit=300, test=150)


def test_probes_find_what_was_planted_and_nothing_else(probes):
    frame = probes.frame().set_index(["target", "token", "depth"])
    r2 = frame["r2"]
    assert r2["x", "x", 0] > 0.999 and r2["x", "y", 2] < 0.02  # nothing copies x to its answer
    assert r2["y", "y", 0] > 0.999
    assert r2["prediction", "x", 0] < 0.02 and r2["prediction", "x", 1] > 0.5 and r2["prediction", "x", 2] > 0.9
    assert r2["prediction", "x", 1] < r2["prediction", "x", 2]
    assert (frame.loc["w"]["r2"] < 0.02).all()  # the answer is there, the weights are not
    assert (frame["control"].abs() < 0.03).all()
    assert np.allclose(frame["selectivity"], frame["r2"] - frame["control"])
    assert frame["floor"]["prediction", "x", 2] == pytest.approx(r2["prediction", "x", 0])


def test_a_probe_equals_least_squares_by_hand():
    model = solver(D, newton, [4])
    found = probe(model, TASK, N, fit=200, test=60, penalty=1e-10, seed=4)
    drawn = TASK.sample(260, N, 4)
    xs, truth = drawn.xs.double(), newton(drawn.xs, drawn.ys)[4]
    features = torch.cat([xs, truth[..., None], torch.ones_like(truth)[..., None]], -1)
    target = baselines.least_squares(drawn.xs, drawn.ys)
    fitted = torch.linalg.lstsq(features[:200].flatten(0, 1), target[:200].flatten()[:, None]).solution
    left = (target[200:] - (features[200:] @ fitted)[..., 0]).square()
    want = 1 - left.sum() / (target[200:] - target[:200].mean()).square().sum()
    assert found.r2("prediction", 1, "x").value == pytest.approx(float(want), abs=1e-6)


def test_targets_of_your_own_and_a_late_start():
    model = solver(D, newton, [4])
    noise = torch.randn(350, N, 2)
    found = probe(model, TASK, N, targets={"noise": noise}, fit=250, test=100, since=3)
    assert found.r2("noise", 1, "x").value < 0.02 and found.rows == 250 * (N - 3)
    assert len(found.figure().data) == 2
    with pytest.raises(BadInput, match="was not probed"):
        found.r2("x", 0, "x")


@pytest.mark.parametrize("options, message", [
    ({"since": N}, "since"), ({"fit": 3}, "rows"), ({"targets": {"w": torch.zeros(2, 2, 2)}}, "shape")])
def test_bad_probes_say_what_is_wrong(options, message):
    with pytest.raises(BadInput, match=message):
        probe(solver(D, newton, [4]), TASK, N, **{"test": 20, **options})


def test_a_looped_model_has_a_probe_for_every_loop():
    model = build("looped", TASK, n=N, d_model=16, n_layers=3, n_heads=2)
    found = probe(model, TASK, N, test=20)
    visits = found.frame()["visit"].unique().tolist()
    assert len(visits) == 1 + model.n_layers and len({v.split(",")[0] for v in visits[1:]}) == 1
    assert [v.split("visit ")[1] for v in visits[1:]] == [str(i) for i in range(model.n_layers)]


@pytest.mark.parametrize("name, options, want", [
    ("linear", {}, {"x", "y", "prediction", "w"}),
    ("representation", {"layers": 2}, {"x", "y", "phi", "prediction", "w"}),
    ("representations", {"kinds": 2}, {"x", "y", "ridge 0", "ridge 1", "ridge active", "ridge inactive", "prediction",
                                       "w"}),
])
def test_every_class_has_its_targets(name, options, want):
    task = function_task(name, d=3, **options)
    drawn = task.sample(6, 5, 0)
    found = targets_for(task, drawn)
    assert set(found) == want and all(v.shape[:2] == (6, 5) for v in found.values())
    if "ridge active" in found:
        for i, kind in enumerate(drawn.latents["kind"].tolist()):
            assert torch.equal(found["ridge active"][i], found[f"ridge {kind}"][i])
            assert torch.allclose(found["ridge inactive"][i], found[f"ridge {1 - kind}"][i])


# Pasting

PLAIN = function_task("linear", d=2)


def two(xs, ys):
    return baselines.newton(xs, ys, 7, iterates=True)


def zeros(xs, ys):
    return torch.zeros(8, *ys.shape, dtype=torch.float64)


def test_a_planted_solver_is_recovered_and_a_dead_one_is_not():
    model, dead = (solver(2, solve, [3, 7], "overwrite") for solve in (two, zeros))
    for some in (model, dead):
        some.module.float()
    found = paste(model, 1, PLAIN, 6, embeddings=("interleaved",), steps=250, rate=2e-2, prompts=200, control=dead)
    assert found.mean("trained", "interleaved").value < 0.1 < found.mean(CONTROL, "interleaved").low
    assert found.recovered("interleaved").low > 0.85
    assert found.mean("ridge", "").value < 0.02
    assert len(found.frame()) == 3 * 6 and len(found.figure().data) == 3
    assert found.summary()["recovered"].item() == pytest.approx(found.recovered("interleaved").value)
    with pytest.raises(BadInput, match='mean "interleaved"'):
        found.mean("trained", "interleave")


@pytest.mark.parametrize("embedding", ["interleaved", "concatenated", "transformer"])
def test_only_the_embedding_and_the_readout_learn(embedding):
    model = build("gpt", PLAIN, n=6, d_model=16, n_layers=2, n_heads=2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    pasted = fit_embedding(model, 1, embedding, PLAIN, 6, steps=3, batch=4)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(torch.equal(before[k], v) for k, v in pasted.upper.state_dict().items())
    start = Pasted(model, 1, embedding, 2, 0)
    assert not torch.equal(start.embed.weight, pasted.embed.weight)
    drawn = PLAIN.sample(2, 6, 0)
    changed = drawn.ys.clone()
    changed[:, 3] += 5
    with torch.no_grad():
        one, other = pasted(drawn.xs, drawn.ys), pasted(drawn.xs, changed)
    assert torch.allclose(one[:, :4], other[:, :4], atol=1e-5)  # nothing sees its own answer
    assert not torch.allclose(one[:, 4:], other[:, 4:], atol=1e-5)


def test_the_upper_blocks_run_as_in_the_model():
    model = build("gpt", PLAIN, n=6, d_model=16, n_layers=3, n_heads=2)
    pasted = Pasted(model, 1, "interleaved", 2, 0)
    drawn = PLAIN.sample(3, 6, 0)
    tokens = interp.icl.interleave(drawn.xs, drawn.ys)
    cache = model.run_with_cache(tokens)[1]
    got = pasted._through(cache["blocks.1.hook_resid_pre"], tokens.shape[:2])
    assert torch.allclose(got, cache["ln_final.hook_normalized"], atol=1e-6)


def test_pasting_refuses_blocks_and_embeddings_that_are_not_there():
    model = build("gpt", PLAIN, n=6, d_model=16, n_layers=2, n_heads=2)
    with pytest.raises(BadInput, match="blocks 0 to 1"):
        Pasted(model, 2, "interleaved", 2, 0)
    with pytest.raises(BadInput, match='mean "concatenated"'):
        fit_embedding(model, 1, "concatenate", PLAIN, 6, steps=1)
    assert random_twin(model).name == model.name
