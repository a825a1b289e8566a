import errno
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from interp.results import BadFile, BadInput, Estimate, InterpError, Run, list_runs

CONFIG = {"model": "tiny", "task": {"name": "ioi", "n": 4}, "note": None}


def start(folder, **more):
    return Run.create(folder, "discover", CONFIG, 0, **more)


def test_run_keeps_what_it_is_given(tmp_path):
    frame = pd.DataFrame({"a": [0.1, None], "label": ["x,y", "<bos>\n"]})
    with start(tmp_path / "r") as run:
        run.set_model("abc")
        run.record(faithfulness=Estimate(0.5, 0.4, 0.6, 8, "prompts", "bootstrap"), n=np.int64(3))
        with run.timed("patching"):
            run.save_table("nodes", frame)
        run.save_figure("curve", go.Figure(go.Scatter(y=[1, 2])), html=True)
        run.save_tensors({"values": np.arange(3.0)})
    again = Run.open(tmp_path / "r")
    assert (again.status, again.seed, again.command) == ("done", 0, "discover")
    assert again.config == {"model": "tiny", "task": {"name": "ioi", "n": 4}}
    pd.testing.assert_frame_equal(again.table("nodes"), frame)
    assert again.figure("curve").data[0].y == (1, 2)
    assert again.tensors()["values"].tolist() == [0, 1, 2]
    info = again.info
    assert info["summary"]["faithfulness"]["low"] == 0.4 and info["model_hash"] == "abc"
    assert info["timings"]["total"] >= info["timings"]["patching"] >= 0
    assert info["peak_memory"]["ram_bytes"] > 1e6 and info["versions"]["torch"]


def test_failed_run_says_why_and_can_be_resumed(tmp_path):
    with pytest.raises(ZeroDivisionError), start(tmp_path / "r") as run:
        run.checkpoint("chunk 0/1", {"x": np.ones(2)})
        raise ZeroDivisionError("of all things")
    assert run.status == "failed" and "of all things" in run.info["reason"]
    with start(tmp_path / "r", resume=True) as again:
        assert again.completed("chunk 0/1") and not again.completed("chunk 1/1")
        assert again.part("chunk 0/1")["x"].tolist() == [1, 1]
    assert Run.open(tmp_path / "r").status == "done"


def test_resume_refuses_other_settings_weights_and_finished_runs(tmp_path):
    run = start(tmp_path / "r")
    run.set_model("abc")
    run.fail("stopped")
    with pytest.raises(BadInput, match="already holds a run"):
        start(tmp_path / "r")
    other = CONFIG | {"task": {"name": "ioi", "n": 5}}
    with pytest.raises(BadInput, match="config.task.n was 4, now 5"):
        Run.create(tmp_path / "r", "discover", other, 0, resume=True)
    with pytest.raises(BadInput, match="seed"):
        Run.create(tmp_path / "r", "discover", CONFIG, 1, resume=True)
    again = start(tmp_path / "r", resume=True)
    with pytest.raises(BadInput, match="other weights"):
        again.set_model("def")
    again.finish()
    with pytest.raises(BadInput, match="done"):
        start(tmp_path / "r", resume=True)


def test_a_run_going_on_is_not_written_twice(tmp_path):
    run = start(tmp_path / "r")
    assert Run.open(tmp_path / "r").status == "running"
    with pytest.raises(BadInput, match="still going"):
        start(tmp_path / "r", resume=True)
    run.finish()


def test_killed_run_reads_as_interrupted_and_goes_on(tmp_path):
    script = f"""
        import numpy as np, sys
        from interp.results import Run
        run = Run.create({str(tmp_path / "r")!r}, "discover", {CONFIG!r}, 0)
        for i in range(3):
            run.checkpoint(f"chunk {{i}}", {{"x": np.full(2, i)}})
        sys.stdout.write("ready"); sys.stdout.flush(); sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.read(5) == b"ready"
    assert Run.open(tmp_path / "r").status == "running"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert Run.open(tmp_path / "r").status == "interrupted"
    (part,) = (tmp_path / "r" / "parts").glob("*2.safetensors")
    part.write_bytes(part.read_bytes()[:-4])
    done = []
    with start(tmp_path / "r", resume=True) as run:
        for i in range(4):
            if not run.completed(f"chunk {i}"):
                done.append(i)
                run.checkpoint(f"chunk {i}", {"x": np.full(2, i)})
        assert [run.part(f"chunk {i}")["x"][0] for i in range(4)] == [0, 1, 2, 3]
        run.clear_parts()
    assert done == [2, 3] and not run.completed("chunk 0")


def test_interrupt_marks_the_run(tmp_path):
    with pytest.raises(KeyboardInterrupt), start(tmp_path / "r"):
        raise KeyboardInterrupt
    assert Run.open(tmp_path / "r").status == "interrupted"


def test_full_disk_is_said_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    run = start(tmp_path / "r")
    run.checkpoint("a", {"x": np.ones(2)})

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InterpError, match="free some space"):
            run.checkpoint("b", {"x": np.ones(2)})
        with pytest.raises(InterpError, match="free some space"):
            Run.create(tmp_path / "new", "discover", CONFIG, 0)
        with pytest.raises(RuntimeError), run:
            raise RuntimeError("the error itself is not hidden by the disk")
    assert not (tmp_path / "new").exists()
    assert run.completed("a") and not run.completed("b")
    assert not list(tmp_path.rglob("*.tmp"))
    assert Run.open(tmp_path / "r").status == "interrupted"


def test_foreign_folders_and_damaged_runs_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="not an empty folder"):
        start(tmp_path)
    with pytest.raises(BadFile, match="no run"):
        Run.open(tmp_path)
    run = start(tmp_path / "r")
    run.finish()
    with pytest.raises(BadInput, match="file name"):
        run.save_table("../x", pd.DataFrame())
    for change in ({"status": "fine"}, {"timings": {"total": "long"}}, {"seed": "0"}, {"command": None}):
        state = json.loads((tmp_path / "r" / "result.json").read_text()) | change
        (tmp_path / "r2").mkdir(exist_ok=True)
        (tmp_path / "r2" / "result.json").write_text(json.dumps(state))
        with pytest.raises(BadFile, match="damaged"):
            Run.open(tmp_path / "r2")


def test_list_runs_shows_ours_the_damaged_and_nothing_else(tmp_path):
    start(tmp_path / "a").finish()
    start(tmp_path / "deep" / "b").fail("no luck")
    for name, text in (("broken", "{"), ("foreign", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(text)
    table = list_runs(tmp_path).set_index("run")
    assert table["status"].to_dict() == {"a": "done", "deep/b": "failed", "broken": "damaged"}
    assert table.loc["a", "model"] == "tiny" and table.loc["a", "task"] == "ioi"
    assert table.loc["deep/b", "reason"] == "no luck"
    (tmp_path / "empty").mkdir()
    assert list(list_runs(tmp_path / "empty").columns)[0] == "run"
    with pytest.raises(BadInput):
        list_runs(tmp_path / "none")
