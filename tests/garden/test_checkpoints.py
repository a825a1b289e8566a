"""The shipped models: small enough, rebuilt from their files, and measuring what is recorded beside them."""

import json
from functools import cache

import pytest

from interp.garden.loading import GARDEN, load
from interp.garden.recipes import NAMES, recipe
from interp.hooks.files import WEIGHTS, read_model_files

MEGABYTE = 1_000_000


@cache
def _record(name: str) -> dict:
    return json.loads((GARDEN / name / "metrics.json").read_text())


def _flat(value, path: str = "") -> dict[str, float]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{path}.{key}").items()}
    if isinstance(value, list):
        return {k: v for i, item in enumerate(value) for k, v in _flat(item, f"{path}[{i}]").items()}
    return {path: value}


@pytest.mark.parametrize("name", NAMES)
def test_recorded_metrics_are_what_is_measured(name):
    found = _flat(recipe(name).metrics(load(f"garden/{name}")))
    # another processor rounds differently, and may turn over a prediction or two
    assert found == pytest.approx(_flat(_record(name)["metrics"]), rel=1e-2, abs=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_small_and_says_how_it_was_made(name):
    folder, record = GARDEN / name, _record(name)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 3.5 * MEGABYTE
    assert (folder / WEIGHTS).stat().st_size < 3.5 * MEGABYTE
    assert record["recipe"] == name and record["steps"] == recipe(name).steps and record["seed"] == 0
    assert read_model_files(folder).extra["training"] == record
    assert {file.name for file in folder.iterdir()} - {"tokenizer"} == {WEIGHTS, "interp.json", "metrics.json",
                                                                       "README.md"}


@pytest.mark.parametrize("name, key", [
    ("induction-2l", "repeat_accuracy"), ("induction-1l", "repeat_accuracy"), ("mod-add-29", "held_out_accuracy"),
    ("sorting-1l", "accuracy"), ("text-small", "bits_per_byte"), ("dyck-2l", "accuracy"),
    ("digits-vit", "held_out_accuracy"),
])
def test_the_readme_states_the_recorded_number(name, key):
    text = (GARDEN / name / "README.md").read_text()
    assert f"{_record(name)['metrics'][key]:.3f}" in text
    assert "seed 0" in text and "licence" in text.lower()


def test_two_layers_learn_induction_and_one_does_not():
    two, one = (_record(name)["metrics"] for name in ("induction-2l", "induction-1l"))
    assert two["repeat_accuracy"] >= 0.95
    assert one["repeat_accuracy"] < 0.5


def test_one_head_looks_back_by_one_and_the_second_layer_matches_prefixes():
    """Recorded facts of this checkpoint, not a law: without the one head of layer 0, or all of layer 1, it fails."""
    m = _record("induction-2l")["metrics"]
    previous, matching = m["previous_token"][0], m["prefix_matching"][1]
    head = max(range(4), key=lambda h: previous[h])
    assert previous[head] > 0.8 and max(v for h, v in enumerate(previous) if h != head) < 0.3
    assert min(matching) > 0.9
    assert m["without_head"][0][head] < 0.1 and m["only_head_of_its_layer"][0][head] > 0.95
    assert m["without_layer"][1] < 0.1 < min(m["without_head"][1])


def test_the_arithmetic_models_generalise():
    assert _record("mod-add-29")["metrics"]["held_out_accuracy"] > 0.99
    assert _record("sorting-1l")["metrics"]["accuracy"] >= 0.99


def test_the_bracket_model_leaves_nothing_but_chance():
    m = _record("dyck-2l")["metrics"]
    assert m["far_accuracy"] > 0.99 and 0 < m["loss"] - m["entropy"] < 0.01


def test_the_digit_model_generalises_and_is_no_better_than_a_line():
    record = _record("digits-vit")
    assert record["metrics"]["held_out_accuracy"] > 0.95
    assert abs(record["metrics"]["held_out_accuracy"] - record["baseline"]["logistic_regression_accuracy"]) < 0.02


def test_the_text_model_has_its_tokenizer_and_its_baseline():
    model = load("garden/text-small")
    text = "Fellow citizens of the Senate and the House: the whale!"
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text
    assert _record("text-small")["baseline"]["ngram_bits_per_byte"] > 0
