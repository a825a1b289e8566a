"""Long work: a command of the command line in a worker thread, with progress, time left, cancel and its reason to fail.

    run = jobs.start("discover", task="induction", model="garden/induction-2l", n=48)     -> name of its run folder
    jobs.show(run)                          progress, Cancel, or how it ended; redraws itself while it runs
    job = jobs.find(run)                    the record, or None when this server did not run it

The result is the ordinary run folder of that command: `interp runs` lists it and `--resume` goes on with it. A job
belongs to the server, so it outlives a change of page, a reload and a closed window; after a restart of the server
the folder says "interrupted". One job runs at a time and others wait, each with its own copy of the model.
To offer another command, add a line to `COMMANDS`.
"""

import inspect
import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import streamlit as st

from apps.dashboard import cards, folders
from interp.results.errors import BadInput, InterpError

COMMANDS: dict[str, str] = {
    "discover": "interp.commands.circuits",
    "disagreement": "interp.commands.circuits",
    "depth": "interp.commands.depth",
    "steer": "interp.commands.codebook",
    "icl-match": "interp.commands.icl_analyses:match",
    "icl-probe": "interp.commands.icl_analyses:probe",
}
"""Command, as runs name it -> the module with its function (`:name` where the function has another name); it takes
`out` and `seed`, and `resume` where it can."""
ALIVE = ("waiting", "running")
TICK = 0.5
"""Seconds between two looks at a running job."""
MOST = 20
"""Jobs that may wait at once."""


class Cancelled(BaseException):
    """Ends a job from inside. No Exception, so that the run folder says "interrupted" and can be resumed."""


@dataclass
class Job:
    """One piece of work; the worker writes it and pages read it. `total` is None where the length is not known."""

    run: str
    command: str
    arguments: dict[str, Any]
    state: str = "waiting"
    message: str = "waits for its turn"
    done: int = 0
    total: int | None = None
    started: float = 0.0
    ended: float = 0.0
    reason: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    _loop_began: float = 0.0

    def told(self, message: str, done: int, total: int | None) -> None:
        """What loops of the library report; ends the job where it was cancelled."""
        if done == 0 or message != self.message:
            self._loop_began = time.monotonic()
        self.message, self.done, self.total = message, done, total
        if self.stop.is_set():
            raise Cancelled

    @property
    def alive(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ALIVE

    @property
    def share(self) -> float:
        """How much of the current step is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return (self.ended or time.monotonic()) - self.started if self.started else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the current step ends, by its pace so far; None before there is one."""
        if not self.alive or not self.total or not self.done:
            return None
        return (time.monotonic() - self._loop_began) / self.done * (self.total - self.done)


class Table:
    """The jobs of this server."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.lock = threading.Lock()
        self.worker = ThreadPoolExecutor(1, "interp-job")

    def add(self, job: Job) -> None:
        with self.lock:
            if sum(other.alive for other in self.jobs.values()) >= MOST:
                raise BadInput(f"{MOST} jobs are waiting already: cancel some on the Runs page, or wait")
            self.jobs[job.run] = job
        self.worker.submit(self._work, job)

    def _work(self, job: Job) -> None:
        from interp.results.progress import use_progress

        if job.stop.is_set():
            job.state, job.message = "cancelled", "cancelled before it began"
            return
        job.state, job.started, job.message = "running", time.monotonic(), "loads the model"
        function, resume = _function(job.command), (folders.root() / job.run / "result.json").exists()
        more = {"resume": resume} if "resume" in inspect.signature(function).parameters else {}
        try:
            with use_progress(job.told), redirect_stdout(io.StringIO()):
                function(**job.arguments, **more, out=folders.root() / job.run)
            job.state, job.message = "done", "done"
        except Cancelled:
            job.state, job.message = "cancelled", "cancelled; what is finished is kept"
        except BaseException as error:  # noqa: BLE001 (whatever ended it is the reason that is shown)
            job.state, job.message = "failed", "failed"
            job.reason = str(error) if isinstance(error, InterpError) else f"{type(error).__name__}: {error}"
        finally:
            job.ended = time.monotonic()


@st.cache_resource(show_spinner=False)
def table() -> Table:
    """The one table of this server."""
    return Table()


def start(command: str, *, run: str = "", **arguments: Any) -> str:
    """Begin a command with these arguments of its function; the name of its run folder. `run` goes on with one.

    Raises BadInput for an unknown command or argument, and when too many jobs wait.
    """
    there = inspect.signature(_function(command)).parameters
    unknown = [name for name in arguments if name not in there]
    if unknown:
        raise BadInput(f"{command} takes no {unknown[0]!r}; it takes {', '.join(there)}")
    with _naming:  # two sessions must not get one name
        run = run or folders.new(command, str(arguments.get("task") or ""), str(arguments.get("model") or ""),
                                 str(arguments.get("method") or ""))
        while (job := table().jobs.get(run)) and job.alive:
            run = _next(run)
        table().add(Job(run, command, arguments))
    return run


_naming = threading.Lock()


def _next(run: str) -> str:
    stem, _, number = run.rpartition("-")
    return f"{stem}-{int(number) + 1}" if number.isdigit() else f"{run}-2"


def resume(run: str) -> None:
    """Go on with an unfinished run folder, whoever began it. Raises BadInput where its command cannot."""
    there = folders.open_run(run)
    if there.command not in COMMANDS:
        raise BadInput(f"{there.command} cannot be resumed from here; run the same command again with --resume")
    parameters = inspect.signature(_function(there.command)).parameters
    config = there.config | {"seed": there.seed, "edges": there.config.get("level") == "edges"}
    if isinstance(config.get("within"), list):
        config["within"] = tuple(config["within"])
    start(there.command, run=run, **{name: config[name] for name in parameters if name in config})


def find(run: str) -> Job | None:
    """The job that writes, or wrote, a run folder; None where it was not one of this server."""
    return table().jobs.get(run)


def cancel(run: str) -> None:
    """Ask a job to end; it does after the step that it is in."""
    job = find(run)
    if job is not None and job.alive:
        job.message = "ends after this step"
        job.stop.set()
        if job.state == "waiting":
            job.state, job.ended = "cancelled", time.monotonic()


def show(run: str, meanwhile: str = "", command: str = "") -> bool:
    """A job's bar with Cancel while it lives, redrawn by itself, and a line `meanwhile`; its card if it failed; nothing
    once it is done. Returns whether anything was drawn: one answer for the page, since a job may end while it is asked.

    With `command`, nothing is drawn of a job of another one. When it ends, the whole page is drawn again.
    """
    job = find(run)
    if job is not None and command and job.command != command:
        return False
    now = "done" if job is None else job.state  # the worker may change it at any moment
    if now == "done":
        return False
    if now in ALIVE:
        st.fragment(_bar, run_every=TICK)(run)
        if meanwhile:
            st.caption(meanwhile)
    elif now == "failed":
        cards.error(f"{job.command} failed after {job.seconds:.0f} s", job.reason,
                    "Change what is named here and start again; finished work is kept and resumed.")
        st.button("Run it again", key=f"again.{run}", on_click=_again, args=(run,))
    else:
        cards.empty(f"{job.command} was cancelled after {job.seconds:.0f} s", "What was finished is kept.")
        st.button("Go on with it", key=f"again.{run}", on_click=_again, args=(run,))
    return True


def _again(run: str) -> None:
    job = find(run)
    if job is not None:
        start(job.command, run=run, **job.arguments)


def _bar(run: str) -> None:
    job = find(run)
    if job is None or not job.alive:
        st.rerun()
        return
    left = f" · about {_clock(job.left)} left in this step" if job.left is not None else ""
    count = f" {job.done} of {job.total}" if job.total else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(job.share, text=f"{job.command}: {job.message}{count} · {_clock(job.seconds)}{left}")
        st.button("Cancel", key=f"cancel.{run}", on_click=cancel, args=(run,))


def _clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _function(command: str) -> Callable[..., None]:
    if command not in COMMANDS:
        raise BadInput(f"there is no job {command!r}; there are {', '.join(COMMANDS)}")
    module, _, name = COMMANDS[command].partition(":")
    return getattr(import_module(module), name or command)
