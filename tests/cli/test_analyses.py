"""`interp effects | decompose | train`."""

import json

import pytest
import torch

import interp as package
from interp.results import Run
from tests.cli.helpers import MODEL, interp


def test_effects_are_those_of_the_package():
    result = interp("effects", "induction", "-m", MODEL, "--n", "12", "--source", "L0H1", "-s", "L1H0@-1", "--json")
    printed = json.loads(result.stdout)
    model = package.load(MODEL)
    task = package.task("induction", model=model, n=12, seed=0)
    sources = [package.Source("blocks.0.attn.hook_z", head=1), package.Source("blocks.1.attn.hook_z", head=0, pos=-1)]
    direct = package.effects(model, task.clean, sources, task.metric, baseline=package.Counterfactual(task.corrupt))
    values = {row["node"]: row["effect"] for row in printed["effects"]}
    assert list(values) == sorted(values, key=lambda node: -abs(values[node]))
    assert values["L0H1"] == pytest.approx(float(direct.mean[0]), abs=1e-6)
    assert values["L1H0@-1"] == pytest.approx(float(direct.mean[1]), abs=1e-6)
    assert printed["unit"] == "logits" and printed["run"] is None


def test_effects_keep_a_run_where_it_is_asked_for(tmp_path):
    result = interp("effects", "induction", "-m", MODEL, "--n", "12", "--rules", "tangent", "--out", tmp_path / "r")
    assert result.exit_code == 0 and "Limits:" in result.stdout
    run = Run.open(tmp_path / "r")
    assert run.status == "done" and run.tensors()["values"].shape == (8, 12)


@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_effects_have_other_baselines(baseline):
    result = interp("effects", "induction", "--model", MODEL, "--n", "6", "--baseline", baseline, "--json")
    assert json.loads(result.stdout)["baseline"] == baseline


def test_effects_say_whether_the_model_does_the_task_and_what_the_columns_are():
    said = interp("effects", "induction", "--model", "garden/induction-1l", "--n", "24", "--baseline", "mean").stdout
    assert said.startswith("induction-1l does not do induction here: clean minus corrupt is ")
    assert "n = 24, seed 0, baseline mean over the counterfactual prompts" in said
    assert "24 prompts resampled" in said and "largest: the largest size on one prompt" in said
    assert interp("effects", "induction", "--model", MODEL, "--n", "6").stdout.startswith("clean minus corrupt is ")


def test_decompose_prints_the_largest_shares_first():
    words = ("decompose", "--tokens", "0 5 9 3 5 9", "-m", MODEL)
    shares = [part["share"] for part in json.loads(interp(*words, "--json").stdout)["parts"]]
    assert shares == sorted(shares, reverse=True)
    said = interp(*words, "--top", "1").stdout
    assert f"{shares[0]:.4g}" in said and "more rows" in said and "in its own unit" in said


def test_decompose_prints_the_parts_of_the_package():
    tokens = "0 5 9 3 5 9"
    result = interp("decompose", "--tokens", tokens, "-m", MODEL, "--source", "L0H1", "--rules", "frozen", "--json")
    assert result.exit_code == 0, result.stderr
    parts = json.loads(result.stdout)["parts"]
    ids = torch.tensor([[int(word) for word in tokens.split()]])
    direct = package.decompose(package.load(MODEL), ids, sources=[package.Source("blocks.0.attn.hook_z", head=1)],
                               targets=["output"], rules="frozen")
    assert parts[0]["share"] == pytest.approx(direct.frame()["share"][0], abs=1e-6)


@pytest.mark.parametrize(("args", "message"), [
    ((), "give the prompt once"),
    (("some text", "--tokens", "1 2"), "give the prompt once"),
    (("--tokens", "one two"), "no token ids"),
    (("some text",), "--tokens"),
    (("--tokens", "1 2 999"), "token ids run from 1 to 999"),
    (("--tokens", "1 2", "--target", "blocks.0.hook_resid_pots"), "hook_resid_post"),
    (("--tokens", "1 2", "--baseline", "mean"), "zero"),
])
def test_decompose_says_what_is_wrong_with_its_input(args, message):
    result = interp("decompose", *args, "--model", MODEL)
    assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1


def test_train_makes_a_model_that_loads_and_tells_its_metrics(tmp_path):
    folder = tmp_path / "model"
    result = interp("train", "induction-1l", "--steps", "3", "--seed", "7", "--out", folder, "--json")
    printed = json.loads(result.stdout)
    assert printed["seed"] == 7 and printed["steps"] == 3 and "repeat_accuracy" in printed["metrics"]
    assert package.load(folder).n_layers == 1
    again = interp("train", "induction-1l", "--steps", "3", "--seed", "7", "--out", folder)
    assert again.exit_code == 1 and "holds a trained model already" in again.stderr
