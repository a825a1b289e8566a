"""Training in context: reproducible, resumable, with its curriculum; curves and their intervals; emergence."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from interp.garden.loading import load
from interp.icl import Curriculum, build, emergence, interleave, predict, run, task, train, training
from interp.icl.curves import asked, prefix_curves, score
from interp.icl.training import loss_of, prompts
from interp.results import Run
from interp.results.errors import BadInput
from interp.results.progress import use_progress
from interp.results.training_loop import share_of_peak

LINEAR = task("linear", d=2)
SMALL = dict(d_model=16, n_layers=1, n_heads=2)


def _model(name: str = "gpt", seed: int = 0, made=LINEAR):
    sizes = {"d_model": 16, "n_layers": 1} if name == "lstm" else SMALL
    return build(name, made, n=5, seed=seed, **sizes)


def _same(a, b) -> bool:
    return all(torch.equal(a.state_dict()[key], b.state_dict()[key]) for key in a.state_dict())


class _Killed(BaseException):
    pass


def test_training_depends_on_its_seed_alone():
    before = torch.get_rng_state()
    one, same, other = (train(_model(), LINEAR, n=5, steps=4, batch=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert _same(one, same) and not _same(one, other) and not one.module.training


def _killed_at(step):
    def sink(description, done, total):
        if done == step:
            raise _Killed

    return use_progress(sink)


def test_a_killed_training_goes_on_and_leaves_its_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 4)
    options = dict(n=5, steps=20, batch=2, seed=0, warmup=10)
    with _killed_at(10), pytest.raises(_Killed):
        train(_model(), LINEAR, folder=tmp_path, checkpoints=(3, 18), **options)
    steps, early = [], _model()
    with use_progress(lambda description, done, total: steps.append(done)):
        found = train(_model(), LINEAR, folder=tmp_path, checkpoints=(3, 18), **options)
    assert steps[-1] == 20 - 8  # eight of ten steps were kept
    assert _same(found, train(_model(), LINEAR, **options)) and _same(found, load(tmp_path))
    with _killed_at(3), pytest.raises(_Killed):
        train(early, LINEAR, **options)
    assert _same(load(tmp_path / "step-3"), early) and not _same(load(tmp_path / "step-18"), found)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["interp.json", "model.safetensors", "step-18", "step-3"]
    with pytest.raises(BadInput, match="folder to be saved"):
        train(_model(), LINEAR, checkpoints=(3,), **options)


def test_another_training_is_not_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 2)
    with _killed_at(3), pytest.raises(_Killed):
        train(_model(), LINEAR, n=5, steps=6, batch=2, folder=tmp_path)
    with pytest.raises(BadInput, match="another run .rate"):
        train(_model(), LINEAR, n=5, steps=6, batch=2, folder=tmp_path, rate=2e-3)


def test_a_model_learns_to_average():
    """One coordinate and points of length one: y_k = +-w and the sign of x says which; a few steps are enough."""

    class Signs:
        name, d, labels, scale = "signs", 1, "real", 1.0

        @staticmethod
        def sample(batch, n, seed):
            drawn = task("linear", d=1).sample(batch, n, seed)
            return replace(drawn, xs=drawn.xs.sign(), ys=drawn.xs[..., 0].sign() * drawn.latents["w"])

    model = build("gpt", Signs, n=4, d_model=24, n_layers=2, n_heads=2)
    train(model, Signs, n=4, steps=200, batch=32, rate=5e-3, warmup=20)
    drawn = Signs.sample(500, 4, 77)
    error = (predict(model, drawn.xs, drawn.ys) - drawn.ys).square().mean(0)
    assert float(error[0]) > 0.8 and float(error[2:].max()) < 0.75


def test_losses_by_hand():
    said, answers = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, -1.0]])
    assert float(loss_of(said, answers, "real")) == pytest.approx((1 + 9) / 2)
    assert float(loss_of(said, answers, "sign")) == pytest.approx((np.log(2) + np.log(1 + np.exp(2))) / 2)


def test_a_curriculum_grows_as_it_says():
    grows = Curriculum(points=3, by_points=2, dims=1, interval=10)
    assert [grows.at(step, 8, 4) for step in (0, 9, 10, 25, 40, 900)] == [
        (3, 1), (3, 1), (5, 2), (7, 3), (8, 4), (8, 4)]
    early = prompts(task("linear", d=4), 8, 6, 0, 0, grows)
    late = prompts(task("linear", d=4), 8, 6, 0, 900, grows)
    assert early.xs.shape == (6, 3, 4) and (early.xs[..., 1:] == 0).all() and (early.xs[..., 0] != 0).all()
    assert torch.allclose(early.ys, early.xs[..., 0] * early.latents["w"][:, :1], atol=1e-6)
    assert torch.equal(late.xs, task("linear", d=4).sample(6, 8, 0).xs)
    with pytest.raises(BadInput, match="cannot be shifted|no coordinates"):
        prompts(task("dynamical"), 8, 6, 0, 0, grows)


def test_the_rate_rises_and_falls():
    rates = [share_of_peak(step, 20, 4) for step in range(21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0] and rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(0.02)


# -- curves ----------------------------------------------------------------------------------------------------------


def test_curves_are_the_mean_errors_of_model_bayes_and_baselines(tmp_path):
    model = _model()
    found = run(model, LINEAR, prompts=200, seed=3, baselines=("least squares", "newton 2"))
    drawn = LINEAR.sample(200, 5, 3)
    own = (predict(model, drawn.xs, drawn.ys).double() - drawn.ys.double()).square().mean(0) / 2
    assert found.n == 5 and list(found.scores) == ["model", "bayes", "least squares", "newton 2"]
    assert torch.allclose(found.mean(), own)
    estimate = found.estimate(2)
    assert estimate.low < float(own[2]) < estimate.high and estimate.n == 200 and estimate.unit == "prompts"
    assert float(found.mean("least squares")[2:].max()) < 1e-8
    assert found.gap(4, "bayes").value == pytest.approx(float(found.mean()[4] - found.mean("bayes")[4]))
    frame = found.frame()
    assert len(frame) == 4 * 5 and (frame["low"] <= frame["error"]).all()
    figure = found.figure()
    assert {"model", "newton 2"} <= {trace.name for trace in figure.data}
    with Run.create(tmp_path / "run", "icl-run", {}, 0) as folder:
        found.save(folder)
    assert folder.table("curves").shape[0] == 20


def test_signs_are_scored_by_accuracy_and_counted_from_the_lead():
    made = task("teaching", d=4)
    model = build("gpt", made, n=9, **SMALL)
    found = run(model, made, prompts=300, seed=1)
    assert found.metric == "accuracy" and found.mean("elimination")[1:].min() == 1.0
    drawn = made.sample(300, 9, 1)
    behind = prefix_curves(found, drawn.latents["lead"], 3)
    assert behind.n == 3 and behind.mean("elimination").tolist() == [1.0] * 3
    rows = [i for i, lead in enumerate(drawn.latents["lead"].tolist()) if lead + 3 <= 9]
    by_hand = [float(found.scores["model"][i, int(drawn.latents["lead"][i]) + 1]) for i in rows]
    assert float(behind.mean()[1]) == pytest.approx(np.mean(by_hand))
    with pytest.raises(BadInput, match="no prompt of 9"):
        prefix_curves(found, drawn.latents["lead"], 9)


def test_queries_are_asked_behind_their_own_examples():
    made = task("linear", d=3, shift="opposite")
    drawn = made.sample(5, 4, 0)
    seen = []

    def predictor(xs, ys):
        seen.append((xs, ys))
        return xs[..., 0]

    said = asked(predictor, drawn)
    assert torch.equal(said, drawn.queries[..., 0]) and [x.shape[1] for x, _ in seen] == [1, 2, 3, 4]
    assert torch.equal(seen[2][0][:, :2], drawn.xs[:, :2]) and (seen[2][1][:, -1] == 0).all()
    found = run(build("gpt", made, n=4, **SMALL), made, prompts=100)
    assert float(found.mean("least squares")[3]) < 1e-8


def test_a_dynamical_system_has_its_curve():
    made = task("dynamical", d=2)
    found = run(build("gpt", made, n=6, **SMALL), made, prompts=60)
    assert list(found.scores) == ["model", "bayes"] and found.n == 6
    assert torch.allclose(score(torch.ones(1, 2, 2), torch.zeros(1, 2, 2), made), torch.full((1, 2), 2 / made.scale,
                                                                                           dtype=torch.float64))


def test_emergence_is_the_curve_of_every_checkpoint():
    models = {step: _model(seed=step) for step in (1, 2)}
    found = emergence(models, LINEAR, prompts=80)
    assert torch.equal(found.mean(2), run(models[2], LINEAR, prompts=80).mean())
    assert found.frame()["step"].tolist() == [1] * 5 + [2] * 5
    assert {"0 examples", "4 examples"} <= {trace.name for trace in found.figure().data}
    with pytest.raises(BadInput, match="no checkpoints"):
        emergence({}, LINEAR)


@pytest.mark.parametrize("call, message", [
    (lambda: run(_model("lstm"), LINEAR), "no longest prompt"),
    (lambda: run(_model(), "linear:d=3"), "points of 3"),
    (lambda: run(_model(), LINEAR, n=7), "context holds 10"),
    (lambda: run(_model(), LINEAR, prompts=10).estimate(9), "0 to 4"),
    (lambda: run(_model(), LINEAR, prompts=10).mean("ridge"), "no curve of 'ridge'"),
    (lambda: train(_model(), LINEAR, n=5, steps=0), "at least 1"),
])
def test_wrong_calls_are_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()


def test_the_layout_is_what_the_model_was_trained_on():
    """Guards against a shift by one: a model trained for a moment must use y_0 at x_1, and only from there on."""
    drawn = LINEAR.sample(2, 5, 0)
    tokens = interleave(drawn.xs, drawn.ys)
    assert torch.equal(tokens[:, 1::2, 0], drawn.ys) and torch.equal(tokens[:, ::2], drawn.xs)
