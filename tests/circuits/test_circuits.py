"""The stored circuits: they load, name sites of their model, are listed, and come out again when a script is run."""

import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from circuits import __main__ as listing
from circuits import _run, compiled
from circuits._run import FOUND, Script
from interp.discovery.nodes import nodes, source
from interp.garden.fetch import REAL_MODELS
from interp.garden.loading import load
from interp.programs.compile.suite import library_case
from interp.programs.rasp.library import names
from interp.results import Circuit, Estimate, ModelMissing
from interp.tasks import tasks
from tests.cli.helpers import interp

HERE = Path(_run.__file__).parent
SCRIPTS = [import_module(f"circuits.{path.stem}").SCRIPT for path in sorted(HERE.glob("[a-z]*.py"))
           if path.stem != "compiled"]
STORED = sorted(path.stem for path in FOUND.glob("*.json"))
LARGE = [script for script in SCRIPTS if script.model in REAL_MODELS]
SMALL = [script for script in SCRIPTS if script.model not in REAL_MODELS]


@pytest.mark.parametrize("name", STORED)
def test_a_stored_circuit_says_how_it_was_found_and_how_it_does(name):
    circuit = Circuit.load(FOUND / f"{name}.json")
    known = circuit.provenance
    assert circuit.nodes and set(circuit.nodes) <= set(circuit.scores)
    assert {"command", "audit", "evaluation", "timings", "versions", "seed", "split"} <= set(known)
    faithfulness = Estimate.from_dict(known["evaluation"]["faithfulness"])
    stated = {row["statistic"]: row["value"] for row in known["evaluation"]["statistics"] if "value" in row}
    assert stated["faithfulness"] == faithfulness.value and known["evaluation"]["part"] == "test"
    assert all(0 < p <= 1 for p in known["evaluation"]["random_p"].values())
    at = known["curve"]["k"].index(len(circuit.nodes))
    low, high = known["within"]
    assert all(low <= value <= high for value in known["curve"]["faithfulness"][at:])  # of the select part
    text = (FOUND / f"{name}.json").read_text()
    assert not any(place in text for place in ("/tmp", "/work", "/home", "/root"))


def test_every_stored_circuit_has_its_script_and_every_program_its_circuit():
    assert {name for name in STORED if name.startswith("compiled-")} == {f"compiled-{name}" for name in names()}
    own = {name for name in STORED if not name.startswith("compiled-")}
    assert own == {script.name for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_names_a_task_and_is_what_made_its_circuit(script):
    assert script.task.partition(":")[0] in [entry.name for entry in tasks()]
    circuit = Circuit.load(FOUND / f"{script.name}.json")
    assert circuit.provenance["command"] == " ".join(["interp", *script.command])
    assert (circuit.task, circuit.provenance["model"], circuit.provenance["n"]) == (
        script.task, script.model, script.n)


def _names_sites_of(circuit: Circuit, model) -> None:
    for node in circuit.scores:
        source(node).check(model.site(node.site))
    split = sorted({node.pos for node in circuit.scores} - {None})
    assert set(circuit.scores) == set(nodes(model, split or None))


@pytest.mark.parametrize("script", SMALL, ids=lambda script: script.name)
def test_nodes_are_those_of_the_embedded_model(script):
    _names_sites_of(Circuit.load(FOUND / f"{script.name}.json"), load(script.model))


@pytest.mark.slow
@pytest.mark.parametrize("script", LARGE, ids=lambda script: script.name)
def test_nodes_are_those_of_the_large_model(script):
    try:
        model = load(script.model)
    except ModelMissing as missing:
        pytest.skip(str(missing))
    _names_sites_of(Circuit.load(FOUND / f"{script.name}.json"), model)


def test_a_script_finds_its_circuit_again_and_agrees_with_the_command_line(tmp_path, capsys):
    script = next(script for script in SCRIPTS if script.name == "dyck")
    script.main(["--keep", "--out", str(tmp_path / "run")], found=tmp_path)
    kept, stored = Circuit.load(tmp_path / "dyck.json"), Circuit.load(FOUND / "dyck.json")
    assert kept.nodes == stored.nodes and kept.provenance["command"] == stored.provenance["command"]
    assert {n.name: s for n, s in kept.scores.items()} == pytest.approx(
        {n.name: s for n, s in stored.scores.items()}, rel=1e-3, abs=1e-4)
    mine, theirs = (c.provenance["evaluation"]["faithfulness"] for c in (kept, stored))
    assert mine["value"] == pytest.approx(theirs["value"], abs=1e-3) and mine["n"] == theirs["n"]
    result = interp("discover", *script.command[1:], "--out", tmp_path / "by-hand", "--json")
    assert result.exit_code == 0, result.stderr
    typed = json.loads(result.stdout)
    assert [node["name"] for node in typed["nodes"]] == [node.name for node in kept.nodes]
    assert typed["evaluation"]["faithfulness"]["value"] == mine["value"]


def test_a_script_without_keep_is_the_command(tmp_path):
    with pytest.raises(SystemExit) as end:  # as a command line ends
        Script("x", task="sorting", model="garden/sorting-1l", n=12, draws=2).main(
            ["--out", str(tmp_path / "run")], found=tmp_path)
    assert end.value.code == 0
    assert Circuit.load(tmp_path / "run" / "circuit.json").task == "sorting" and not list(tmp_path.glob("*.json"))


def test_a_script_that_failed_keeps_nothing_and_ends_with_its_code(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        Script("x", task="sorting", model="garden/no-such", n=12, draws=2).main(
            ["--keep", "--out", str(tmp_path / "run")], found=tmp_path)
    assert end.value.code == 3 and "does not grow here" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_finished_run_that_was_not_kept_can_be_kept(tmp_path):
    assert interp("discover", "sorting", "--model", "garden/sorting-1l", "--n", "12", "--draws", "2", "--out",
                  tmp_path / "run").exit_code == 0
    path = _run.keep(tmp_path / "run", "mine", "interp discover sorting", tmp_path / "found")
    assert Circuit.load(path).provenance["evaluation"]["draws"] == 2


def test_a_compiled_program_gives_its_stored_circuit(tmp_path):
    line = compiled.one("hist", tmp_path)
    again, stored = (Circuit.load(folder / "compiled-hist.json") for folder in (tmp_path, FOUND))
    assert again.nodes == stored.nodes and line.startswith(f"hist: {len(again.nodes)} of {len(again.scores)} nodes")
    assert again.provenance["truth"] == [node.name for node in library_case("hist").truth.nodes]


def test_the_readme_holds_the_table_of_the_files(tmp_path):
    text = listing.README.read_text("utf-8")
    rows = listing.table()
    assert [row[0] for row in rows] == STORED and text == listing.readme(text, rows)
    shutil.copy(FOUND / "dyck.json", tmp_path)
    (row,) = listing.table(tmp_path)
    circuit = Circuit.load(FOUND / "dyck.json")
    assert row[:4] == ("dyck", "dyck", "garden/dyck-2l", f"{len(circuit.nodes)} of {len(circuit.scores)}")


def test_the_list_is_printed(capsys):
    listing.main([])
    printed = capsys.readouterr().out
    assert all(name in printed for name in STORED)
