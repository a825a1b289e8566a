"""`interp depth`: what it prints and writes, and how it refuses."""

import json

import pytest

from interp.results import Run
from tests.cli.helpers import MODEL, interp


def test_depth_prints_tables_and_writes_a_report(tmp_path):
    done = interp("depth", MODEL, "--task", "induction", "--n", 6, "--skip", "future", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "block / stream" in done.stdout and "future: output" in done.stdout
    run = Run.open(tmp_path / "run")
    assert run.status == "done" and {"half_written", "massive_tokens"} <= set(run.info["summary"])
    assert set(run.table("profile")["part"]) == {"stream", "block", "attn"}
    assert (run.table("skip_future_output")["on_output"].iloc[-1] == 0) and run.figure("skip_future").data
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Skip effects: future" in page and "Depth profile" in page


def test_depth_as_json_is_one_object(tmp_path):
    done = interp("depth", MODEL, "--n", 3, "--tokens", 12, "--skip", "none", "--json", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["model"] == "induction-2l" and len(found["profile"]) == 2 and found["skip"] == {}
    assert "drawn at random" in found["inputs"]  # no tokenizer: said, not hidden


@pytest.mark.parametrize(("arguments", "says"), [
    (("--skip", "curent"), 'Did you mean "current"'),
    (("--task", "inductoin"), 'Did you mean "induction"'),
])
def test_mistakes_are_named_before_anything_is_written(arguments, says, tmp_path):
    done = interp("depth", MODEL, *arguments, "--out", tmp_path / "run")
    assert done.exit_code == 1 and says in done.stderr and not (tmp_path / "run").exists()


def test_a_model_of_small_pictures_asks_for_a_task_of_them(tmp_path):
    done = interp("depth", "garden/digits-vit", "--n", 3, "--out", tmp_path / "run")
    assert done.exit_code == 1 and "takes 8 x 8" in done.stderr and "--task, such as digits" in done.stderr
    again = interp("depth", "garden/digits-vit", "--task", "digits", "--skip", "none", "--out", tmp_path / "run")
    assert again.exit_code == 0, again.stderr


def test_a_model_that_does_not_read_english_asks_for_a_task(tmp_path):
    done = interp("depth", "rxnmapper", "--n", 3, "--out", tmp_path / "run")
    assert done.exit_code == 1 and "--task" in done.stderr and not (tmp_path / "run").exists()
