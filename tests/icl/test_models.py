"""Models of numbers: layouts, every architecture of the catalog, saving, wrong inputs."""

import pytest
import torch

import interp
from interp.garden.catalog import build, catalog, describe
from interp.garden.loading import load
from interp.hooks import Ablate
from interp.hooks.check import check_model
from interp.icl import build as build_for
from interp.icl import concatenated, interleave, predict, task
from interp.icl.models import outputs
from interp.results.errors import BadInput

SIZES = dict(d_model=16, n_layers=2, n_heads=2)
FIVE = ("gpt", "gla", "mamba", "looped", "lstm")
LINEAR = task("linear", d=3)


def _model(name: str = "gpt", n: int = 6, seed: int = 0, **more):
    sizes = SIZES | more
    there = {entry.name: entry.sizes for entry in catalog()}[name]
    return build_for(name, LINEAR, n=n, seed=seed, **{k: v for k, v in sizes.items() if k in there})


def test_layouts_by_hand():
    xs, ys = torch.arange(12.0).reshape(1, 2, 6)[:, :, :3], torch.tensor([[7.0, 8.0]])
    assert interleave(xs, ys)[0].tolist() == [[0, 1, 2], [7, 0, 0], [6, 7, 8], [8, 0, 0]]
    assert concatenated(xs, ys)[0].tolist() == [[0, 1, 2, 0], [0, 1, 2, 7], [6, 7, 8, 0], [6, 7, 8, 8]]


@pytest.mark.parametrize("name", FIVE)
def test_a_model_of_numbers_keeps_every_law(name):
    model = _model(name)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    drawn = LINEAR.sample(2, 4, 0)
    check_model(model, interleave(drawn.xs, drawn.ys)).raise_if_failed()


@pytest.mark.parametrize("name", FIVE)
def test_a_prediction_sees_only_the_examples_before_it(name):
    model, drawn = _model(name).to(torch.float64), LINEAR.sample(3, 6, 0)  # some say little before they are trained
    said = predict(model, drawn.xs, drawn.ys)
    ys = drawn.ys.clone()
    ys[:, 3] += 5
    moved = (predict(model, drawn.xs, ys) - said).abs().amax(0)
    assert said.shape == (3, 6) and float(moved[:4].max()) < 1e-12 < float(moved[4:].min())


@pytest.mark.parametrize("name", FIVE)
def test_what_is_saved_is_what_is_loaded(name, tmp_path):
    model, drawn = _model(name, seed=3), LINEAR.sample(2, 4, 0)
    model.save(tmp_path)
    assert torch.equal(predict(load(tmp_path), drawn.xs, drawn.ys), predict(model, drawn.xs, drawn.ys))


@pytest.mark.parametrize("name", FIVE)
def test_the_seed_decides_the_weights_and_nothing_else_moves(name):
    before = torch.get_rng_state()
    one, same, other = _model(name).state_dict(), _model(name).state_dict(), _model(name, seed=1).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_a_model_of_numbers_is_hooked_edited_and_described():
    model, drawn = _model(), LINEAR.sample(2, 4, 0)
    x = interleave(drawn.xs, drawn.ys)
    out, cache = model.run_with_cache(x)
    assert cache["hook_embed"].shape == (2, 8, 16) and out.shape == (2, 8, 1)
    assert torch.allclose(cache["hook_embed"], model.module.embed(x))
    with model.edit(Ablate("blocks.0.hook_attn_out")):
        assert not torch.allclose(model(x), out)
    assert "x = inputs W_in + b_in" in describe("gpt", d_input=3) and "E[tokens]" in describe("gpt")
    assert all("W_in" in describe(name, d_input=2) for name in ("mamba", "mamba2-hybrid"))


def test_a_model_of_tokens_is_what_it_was():
    """The sizes of numbers, not given, change nothing: weights and forward of a token model."""
    model = build("gpt", **SIZES, d_vocab=20, n_ctx=8)
    assert model.map.input_name == "input_ids" and model.map.d_vocab == 20
    assert model.module.unembed.weight is model.module.embed.weight
    ids = torch.randint(0, 20, (2, 5))
    assert model(ids).shape == (2, 5, 20)


def test_reads_of_concatenated_pairs_and_of_systems():
    wide = build("gpt", d_input=4, n_ctx=12, **SIZES)
    drawn = LINEAR.sample(2, 6, 0)
    assert torch.equal(predict(wide, drawn.xs, drawn.ys), wide(concatenated(drawn.xs, drawn.ys))[:, ::2, 0].detach())
    system = task("dynamical", d=3)
    model = build_for("gpt", system, n=7, **SIZES)
    drawn = system.sample(2, 7, 0)
    assert predict(model, drawn.xs, drawn.ys).shape == (2, 7, 3)


def test_outputs_carry_gradients_and_predictions_do_not():
    model, drawn = _model(), LINEAR.sample(2, 4, 0)
    assert outputs(model, drawn.xs, drawn.ys).requires_grad
    assert not predict(model, drawn.xs, drawn.ys).requires_grad


@pytest.mark.parametrize("call, message", [
    (lambda: build_for("swin", LINEAR, n=4), "does not read numbers"),
    (lambda: build_for("mot", LINEAR, n=4), "does not read numbers"),
    (lambda: build_for("slab", LINEAR, n=4), "not causal"),
    (lambda: build_for("gtp", LINEAR, n=4), 'Did you mean "gpt"'),
    (lambda: build("gpt", d_output=2), "needs both"),
    (lambda: build("gpt", d_input=0), "d_input is 0"),
    (lambda: build("mamba", d_input=1.5), "d_input is 1.5"),
    (lambda: _model()(torch.zeros(1, 3, 2)), "3\\] are needed"),
    (lambda: _model()(torch.zeros(1, 3, dtype=torch.long)), "numbers"),
    (lambda: _model("mamba")(torch.zeros(1, 3, 2)), "3\\] are needed"),
    (lambda: _model()(torch.full((1, 3, 3), float("nan"))), "NaN"),
    (lambda: _model()(torch.zeros(1, 13, 3)), "context holds 12"),
    (lambda: predict(_model(), torch.zeros(1, 3, 5), torch.zeros(1, 3)), "points of 5"),
    (lambda: predict(build("gpt"), torch.zeros(1, 3, 5), torch.zeros(1, 3)), "reads tokens"),
    (lambda: interleave(torch.zeros(1, 3, 5), torch.zeros(1, 4)), "are needed"),
])
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()


def test_the_package_has_its_names():
    assert {"run", "train", "predict", "task", "build", "baselines", "interleave"} <= set(dir(interp.icl))
    assert callable(interp.icl.baselines.least_squares) and interp.icl.task("linear").d == 5
    with pytest.raises(AttributeError, match="baselines"):
        interp.icl.baseline_  # noqa: B018
