"""One prompt through the lens: every number against the formula, and what must hold at the last depth."""

import numpy as np
import pytest
import torch

from interp.garden.catalog import build
from interp.garden.loading import load
from interp.lens import fit_tuned_lens, logit_lens, readings, spoken, trajectory
from interp.lens.stream import points
from interp.results import BadInput

SIZES = {"d_model": 16, "n_layers": 3, "n_heads": 2, "d_vocab": 23, "n_ctx": 12}


def prompt(n: int = 9, vocabulary: int = 23) -> torch.Tensor:
    return torch.randint(vocabulary, (1, n), generator=torch.Generator().manual_seed(1))


def test_readings_equal_the_formula():
    model, x = load("garden/text-small"), prompt(6, 1000)
    found, cache, final = readings(model, x, "next", k=3), model.read(x, points(model)), model(x)[0].detach()
    for i, site in enumerate(points(model)):
        logits = model.module.unembed(model.module.ln_final(cache[site]))[0].detach()
        for pos in range(6):
            p, last = logits[pos].softmax(-1), final[pos].softmax(-1)
            target = int(x[0, pos + 1]) if pos < 5 else int(final[pos].argmax())
            assert found.targets[pos] == target
            assert found.values["probability"][i, pos] == pytest.approx(float(p[target]), rel=1e-3, abs=1e-7)
            assert found.values["rank"][i, pos] == 1 + int((logits[pos] > logits[pos, target]).sum())
            assert found.values["entropy"][i, pos] == pytest.approx(-float((p * p.log()).sum()), abs=1e-3)
            assert found.values["kl"][i, pos] == pytest.approx(float((p * (p.log() - last.log())).sum()), abs=1e-3)
            assert found.top[i, pos].tolist() == logits[pos].topk(3).indices.tolist()


@pytest.mark.parametrize("name", ["gpt", "post-norm", "looped", "mamba"])
def test_at_the_last_depth_the_answer_is_first_and_the_distance_is_none(name):
    sizes = SIZES if name != "mamba" else {"d_model": 16, "n_layers": 3, "d_vocab": 23}
    model, x = build(name, **sizes), prompt()
    found = readings(model, x)
    assert (found.values["rank"][-1] == 1).all() and (found.values["kl"][-1] == 0).all()
    assert (found.top[-1, :, 0] == found.targets).all()
    assert np.allclose(found.values["kl"], logit_lens(model, x).values["kl"][:, 0], atol=1e-5)
    frame = found.frame()
    assert len(frame) == len(found.sites) * 9 and frame["rank"].between(1, 23).all()


def test_the_trajectory_of_a_token_is_its_column_of_the_readings():
    model, x = build("gpt", **SIZES), prompt()
    found = readings(model, x, 7)
    frame = trajectory(model, x, [7, 3], 4)
    own = frame[frame["id"] == 7]
    assert own["depth"].tolist() == [0, 1, 2, 3]
    assert own["rank"].tolist() == found.values["rank"][:, 4].tolist()
    assert own["probability"].tolist() == pytest.approx(found.values["probability"][:, 4].tolist(), rel=1e-4)


def test_through_a_tuned_lens_the_early_depths_come_nearer():
    model = load("garden/induction-2l")
    x = torch.randint(60, (40, 20), generator=torch.Generator().manual_seed(0)).repeat(1, 2)
    lens = fit_tuned_lens(model, x)
    plain, tuned = (readings(model, x[:1], through=through) for through in (None, lens))
    assert tuned.kind == "tuned lens" and (tuned.values["kl"][-1] < 1e-6).all()
    assert tuned.values["kl"][:-1].mean() < plain.values["kl"][:-1].mean()


def test_a_classifier_answers_at_one_position_and_wrong_input_is_refused():
    digits = load("garden/digits-vit")
    assert readings(digits, torch.rand(1, 1, 8, 8)).values["rank"].shape == (3, 1)
    with pytest.raises(BadInput, match="no next token"):
        readings(digits, torch.rand(1, 1, 8, 8), "next")
    model = build("gpt", **SIZES)
    with pytest.raises(BadInput, match="2 prompts were given"):
        readings(model, torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(BadInput, match="run from 0 to 22; 23"):
        readings(model, prompt(), 23)
    with pytest.raises(BadInput, match="no token ids"):
        trajectory(model, prompt(), [])


def test_what_a_model_of_numbers_says_at_the_last_depth_is_its_output():
    model = load("garden/icl-linear-d5")
    x = torch.randn(1, 8, 5, generator=torch.Generator().manual_seed(0))
    found = spoken(model, x)
    assert found.shape == (4, 8, 1)
    assert np.allclose(found[-1], model(x)[0].detach().numpy(), atol=1e-6) and not np.allclose(found[0], found[-1])


def test_a_run_keeps_the_table_and_the_figure(tmp_path):
    from interp.results import Run

    found = readings(build("gpt", **SIZES), prompt())
    with Run.create(tmp_path / "run", "lens", {}, 0) as run:
        found.save(run)
    assert len(Run.open(tmp_path / "run").table("readings")) == 36
    assert np.allclose(np.array(found.figure("rank").data[0].z), np.log10(found.values["rank"]))
    with pytest.raises(BadInput, match="no measure"):
        found.figure("speed")
