"""`interp discover | evaluate`: what a run leaves behind, bad input that leaves nothing, and runs that were killed."""

import json
import signal

import pytest

from interp.results import Circuit, Run
from tests.cli.helpers import MODEL, SMALL, interp, process

TASK = ("discover", "induction", "--model", MODEL, *SMALL)
KILLED = """
import os, signal
from interp.commands.resume import KeptEffects
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started with it ignored
put = KeptEffects.put
def put_and_die(self, draw, labels, effects):
    put(self, draw, labels, effects)
    if (labels[0].split(":")[0] if ":" in labels[0] else "discover") == "{stage}":
        os.kill(os.getpid(), signal.{signal})
KeptEffects.put = put_and_die
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A finished run, and what was printed as JSON."""
    folder = tmp_path_factory.mktemp("discovery") / "run"
    result = interp(*TASK, "--out", folder, "--json")
    assert result.exit_code == 0, result.stderr
    return folder, json.loads(result.stdout)


def test_discover_leaves_a_whole_run(found):
    folder, printed = found
    run = Run.open(folder)
    assert run.status == "done" and run.config["task"] == "induction" and run.parts() == []
    circuit = Circuit.load(folder / "circuit.json")
    assert [node.name for node in circuit.nodes] == [node["name"] for node in printed["nodes"]]
    assert set(circuit.scores.values()) == set(run.table("circuit")["score"]) | set(circuit.scores.values())
    for table in ("circuit", "evaluation", "curve", "grouped", "pairs", "directions", "task_audit"):
        assert len(run.table(table)) or table == "pairs"
    assert run.figure("circuit").data and run.figure("evaluation").data
    page = (folder / "report.html").read_text()
    assert "Faithfulness against size" in page and "http-equiv=\"Content-Security-Policy\"" in page


def test_discover_says_how_well_the_circuit_and_the_model_do(found):
    folder, printed = found
    faithfulness = printed["evaluation"]["faithfulness"]
    assert faithfulness["low"] <= faithfulness["value"] <= faithfulness["high"]
    assert Run.open(folder).info["summary"]["faithfulness"]["value"] == faithfulness["value"]
    assert printed["accuracy"]["value"] > 0.9 and all(0 < p <= 1 for p in printed["evaluation"]["random_p"].values())
    assert printed["seconds"]["discover"] > 0 and printed["memory"]["ram_bytes"] > 0


def test_discover_prints_tables_and_the_report(tmp_path):
    result = interp(*TASK, "--out", tmp_path / "run")
    assert result.exit_code == 0
    for text in ("8 of 8 nodes scored exactly", "faithfulness of random circuits", "the model is right on",
                 "sum of singles", "of memory at most", "report.html"):
        assert text in result.stdout
    assert not set(result.stdout) & set("\x1b"), "no colours where nobody looks"


def test_the_seed_decides_everything(found, tmp_path):
    again = json.loads(interp(*TASK, "--out", tmp_path / "again", "--json").stdout)
    other = json.loads(interp(*TASK, "--out", tmp_path / "other", "--json", "--seed", "1", "--no-evaluate").stdout)
    for printed in (found[1], again):
        for key in ("seconds", "memory", "run"):
            printed.pop(key, None)
    assert again == found[1]
    assert other["nodes"] != again["nodes"] and other["evaluation"] is None


def test_runs_get_free_folders_and_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert interp(*TASK, "--no-evaluate").exit_code == 0
    rows = json.loads(interp("runs", "--json").stdout)["runs"]
    assert sorted(row["run"] for row in rows) == [f"discover-induction-induction-2l-auto-{i}" for i in (1, 2)]
    assert {row["status"] for row in rows} == {"done"} and "induction-2l" in interp("runs").stdout


@pytest.mark.parametrize(("args", "code", "message"), [
    (("discover", "inducton", "-m", MODEL), 1, 'Did you mean "induction"?'),
    (("discover", "induction", "-m", MODEL, "--method", "ablatoin"), 1, 'Did you mean "ablation"?'),
    (("discover", "induction", "-m", "garden/induction-2"), 3, "garden/induction-2l"),
    (("discover", "induction", "-m", "gpt"), 1, "architecture without trained weights"),
    (("discover", "induction", "-m", MODEL, "--position", "99"), 1, "position 99"),
    (("discover", "induction", "-m", MODEL, "--within", "1.2", "0.8"), 1, "within"),
    (("discover", "ioi", "-m", MODEL), 1, "tokenizer"),
    (("effects", "induction", "-m", MODEL, "--source", "L9H0"), 1, "blocks.9"),
    (("effects", "induction", "-m", MODEL, "--source", "L1H7"), 1, "heads 0 to 3"),
    (("effects", "induction", "-m", MODEL, "--source", "nonsense here"), 1, "nonsense"),
    (("effects", "induction", "-m", MODEL, "--baseline", "zerro"), 1, 'Did you mean "zero"?'),
    (("effects", "induction", "-m", MODEL, "--rules", "tangnt"), 1, 'Did you mean "tangent"?'),
    (("train", "induction-2"), 1, 'Did you mean "induction-2l"?'),
    (("train", "induction-2l", "--device", "abacus"), 1, "no device"),
])
def test_bad_input_is_one_line_and_leaves_nothing(args, code, message, tmp_path):
    folder = tmp_path / "run"
    out = () if args[0] == "effects" else ("--out", folder)
    result = interp(*args, *out)
    assert result.exit_code == code and message in result.stderr and result.stdout == ""
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")
    assert not folder.exists()


def test_debug_shows_where_an_error_comes_from():
    child = process("discover", "inducton", "-m", MODEL, "--debug")
    error = child.communicate()[1]
    assert child.returncode != 0 and "Traceback" in error and "BadInput" in error


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    result = interp(*TASK, "--out", tmp_path)
    assert result.exit_code == 1 and "choose another folder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("how", "stage"), [("SIGKILL", "discover"), ("SIGTERM", "discover"), ("SIGINT", "discover"), ("SIGKILL", "test")]
)
def test_a_run_that_was_killed_goes_on_and_ends_the_same(how, stage, found, tmp_path):
    folder = tmp_path / "run"
    child = process(*TASK, "--out", folder, code=KILLED.format(signal=how, stage=stage))
    _, error = child.communicate(timeout=300)
    assert child.returncode == (-signal.SIGKILL if how == "SIGKILL" else 130), error
    assert Run.open(folder).status == "interrupted" and Run.open(folder).parts()
    assert (folder / "circuit.json").exists() == (stage == "test")

    refused = interp(*TASK, "--out", folder)
    assert refused.exit_code == 1 and "resume" in refused.stderr
    other = interp(*TASK, "--out", folder, "--resume", "--seed", "3")
    assert other.exit_code == 1 and "seed was 0, now 3" in other.stderr

    result = interp(*TASK, "--out", folder, "--resume", "--json")
    assert result.exit_code == 0, result.stderr
    resumed, whole = Circuit.load(folder / "circuit.json"), Circuit.load(found[0] / "circuit.json")
    assert resumed.scores == whole.scores and resumed.nodes == whole.nodes
    assert resumed.provenance["forwards"] < whole.provenance["forwards"]
    for table in ("circuit", "evaluation", "curve", "grouped", "pairs"):
        assert Run.open(folder).table(table).equals(Run.open(found[0]).table(table))
    assert json.loads(result.stdout)["evaluation"] == found[1]["evaluation"]


def test_resume_without_a_folder_finds_the_unfinished_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nothing = interp(*TASK, "--resume")
    assert nothing.exit_code == 1 and "no unfinished run" in nothing.stderr and not list(tmp_path.iterdir())
    process(*TASK, cwd=tmp_path, code=KILLED.format(signal="SIGKILL", stage="discover")).communicate(timeout=300)
    resumed = interp(*TASK, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert [row["status"] for row in json.loads(interp("runs", "--json").stdout)["runs"]] == ["done"]


def test_resume_of_a_finished_run_says_that_it_is_finished(found):
    again = interp(*TASK, "--out", found[0], "--resume")
    assert again.exit_code == 1 and "it is finished: read what is in it" in again.stderr


@pytest.mark.parametrize(("where", "words", "said"), [
    ("interp.commands.opened.open_model", TASK, "interrupted"),  # nothing had begun
    ("interp.discovery.discover", TASK, "interrupted; the run in run is unfinished; go on with the same command and "
     "--resume"),
    ("interp.discovery.disagreement.disagreement", ("disagreement", *TASK[1:4]),
     "interrupted; the run in run is unfinished"),
    ("interp.garden.train.train", ("train", "induction-1l"),
     "interrupted; what is finished is kept: run the same command again"),
])
def test_an_interrupt_promises_no_more_than_is_kept(where, words, said, tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(where, interrupt)
    result = interp(*words, "--out", "run")
    assert result.exit_code == 130 and result.stderr.strip().splitlines()[-1] == said


def test_evaluate_reopens_a_circuit_and_agrees_with_the_discovery(found, tmp_path):
    result = interp("evaluate", found[0], "--draws", "5", "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["evaluation"] == found[1]["evaluation"]
    assert Circuit.load(tmp_path / "run" / "circuit.json") == Circuit.load(found[0] / "circuit.json")


@pytest.mark.parametrize("truth", ["circuit.json", "."])
def test_evaluate_against_a_known_circuit(truth, found, tmp_path):
    words = ("--truth", found[0] / truth, "--draws", "0", "--out", tmp_path / "run", "--json")
    result = interp("evaluate", found[0], *words)
    statistics = {row["statistic"]: row["value"] for row in json.loads(result.stdout)["evaluation"]["statistics"]}
    assert statistics["AUPRC"] == statistics["AUROC"] == statistics["F1"] == 1.0


@pytest.mark.parametrize(("change", "message"), [
    (lambda text: text[: len(text) // 2], "damaged"),
    (lambda text: "", "damaged"),
    (lambda text: '{"a": 1}', "not a file of this kind"),
    (lambda text: text.replace("interp.circuit/1", "interp.circuit/9"), "circuit/9"),
    (lambda text: text.replace("blocks.1.", "blocks.7."), "blocks.7"),
    (lambda text: text.replace("head=3", "head=30"), "head 30"),
])
def test_evaluate_refuses_a_circuit_that_is_damaged_foreign_or_of_another_model(found, tmp_path, change, message):
    path = tmp_path / "circuit.json"
    path.write_text(change((found[0] / "circuit.json").read_text()))
    result = interp("evaluate", path, "--out", tmp_path / "run")
    assert result.exit_code == 1 and message in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_evaluate_of_a_file_that_is_not_there(tmp_path):
    result = interp("evaluate", tmp_path / "none.json")
    assert result.exit_code == 1 and "there is no such file" in result.stderr
