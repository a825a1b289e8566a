"""Architectures side by side: from the shipped models to the printed table, and measures by hand."""

import json
import math

import pytest
import torch

from interp.garden.comparison.compare import compare_architectures, contender, shipped_as
from interp.garden.comparison.measure import COLUMNS, Measured, circuit_size, measure, written_dimensions
from interp.garden.comparison.result import Comparison, Row
from interp.garden.comparison.tasks import token_task
from interp.garden.comparison.tune import RATES
from interp.garden.loading import garden_names
from interp.garden.recipes import compared
from interp.results import Circuit, Node
from interp.results.errors import BadInput
from tests.cli.helpers import interp as run


@pytest.fixture(scope="module")
def repeats(tmp_path_factory) -> Comparison:
    return compare_architectures("repeats", ("llama", "gla"), folder=tmp_path_factory.mktemp("kept"))


def test_what_the_recipes_name_ships_and_is_what_the_command_loads():
    for task, rates in compared.RATES.items():
        assert len(rates) >= 12 and {f"garden/{task}-{name}" for name in rates} <= set(garden_names())
        for name in rates:
            assert shipped_as(contender(token_task(task), name), RATES) is not None


def test_shipped_models_are_loaded_and_nothing_is_trained(repeats):
    assert {row.source for row in repeats.rows} == {"garden"}
    assert all(row.rate == compared.RATES["repeats"][row.architecture] for row in repeats.rows)
    assert all(abs(row.parameters - 40_000) < 400 for row in repeats.rows)


def test_the_table_has_every_column_and_one_seed_has_no_interval(repeats):
    table = repeats.frame()
    assert list(table["architecture"]) == ["llama", "gla"] and set(COLUMNS) <= set(table)
    assert table["low"].isna().all() and table["accuracy"].max() > 0.9
    llama = table.iloc[0]
    assert llama["state_end"] == 40 * 2 * 2 * llama["d_model"] / 2  # two heads of keys and values for four
    assert llama["mixing"] == "softmax" and table.iloc[1]["mixing"] == "share of |mixing|"


def test_the_whole_rate_curve_is_kept_with_one_choice_an_architecture(repeats):
    rates = repeats.rates()
    assert set(RATES) <= set(rates["rate"]) and rates.groupby("architecture")["chosen"].sum().eq(1).all()
    best = rates.loc[rates.groupby("architecture")["select_loss"].idxmin()]
    assert best["chosen"].all()


def test_figures_show_every_architecture(repeats):
    for figure in (repeats.figure(), repeats.panels(), repeats.rate_figure()):
        assert "gla" in figure.to_json() and "llama" in figure.to_json()


def test_the_command_prints_accuracy_insides_work_and_rates(tmp_path):
    result = run("compare-architectures", "repeats", "--models", "llama,gla", "--keep", tmp_path / "kept", "--out",
                 tmp_path / "run")
    assert result.exit_code == 0
    for text in ("repeats: accuracy", "prefix matching", "circuit written", "state end", "loss by learning rate",
                 "share of |mixing|", "0.016"):
        assert text in result.stdout
    assert (tmp_path / "run/report.html").exists() and (tmp_path / "run/tables/comparison.csv").exists()
    assert not (tmp_path / "kept").exists()


def test_models_that_do_not_ship_are_trained_kept_and_found_again(tmp_path):
    options = ("compare-architectures", "repeats", "--models", "attn-only", "--steps", "2", "--rates", "0.01",
               "--parameters", "4000", "--seeds", "2", "--keep", tmp_path / "kept", "--json")
    first = json.loads(run(*options, "--out", tmp_path / "a").stdout)
    weights = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.safetensors")}
    second = json.loads(run(*options, "--out", tmp_path / "b").stdout)
    assert len(weights) == 2 and all(path.stat().st_mtime_ns == time for path, time in weights.items())
    assert first["models"] == second["models"] and [row["seed"] for row in first["models"]] == [0, 1]
    assert "circuit" in first["models"][0]["absent"]  # two steps teach nothing


@pytest.mark.parametrize("options, message", [
    (("repeat",), 'Did you mean "repeats"?'),
    (("repeats", "--models", "gpt,gtp"), 'Did you mean "gpt"?'),
    (("repeats", "--models", "gpt,gpt"), "named twice"),
    (("repeats", "--models", "sigmoid,sigmoid-attention"), "sigmoid-attention is named twice"),
    (("repeats", "--models", "swin"), "vision"),
    (("repeats", "--models", ","), "names no architecture"),
    (("repeats", "--rates", "fast"), "write numbers"),
    (("repeats", "--rates", "0", "--models", "attn-only"), "positive"),
])
def test_bad_input_ends_before_anything_is_trained_or_written(options, message, tmp_path):
    result = run("compare-architectures", *options, "--keep", tmp_path / "kept", "--out", tmp_path / "run")
    assert result.exit_code == 1 and message in result.stderr
    assert "Traceback" not in result.stderr and not list(tmp_path.iterdir())


def _row(name: str, seed: int, accuracy: float, **numbers: float) -> Row:
    return Row(architecture=name, layers=1, seed=seed, rate=1.0, curve={1.0: 0.0}, parameters=1, sizes={"d_model": 1},
               metrics={"accuracy": accuracy}, measured=Measured(numbers, {}, {}, {}), source="trained")


def test_intervals_are_over_seeds_and_what_is_absent_stays_empty():
    found = Comparison("repeats", "accuracy", False, None, (
        _row("gpt", 0, 0.5, circuit_mass=0.25), _row("gpt", 1, 0.7), _row("gla", 0, 0.9)))
    score = found.estimate("gpt", "accuracy")
    assert score.value == pytest.approx(0.6) and score.n == 2 and score.unit == "seeds" and score.low < 0.6 < score.high
    assert found.estimate("gpt", "circuit_mass").value == 0.25 and found.estimate("gla", "circuit_mass") is None
    assert math.isnan(found.frame().set_index("architecture").loc["gla", "circuit_mass"])


def test_sizes_of_a_circuit_by_hand():
    import interp

    model = interp.build("gpt", d_model=16, n_layers=1, n_heads=4, d_mlp=6, d_vocab=9, n_ctx=8)
    heads = [Node("blocks.0.attn.hook_z", head=h) for h in range(4)]
    mlp = Node("blocks.0.hook_mlp_out")
    assert [written_dimensions(model, node) for node in (*heads, mlp)] == [4, 4, 4, 4, 6]
    scores = {heads[0]: 3.0, mlp: -2.0, heads[1]: 1.0, heads[2]: 0.0, heads[3]: 0.0}
    found = circuit_size(model, Circuit.from_scores("gpt", "t", "ablation", scores, 2))
    assert found == {"circuit_mass": 5 / 6, "circuit_written": 10 / 22, "circuit_nodes": 2.0}
    with pytest.raises(BadInput, match="no circuit has a size"):
        circuit_size(model, Circuit.from_scores("gpt", "t", "ablation", dict.fromkeys(scores, 0.0), 1))


def test_a_model_that_knows_nothing_is_measured_but_for_its_circuit():
    import interp

    model = interp.build("gpt", d_model=16, n_layers=2, n_heads=2, d_vocab=33, n_ctx=40)
    with torch.no_grad():
        model.module.unembed.weight.zero_()
    found = measure(model, token_task("repeats"))
    assert set(found.absent) >= {"circuit"} and "state_end" in found.numbers
