"""`interp programs`: what a stranger types first, what each prints, and bad input that leaves nothing."""

import json
import subprocess
import sys

import pytest

from interp.cli import app
from interp.garden.shipped_programs import open_program, program_names
from interp.results import Estimate
from tests.cli.helpers import interp, process

QUICK = ("--steps", "30", "--set", "batch=64")


def test_the_group_and_every_command_explain_themselves():
    for words in ((), ("train",), ("show",), ("run",), ("compile",), ("list",)):
        result = interp("programs", *words, "--help")
        assert result.exit_code == 0 and "programs" in result.stdout and len(result.stdout.splitlines()) > 8
    assert app.registered_groups


def test_list_names_tasks_and_library():
    found = json.loads(interp("programs", "list", "--json").stdout)
    assert {row["task"] for row in found["tasks"] if row["shipped"]} == set(program_names())
    assert {"hist", "reverse", "shuffle_dyck"} <= {row["program"] for row in found["library"]}
    assert all(row["what"] for row in found["tasks"] + found["library"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short training of hist: its folder and what was printed as JSON."""
    folder = tmp_path_factory.mktemp("programs") / "hist"
    result = interp("programs", "train", "hist", *QUICK, "--out", folder, "--json")
    assert result.exit_code == 0, result.stderr
    return folder, json.loads(result.stdout)


def test_train_compares_program_and_model_and_leaves_a_folder(trained):
    folder, record = trained
    assert record["program_differs_from_model"] == 0
    assert record["config"]["steps"] == 30 and record["config"]["batch"] == 64
    assert {path.name for path in folder.iterdir()} == {
        "interp.json", "metrics.json", "model.safetensors", "program.json"}
    again = interp("programs", "train", "hist", *QUICK, "--out", folder)
    assert again.exit_code == 1 and "holds a trained program already" in again.stderr


def test_a_training_that_was_killed_goes_on_and_ends_the_same(trained, tmp_path):
    code = """
import os, signal
from interp.programs import train as module
save = module.save_state
def save_and_die(*given):
    save(*given)
    os.kill(os.getpid(), signal.SIGKILL)
module.save_state, module.CHECKPOINT_EVERY = save_and_die, 10
"""
    child = process("programs", "train", "hist", *QUICK, "--out", tmp_path / "run", code=code)
    child.communicate(timeout=200)
    assert not (tmp_path / "run" / "program.json").exists() and list((tmp_path / "run").iterdir())
    other = interp("programs", "train", "hist", *QUICK, "--out", tmp_path / "run", "--seed", "5")
    assert other.exit_code == 1 and "another run" in other.stderr
    assert interp("programs", "train", "hist", *QUICK, "--out", tmp_path / "run").exit_code == 0
    for name in ("program.json", "model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (trained[0] / name).read_bytes()


def test_show_and_the_python_file_that_runs_anywhere(trained, tmp_path):
    found = json.loads(interp("programs", "show", trained[0], "--json").stdout)
    assert found["entries"] <= found["entries_unpruned"] and found["variables"][0]["variable"] == "tokens"
    table = interp("programs", "show", trained[0], "--graph", tmp_path / "graph.html")
    assert "table entries" in table.stdout and "plotly" in (tmp_path / "graph.html").read_text()
    file = tmp_path / "program.py"
    file.write_text(interp("programs", "show", trained[0], "--python").stdout)
    ran = subprocess.run([sys.executable, "-I", str(file), "a b a c"], capture_output=True, text=True, cwd=tmp_path)
    assert ran.stdout.split() == open_program(str(trained[0])).run(list("abac")), ran.stderr


def test_show_says_how_well_a_program_does(trained, tmp_path):
    scores = json.loads((trained[0] / "metrics.json").read_text())["scores"]
    for program in (trained[0], trained[0] / "program.json"):
        assert json.loads(interp("programs", "show", program, "--json").stdout)["scores"] == scores
    said = interp("programs", "show", trained[0]).stdout
    assert f"accuracy on held-out sequences: {Estimate.from_dict(scores['accuracy'])}" in said
    bare = tmp_path / "program.json"
    bare.write_bytes((trained[0] / "program.json").read_bytes())
    assert "accuracy" not in interp("programs", "show", bare).stdout


def test_run_answers_and_explains():
    result = interp("programs", "run", "a b a", "--program", "hist", "--explain", "0")
    first, *why = result.stdout.splitlines()
    assert first == "2 1 2" and why[0].startswith("'2' rather than '")
    assert json.loads(interp("programs", "run", "a b a", "-p", "hist", "--json").stdout)["answers"] == ["2", "1", "2"]


def test_compile_says_what_it_made_and_saves_it(tmp_path):
    from interp.programs import Compiled

    result = interp("programs", "compile", "hist", "--vocab", "abc", "--run", "a b a", "--out", tmp_path / "hist",
                    "--distractor", "reverse", "--json")
    found = json.loads(result.stdout)
    assert found["wrong"] == 0 and found["answers"] == [2, 1, 2] and found["no_part"]
    assert Compiled.load(tmp_path / "hist").run(list("aab")) == [2, 2, 1]
    text = interp("programs", "compile", "reverse").stdout
    assert "circuit: L0H0" in text and "what plays no part has no effect" in text


def test_a_trained_program_is_compiled_back():
    found = json.loads(interp("programs", "compile", str(_shipped("hist")), "--run", "<s> a b a", "--json").stdout)
    assert found["wrong"] == 0 and found["answers"][1:] == ["2", "1", "2"]


def _shipped(name):
    from interp.garden.shipped_programs import program_folder

    return program_folder(name)


@pytest.mark.parametrize(("words", "code", "message"), [
    (("train", "hits"), 1, 'Did you mean "hist"?'),
    (("train", "hist", "--set", "layers=2"), 1, 'Did you mean "n_layers"?'),
    (("train", "hist", "--set", "n_layers"), 1, "n_layers=2"),
    (("show", "hits"), 3, 'Did you mean "hist"?'),
    (("run", "a z", "-p", "hist"), 1, "does not know the token 'z'"),
    (("run", "a b a b a b a b a b", "-p", "hist"), 1, "takes up to"),
    (("run", "", "-p", "hist"), 1, "separate them by blanks"),
    (("run", "312"), 1, "separate them by blanks, such as '3 1 2'"),
    (("compile", "revers"), 3, 'Did you mean "reverse"?'),
    (("compile", "hist", "--run", "a z"), 1, "is no token"),
    (("compile", "hist", "--norm", "batchnorm"), 1, "layernorm"),
])
def test_bad_input(words, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = interp("programs", *words)
    assert result.exit_code == code and message in result.stderr and "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_foreign_program_is_refused(trained, tmp_path):
    text = (trained[0] / "program.json").read_text()
    bad = tmp_path / "program.json"
    for content, why in ((text[:-20], "not valid JSON"), ("{}", "not a file of this kind"),
                         (text.replace('"predicate":[', '"predicate":[99,', 1), "not a program that can run")):
        bad.write_text(content)
        result = interp("programs", "run", "a b", "--program", bad)
        assert result.exit_code == 1 and why in result.stderr
