"""The sweep of momentum's gamma: its arithmetic on accuracies written by hand, and a small run that resumes."""

import numpy as np
import pytest
import torch

from interp.architectures import build
from interp.garden.comparison.gamma import GammaSweep, gamma_sweep
from interp.results.errors import BadInput


def _sweep(best: list[list[float]], gammas=(0.0, 0.5, 1.0, 2.0, 4.0), layers=(1, 2, 4)) -> GammaSweep:
    """Accuracies of 0.5 but at `best` [layer][seed], where they are 0.9."""
    accuracy = np.full((len(gammas), len(layers), len(best[0])), 0.5)
    for n, row in enumerate(best):
        for seed, gamma in enumerate(row):
            accuracy[gammas.index(gamma), n, seed] = 0.9
    return GammaSweep("recall", 10, gammas, layers, accuracy, np.full(accuracy.shape[:2], 0.004))


def test_exponent_of_a_power_law_is_its_power():
    sweep = _sweep([[4.0, 4.0], [2.0, 2.0], [1.0, 1.0]])
    assert sweep.exponent().value == pytest.approx(-1)
    assert sweep.plateau()["best"].tolist() == [4.0, 2.0, 1.0]
    assert sweep.plateau()["as good"].tolist() == [[4.0], [2.0], [1.0]]
    mixed = _sweep([[4.0, 2.0], [2.0, 2.0], [1.0, 2.0]]).exponent()  # slopes -1 and 0
    assert mixed.value == pytest.approx(-0.5) and mixed.low < -0.5 < mixed.high


def test_a_plateau_names_every_gamma_on_it_and_no_momentum_has_no_power():
    sweep = _sweep([[0.0], [0.0], [0.0]])
    sweep.accuracy[2, 0] = 0.895
    assert sweep.plateau()["as good"][0] == [0.0, 1.0]
    sweep.accuracy[:, 1:] = 0.3
    sweep.accuracy[3, 1:] = 0.6
    assert sweep.exponent().value == pytest.approx(np.polyfit(np.log([1, 2, 4]), np.log([1.0, 2.0, 2.0]), 1)[0])
    with pytest.raises(BadInput, match="two depths"):
        GammaSweep("recall", 10, (0.0, 1.0), (1, 2), np.zeros((2, 2, 1)), np.zeros((2, 2))).exponent()


def test_gamma_is_a_size_of_the_entry():
    sizes = dict(d_model=16, n_layers=1, n_heads=2, d_vocab=7, n_ctx=8)
    tokens = torch.randint(0, 7, (2, 8), generator=torch.Generator().manual_seed(0))
    plain, still, moved = (model(tokens) for model in (
        build("attn-only-rotary", seed=0, **sizes), build("momentum", seed=0, gamma=0.0, **sizes),
        build("momentum", seed=0, gamma=2.0, **sizes)))
    assert torch.equal(plain, still) and not torch.allclose(plain, moved)


def test_a_sweep_trains_keeps_and_goes_on(tmp_path, monkeypatch):
    asked = dict(folder=tmp_path, seeds=2, steps=3, rates=(0.01,), d_model=8)
    found = gamma_sweep("recall", (0.0, 1.0), (1,), **asked)
    assert found.accuracy.shape == (2, 1, 2) and set(found.rate.ravel()) == {0.01}
    assert len(found.figure().data) == 2 and list(found.frame()["gamma"]) == [0.0, 1.0]
    monkeypatch.setattr("interp.garden.comparison.tune.fit", lambda *_, **__: pytest.fail("trained again"))
    assert np.array_equal(gamma_sweep("recall", (1.0, 0.0), (1,), **asked).accuracy, found.accuracy)
    with pytest.raises(BadInput, match="0 gammas"):
        gamma_sweep("recall", (), folder=tmp_path)
