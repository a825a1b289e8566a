"""`interp icl run`: what it prints and writes, and how it refuses."""

import json

import pytest

from interp.icl import build, task
from interp.results import Run
from tests.cli.helpers import MODEL, interp


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "model"
    build("gpt", task("linear", d=2), n=4, d_model=8, n_layers=1, n_heads=1).save(path)
    return path


def test_run_prints_a_table_and_writes_a_report(small, tmp_path):
    done = interp("icl", "run", small, "--task", "linear:d=2", "--prompts", 50, "--baseline", "newton 2", "--out",
                  tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "newton 2" in done.stdout and "with 3 examples:" in done.stdout
    run = Run.open(tmp_path / "run")
    assert run.status == "done" and run.config["task"] == "linear:d=2"
    assert set(run.table("curves")["predictor"]) == {"model", "bayes", "newton 2"} and run.figure("curves").data
    assert "By the number of examples" in (tmp_path / "run" / "report.html").read_text()


def test_run_as_json_is_one_object(small, tmp_path):
    done = interp("icl", "run", small, "--task", "linear:d=2,shift=opposite", "--prompts", 20, "--n", 3, "--json",
                  "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["task"] == "linear, opposite" and found["metric"] == "error"
    assert {row["examples"] for row in found["curves"]} == {0, 1, 2}


@pytest.mark.parametrize("arguments, says", [
    (("--task", "lineer"), 'Did you mean "linear"'),
    (("--task", "linear:d=3"), "points of 3"),
    (("--task", "linear:d=2", "--baseline", "rigde"), "there is no baseline"),
    ((), "name one with --task"),
])
def test_mistakes_are_named(small, arguments, says, tmp_path):
    done = interp("icl", "run", small, *arguments, "--out", tmp_path / "run")
    assert done.exit_code == 1 and says in done.stderr and not (tmp_path / "run").exists()


def test_a_model_of_tokens_is_refused(tmp_path):
    done = interp("icl", "run", MODEL, "--task", "linear", "--out", tmp_path / "run")
    assert done.exit_code == 1 and "reads tokens" in done.stderr
