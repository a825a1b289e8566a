"""Jobs, run folders, exports and the grid's arithmetic, without a page."""

import json
import time

import numpy as np
import pandas as pd
import pytest

from apps.dashboard import exports, folders, jobs
from apps.dashboard.views.grid import MOST_BYTES, _pooled
from apps.dashboard.views.heads import Places
from interp.results import Circuit, Run
from interp.results.errors import BadFile, BadInput


def ended(run: str) -> jobs.Job:
    """The job, once it has ended."""
    job = jobs.find(run)
    for _ in range(6000):
        if not job.alive:
            return job
        time.sleep(0.05)
    raise AssertionError(f"{run} is still {job.state}: {job.message}")


def test_a_job_is_the_run_that_the_command_line_makes(runs):
    run = jobs.start("discover", task="mod-add", model="garden/mod-add-29", n=24, draws=5)
    job = ended(run)
    assert (job.state, job.reason) == ("done", "")
    there = Run.open(runs / run)
    assert (there.command, there.status, there.config["task"]) == ("discover", "done", "mod-add")
    assert folders.circuit(run).nodes and run in set(folders.listing()["run"])


def test_a_job_that_fails_says_why():
    job = ended(jobs.start("discover", task="ioi", model="garden/mod-add-29", n=24))
    assert job.state == "failed" and "needs a tokenizer" in job.reason


def test_a_cancelled_job_ends_at_its_next_step_and_can_be_resumed(runs, monkeypatch):
    told, at = jobs.Job.told, []

    def cancel_soon(self, message, done, total):
        at.append(message)
        if len(at) == 3:
            jobs.cancel(self.run)
        told(self, message, done, total)

    monkeypatch.setattr(jobs.Job, "told", cancel_soon)
    run = jobs.start("discover", task="dyck", model="garden/dyck-2l", n=24, draws=5)
    assert ended(run).state == "cancelled" and len(at) == 3
    assert Run.open(runs / run).status == "interrupted"
    monkeypatch.undo()
    monkeypatch.setenv("INTERP_RUNS", str(runs))
    jobs.resume(run)
    assert ended(run).state == "done" and Run.open(runs / run).status == "done"


def test_unknown_commands_and_arguments_are_refused_before_anything_starts(runs):
    with pytest.raises(BadInput, match="there is no job 'format'"):
        jobs.start("format")
    with pytest.raises(BadInput, match="takes no 'taks'"):
        jobs.start("discover", taks="ioi")
    assert not runs.exists()


def test_a_job_says_how_much_is_left_by_its_pace():
    job = jobs.Job("r", "discover", {}, state="running", started=time.monotonic())
    assert job.left is None and job.share == 0
    job.told("step", 0, 10)
    job._loop_began -= 4.0
    job.told("step", 2, 10)
    assert job.share == 0.2 and job.left == pytest.approx(16.0, rel=0.1)


def test_names_of_runs_never_lead_out_of_their_folder(runs, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "result.json").write_text("{}")
    runs.mkdir()
    (runs / "link").symlink_to(tmp_path / "outside")
    for name in ("../outside", "link", str(tmp_path / "outside")):
        with pytest.raises(BadFile, match="there is no run"):
            folders.find(name)


def test_a_circuit_from_elsewhere_is_kept_equal_and_anything_else_is_refused(runs):
    source = folders.SHIPPED / "induction-2l-edges" / "circuit.json"
    name = folders.keep("mine.json", source.read_bytes())
    assert folders.circuit(name) == Circuit.load(source)
    for content in (b"{}", b"not json", b'{"schema": "interp.circuit/99"}', b"\xff\xfe"):
        with pytest.raises(BadFile, match="bad.json"):
            folders.keep("bad.json", content)
    assert [folder.name for folder in runs.iterdir()] == [name]


def test_every_shipped_run_opens_and_is_done_with_evidence():
    found = folders.listing()
    assert len(found) >= 5 and set(found["status"]) == {"done"} and found["shipped"].all()
    for name in found[found["command"] == "discover"]["run"]:
        assert folders.circuit(name).nodes and folders.table(name, "evaluation") is not None


def test_the_json_of_a_view_has_its_rows_and_null_for_what_is_absent():
    frame = pd.DataFrame({"source": ["L0H1", "MLP0"], "effect": [1.5, np.nan], "head": pd.array([1, None], "Int64")})
    frame.attrs["unit"] = "logits"
    data = json.loads(exports.as_json("nodes", frame))
    assert data["schema"] == exports.SCHEMA and data["unit"] == "logits"
    assert data["rows"] == [{"source": "L0H1", "effect": 1.5, "head": 1},
                            {"source": "MLP0", "effect": None, "head": None}]


def test_pictures_are_pooled_to_the_budget_and_keep_their_largest():
    pictures = np.zeros((30, 9, 64, 64))
    pictures[3, 4, 63, 0] = 0.8
    small = _pooled(pictures)
    assert small.size <= MOST_BYTES and small[3, 4, -1, 0] == 0.8 and small.sum() == 0.8


def test_every_node_has_its_own_cell():
    labels = ["L0H0", "L0H1", "MLP0", "MIX1", "L1H1", "encoder.L0H0", "hook_embed"]
    places = Places(labels)
    assert len(set(places.at.values())) == len(labels)
    assert [places.label(places.at[label]) for label in labels] == labels
    table = places.table(range(len(labels)), labels)
    assert [table[places.at[label]] for label in labels] == list(range(len(labels)))


class EndsMeanwhile(jobs.Job):
    """A job that runs when it is asked first, and is done ever after."""

    asked = 0

    def __getattribute__(self, name):
        if name == "state":
            EndsMeanwhile.asked += 1
            return "running" if EndsMeanwhile.asked == 1 else "done"
        return super().__getattribute__(name)


def test_a_job_that_ends_while_a_page_is_drawn_leaves_the_page_to_its_result(monkeypatch):
    from streamlit.testing.v1 import AppTest

    def page() -> None:
        import streamlit as st

        from apps.dashboard import jobs

        if not jobs.show("of-this-test", "meanwhile"):
            st.markdown("its result")

    job = EndsMeanwhile("of-this-test", "discover", {})
    monkeypatch.setattr(jobs, "find", lambda run: job)
    monkeypatch.setattr(EndsMeanwhile, "asked", 0)
    drawn = AppTest.from_function(page, default_timeout=120).run()
    assert not drawn.exception and [part.value for part in drawn.markdown] == ["its result"] and not drawn.caption


def test_a_job_of_another_command_is_not_this_page_s_to_show(monkeypatch):
    monkeypatch.setattr(jobs, "find", lambda run: jobs.Job(run, "discover", {}, state="running"))
    assert jobs.show("of-this-test", command="depth") is False
