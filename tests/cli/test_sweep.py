"""`interp sweep`: cells are ordinary runs, none is computed twice, none is lost when a worker is killed."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from interp.commands import sweep_engines
from interp.commands.sweep_cells import Cell, cells, finish_cell
from interp.results import Circuit, Run
from tests.cli import dying
from tests.cli.helpers import MODEL, interp

SMALL = ("--n", "24", "--draws", "3")
SWEEP = ("sweep", "--task", "induction", "--model", MODEL, *SMALL)


def printed(*args, code=0):
    result = interp(*args, "--json")
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep of two methods and two seeds with a task that does not fit the model, and what was printed."""
    folder = tmp_path_factory.mktemp("sweep") / "out"
    return folder, printed(*SWEEP, "--task", "sorting", "--method", "auto", "--method", "tangent", "--seeds", "2",
                           "--out", folder, code=1)


def test_every_combination_is_a_cell_once():
    wanted = cells(["a", "a", "b"], ["m"], ["x", "y"], range(2), n=5)
    assert len(wanted) == 2 * 2 * 2 and len({cell.name for cell in wanted}) == 8 and {cell.n for cell in wanted} == {5}
    assert Cell("ioi:template=2", "a/b", "auto", 3, edges=True).name == "ioi-template-2-a-b-auto-edges-s3"


def test_a_cell_is_the_run_that_discover_makes(swept, tmp_path):
    folder = swept[0] / "cells" / f"induction-{MODEL.replace('/', '-')}-tangent-s1"
    asked = ("discover", "induction", "--model", MODEL, "--method", "tangent", "--seed", "1", *SMALL)
    assert interp(*asked, "--out", tmp_path / "run").exit_code == 0
    same(folder, tmp_path / "run")
    ours, its = Run.open(folder), Run.open(tmp_path / "run")
    assert (ours.config, ours.seed, ours.command, ours.status) == (its.config, its.seed, its.command, "done")


def same(cell: Path, other: Path) -> None:
    """Two runs found and measured the same."""
    one, two = (Circuit.load(folder / "circuit.json") for folder in (cell, other))
    assert one.scores == two.scores and one.nodes == two.nodes and Run.open(cell).parts() == []
    for table in ("circuit", "evaluation", "curve", "grouped", "pairs", "minimal"):
        assert Run.open(cell).table(table).equals(Run.open(other).table(table))


def test_a_sweep_tells_of_every_cell_and_of_the_seeds(swept):
    folder, told = swept
    done = [cell for cell in told["cells"] if cell["status"] == "done"]
    assert [(cell["method"], cell["seed"]) for cell in done] == [(m, s) for m in ("auto", "tangent") for s in (0, 1)]
    for cell in done:
        run = Run.open(folder / cell["cell"])
        assert cell["faithfulness"] == run.info["summary"]["faithfulness"]["value"] and cell["of"] == 8
        assert cell["nodes"] == len(Circuit.load(run.path / "circuit.json").nodes) and cell["forwards"] > 0
        assert cell["low"] <= cell["faithfulness"] <= cell["high"] and 0 < cell["p_same_size_and_depths"] <= 1
    over = {(line["task"], line["method"]): line for line in told["summary"]}
    values = [cell["faithfulness"] for cell in done[2:]]
    assert over["induction", "tangent"]["faithfulness"] == pytest.approx(sum(values) / 2)
    assert over["induction", "tangent"]["low"] == pytest.approx(min(values))
    assert over["induction", "auto"]["done"] == 2 and 0 < over["induction", "auto"]["same_nodes"] <= 1
    assert over["sorting", "auto"]["failed"] == 2 and over["sorting", "auto"]["faithfulness"] is None
    assert "mean over seeds" in (folder / "report.html").read_text()


def test_a_cell_that_fails_says_why_and_the_rest_goes_on(swept):
    failed = [cell for cell in swept[1]["cells"] if cell["status"] == "failed"]
    assert len(failed) == swept[1]["failed"] == 4 and all("give a model such as" in cell["reason"] for cell in failed)


def test_a_finished_cell_is_never_computed_again(swept):
    folder, told = swept
    before = {path: path.stat().st_mtime_ns for path in (folder / "cells").glob("*/*.json")}
    again = printed(*SWEEP, "--method", "tangent", "--seeds", "2", "--out", folder)
    assert again["computed"] == 0 and again["cells"] == told["cells"][2:4]
    other = interp(*SWEEP, "--method", "tangent", "--seeds", "3", "--no-evaluate", "--out", folder)
    assert other.exit_code == 1 and "made with evaluate True, now False" in other.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "cells").glob("*/*.json")}


def test_what_is_printed_is_a_table(swept):
    result = interp(*SWEEP, "--seeds", "2", "--out", swept[0])
    assert result.exit_code == 0 and "0 cells computed now, 2 were there, 0 failed" in result.stdout
    for text in ("over seeds", "faithfulness", "same nodes", "report.html"):
        assert text in result.stdout


def test_a_cell_killed_in_its_first_moment_is_taken_up(tmp_path):
    cell = Cell("induction", MODEL, "random", 0, n=24, evaluate=False)
    folder = tmp_path / "cells" / cell.name
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('task = "induc')
    (folder / ".lock").touch()
    assert finish_cell(cell, tmp_path) is None and Run.open(folder).status == "done"


@pytest.mark.parametrize(("args", "message"), [
    (("--method", "tangnt"), 'Did you mean "tangent"?'),
    (("--task", "inductoin"), 'Did you mean "induction"?'),
    (("--engine", "rai"), 'Did you mean "ray"?'),
    (("--address", "127.0.0.1:1"), "--engine ray"),
    (("--edges", "--method", "cdt"), "for edges"),
])
def test_bad_input_is_one_line_and_leaves_nothing(args, message, tmp_path):
    result = interp(*SWEEP, *args, "--out", tmp_path / "out")
    assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    result = interp(*SWEEP, "--out", tmp_path)
    assert result.exit_code == 1 and "choose another folder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_ray_an_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = interp(*SWEEP, "--engine", "ray", "--out", tmp_path / "out")
    assert result.exit_code == 1 and "pip install 'interp[scale]'" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("address", "message"), [("127.0.0.1:1", "refused"), ("there", "HOST:PORT")])
def test_a_cluster_that_is_not_there_is_an_error_at_once(address, message, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_engines, "_ray", lambda _: SimpleNamespace(is_initialized=lambda: False))
    result = interp(*SWEEP, "--engine", "ray", "--address", address, "--out", tmp_path / "out")
    assert result.exit_code == 1 and message in result.stderr and result.stderr.startswith("error: no Ray cluster at")
    assert not (tmp_path / "out").exists()


def test_processes_that_die_are_replaced_and_only_their_own_cells_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_engines, "_serve", dying.serve)
    wanted = cells(["t"], ["m"], ["steady", "once", "always"], range(2))
    ended = dict(sweep_engines.in_processes(wanted, tmp_path, 2))
    assert ended.keys() == set(wanted)
    for cell, reason in ended.items():
        assert reason == f"seed {cell.seed}" if cell.method != "always" else "died 3 times (killed" in reason
        assert dying.tries(tmp_path, cell) == {"steady": 1, "once": 2, "always": 3}[cell.method]


class Killer(threading.Thread):
    """Kills the first process that has finished a chunk of a cell below `out` and is still at it."""

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self.out, self.killed, self.over = out, None, False

    def run(self) -> None:
        while self.killed is None and not self.over:
            for part in self.out.glob("cells/*/parts/*.safetensors"):
                if self.kill(part.parents[1]):
                    return
            time.sleep(0.01)

    def kill(self, folder: Path) -> bool:
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and any(f.path == str(folder / ".lock") for f in process.open_files()):
                    began = Run.open(folder).info["started"]
                    process.send_signal(signal.SIGKILL)
                    self.killed = folder, began
                    return True
            except (psutil.Error, ValueError):
                continue
        return False


@pytest.fixture
def ray_cluster(monkeypatch):
    """A cluster of two workers that nothing outside this machine can reach."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
        yield ray
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_worker_killed_in_the_middle_loses_nothing(engine, request, tmp_path):
    asked = ("sweep", "--task", "induction", "--model", MODEL, "--n", "96", "--draws", "60", "--method", "auto",
             "--method", "ablation", "--seeds", "2")
    alone = printed(*asked, "--out", tmp_path / "alone")
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    killer = Killer(tmp_path / "crew")
    killer.start()
    told = printed(*asked, "--out", tmp_path / "crew", "--engine", engine, "--workers", "2")
    killer.over = True
    killer.join()
    assert killer.killed is not None, "no worker was killed: the sweep was over too soon"
    folder, began = killer.killed
    assert Run.open(folder).info["started"] == began, "the cell was begun anew, not gone on with"
    assert told["failed"] == 0 and told["computed"] == 4
    for cell, whole in zip(told["cells"], alone["cells"]):
        same(tmp_path / "crew" / cell["cell"], tmp_path / "alone" / whole["cell"])
        for key in ("nodes", "faithfulness", "low", "high", "p_same_size_and_depths"):
            assert cell[key] == whole[key]
