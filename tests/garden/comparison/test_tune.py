"""The tuned rate on hand-made grids, and that work which is done is not done again."""

import json
import math

import pytest

from interp.garden.comparison import tune as module
from interp.garden.comparison.tasks import token_task
from interp.garden.comparison.tune import Contender, best_rate, beyond, recorded, trained, tune
from interp.results.errors import BadInput

TASK = token_task("repeats")


def _contender(**sizes) -> Contender:
    given = {"d_model": 8, "n_layers": 1, "n_heads": 2, "d_mlp": 8, "d_vocab": TASK.d_vocab, "n_ctx": TASK.n_ctx}
    return Contender(TASK, "gpt", given | sizes, 3)


@pytest.mark.parametrize("curve, best", [
    ({1e-3: 2.0, 1e-2: 1.0, 1e-1: 3.0}, 1e-2),
    ({1e-1: 1.0, 1e-3: 1.0}, 1e-3),
    ({1e-3: math.inf, 1e-2: 5.0, 1e-1: math.nan}, 1e-2),
])
def test_the_best_rate_has_the_lowest_finite_loss_and_ties_go_to_the_smaller(curve, best):
    assert best_rate(curve) == best


@pytest.mark.parametrize("curve, more", [
    ({1e-3: 2.0, 1e-2: 1.0, 1e-1: 3.0}, None),
    ({1e-3: 1.0, 1e-2: 2.0, 1e-1: 3.0}, 1e-4),
    ({1e-3: 3.0, 1e-2: 2.0, 1e-1: 1.0}, 1.0),
    ({1e-3: 3.0, 1e-2: 2.0, 1e-1: 1.0, 1.0: 0.5}, None),
])
def test_a_grid_is_extended_by_one_where_its_best_rate_lies_at_an_end(curve, more):
    assert beyond(curve, (1e-3, 1e-2, 1e-1)) == more


def test_one_rate_is_no_grid():
    assert beyond({1e-3: 1.0}, (1e-3,)) is None


@pytest.mark.parametrize("curve", [{}, {1e-3: math.inf}])
def test_nothing_to_choose_from_is_an_error(curve):
    with pytest.raises(BadInput, match="learning rate"):
        best_rate(curve)


@pytest.mark.parametrize("rates", [(), (0.0, 1e-3), (-1e-3,)])
def test_rates_are_positive(rates, tmp_path):
    with pytest.raises(BadInput, match="positive"):
        tune(_contender(), tmp_path, rates)


@pytest.fixture
def runs(monkeypatch):
    """Every training that happens, as (rate, seed)."""
    found, fit = [], module.fit

    def counted(recipe, *, seed, **options):
        found.append((recipe.rate, seed))
        return fit(recipe, seed=seed, **options)

    monkeypatch.setattr(module, "fit", counted)
    return found


def test_tuning_keeps_the_best_model_and_the_whole_curve_and_is_done_once(tmp_path, runs):
    one = _contender()
    first = tune(one, tmp_path, (1e-3, 1e-2))
    assert len(first.curve) == 3 and [seed for _, seed in runs] == [0, 0, 0]  # one rate beyond an end
    kept = json.loads((one.place(tmp_path, 0) / "metrics.json").read_text())
    assert kept["rate"] == first.rate == best_rate(first.curve)
    assert recorded(one, tmp_path) == first.curve
    before = len(runs)
    assert tune(one, tmp_path, (1e-3, 1e-2)) == first and len(runs) == before
    model = trained(one, first.rate, 0, tmp_path)
    assert len(runs) == before
    assert TASK.select_loss(model) == pytest.approx(first.curve[first.rate], abs=1e-5)


def test_other_sizes_and_seeds_are_trained_anew_and_a_line_cut_short_is_passed_over(tmp_path, runs):
    one = _contender()
    tune(one, tmp_path, (1e-3,))
    path = tmp_path / "repeats/rates.jsonl"
    path.write_text(path.read_text() + '{"architecture": "gpt", "si')
    assert list(recorded(one, tmp_path)) == [1e-3] and recorded(_contender(d_mlp=16), tmp_path) == {}
    trained(one, 1e-3, 1, tmp_path)
    trained(one, 1e-3, 1, tmp_path)
    assert runs == [(1e-3, 0), (1e-3, 1)]
    trained(_contender(d_mlp=16), 1e-3, 1, tmp_path)
    assert runs[2:] == [(1e-3, 1)]


def test_a_rate_at_which_training_diverges_is_kept_as_such(tmp_path, monkeypatch):
    one = _contender()
    monkeypatch.setattr(type(one.task), "select_loss", lambda self, model: math.nan)
    with pytest.raises(BadInput, match="all diverged"):
        tune(one, tmp_path, (1e-3,))
    assert recorded(one, tmp_path) == {1e-3: math.inf}


def test_labels_say_depth():
    assert _contender().label == "gpt-1l"
    assert Contender(TASK, "looped", {"n_layers": 4}, 1).label == "looped-4l"
    assert Contender(TASK, "algoformer", {"n_loops": 3}, 1).label == "algoformer-5l"
