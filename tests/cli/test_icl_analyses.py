"""`interp icl match|probe|paste`: what they print and write, and how they refuse."""

import json

import pytest

from interp.icl.models import build
from interp.results import Run
from interp.tasks.functions import function_task
from tests.cli.helpers import interp


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small untrained model of examples, saved."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    build("gpt", function_task("linear", d=2), n=6, d_model=8, n_layers=2, n_heads=2).save(path)
    return path


def test_match_says_its_verdict_and_writes_a_report(folder, tmp_path):
    done = interp("icl", "match", folder, "--task", "linear:d=2", "--prompts", 30, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "verdict: undecided" in done.stdout and "Newton" in done.stdout
    run = Run.open(tmp_path / "run")
    assert run.status == "done" and run.info["summary"]["verdict"] == "undecided"
    assert set(run.table("match")["family"]) >= {"gradient descent", "Newton"} and run.figure("match").data
    assert len(run.table("match_errors")) == 3 * 16 and run.figure("match_errors").data
    assert "Verdict" in (tmp_path / "run" / "report.html").read_text()


def test_probe_as_json_is_one_object(folder, tmp_path):
    done = interp("icl", "probe", folder, "--task", "linear:d=2", "--json", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {row["target"] for row in found["probes"]} == {"x", "y", "prediction", "w"}
    assert Run.open(tmp_path / "run").figure("probes").data


def test_paste_compares_with_random_blocks(folder, tmp_path):
    done = interp("icl", "paste", folder, "--task", "linear:d=2", "--start", 1, "--steps", 3, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "concatenated" in done.stdout and "recovered" in done.stdout
    assert set(Run.open(tmp_path / "run").table("pasting")["blocks"]) == {"trained", "random blocks", "ridge"}


@pytest.mark.parametrize(("arguments", "says"), [
    (("match", "--task", "linera:d=2"), 'Did you mean "linear"'),
    (("probe",), "--task"),
    (("paste", "--task", "linear:d=2", "--start", 5), "blocks 0 to 1"),
])
def test_mistakes_are_named(folder, tmp_path, arguments, says):
    command, *rest = arguments
    done = interp("icl", command, folder, *rest, "--out", tmp_path / "run")
    assert done.exit_code == 1 and says in done.stderr
