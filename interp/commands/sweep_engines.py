"""Where the cells of a sweep are computed: here one by one, in processes of this machine, or on a Ray cluster.

Every engine yields (cell, None or why it failed) as cells end. A worker that is killed loses the unfinished part of its
own cell: the cell is taken up again where its files end, up to TRIES times in all.
"""

import os
import signal
import socket
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from interp.commands.shared import end_politely
from interp.commands.sweep_cells import Cell, finish_cell
from interp.results.errors import InterpError
from interp.results.progress import use_progress

TRIES = 3
Ended = Iterator[tuple[Cell, str | None]]


def in_turn(cells: Sequence[Cell], out: Path) -> Ended:
    """In this process."""
    for cell in cells:
        yield cell, finish_cell(cell, out)


def in_processes(cells: Sequence[Cell], out: Path, workers: int) -> Ended:
    """In `workers` processes, which share the processors; one that dies is replaced."""
    waiting, deaths, crew = deque(cells), Counter(), [_Worker(out, workers) for _ in range(min(workers, len(cells)))]
    try:
        for worker in crew:
            worker.take(waiting.popleft())
        while busy := {worker.pipe: worker for worker in crew if worker.cell is not None}:
            for pipe in wait(list(busy)):
                worker = busy[pipe]
                cell = worker.cell
                try:
                    yield cell, worker.answer()
                except EOFError:
                    code = worker.end()
                    crew[crew.index(worker)] = worker = _Worker(out, workers)
                    deaths[cell] += 1
                    if deaths[cell] < TRIES:
                        waiting.appendleft(cell)
                    else:
                        why = "killed; out of memory?" if code == -signal.SIGKILL else f"exit code {code}"
                        yield cell, f"its process died {TRIES} times ({why})"
                if waiting:
                    worker.take(waiting.popleft())
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process that computes one cell at a time. `pipe` is ready when it has answered or died."""

    def __init__(self, out: Path, workers: int) -> None:
        context = get_context("spawn")  # a fork of a process whose threads hold locks can hang
        self.pipe, theirs = context.Pipe()
        self.cell: Cell | None = None
        self.process = context.Process(target=_serve, args=(theirs, str(out), workers))
        self.process.start()
        theirs.close()  # so that the pipe ends with the process

    def take(self, cell: Cell) -> None:
        self.cell = cell
        with suppress(OSError):  # one that died while it was idle shows when its answer is awaited
            self.pipe.send(cell)

    def answer(self) -> str | None:
        """Why its cell failed, or None. Raises EOFError where the process died."""
        self.cell = None
        try:
            return self.pipe.recv()
        except ConnectionError as error:
            raise EOFError from error

    def end(self) -> int | None:
        """Ask it to end, which leaves its cell interrupted, and wait. Returns its exit code."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(30)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return self.process.exitcode


def _serve(pipe: Any, out: str, workers: int) -> None:
    import torch

    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // workers)))
    with end_politely(), use_progress(lambda *_: None):  # the terminal is the parent's
        while True:
            try:
                cell = pipe.recv()
            except (EOFError, ConnectionError):
                return
            pipe.send(finish_cell(cell, out))


def on_ray(cells: Sequence[Cell], out: Path, address: str | None, workers: int | None) -> Ended:
    """As Ray tasks: on the cluster at `address`, or one started here that listens on 127.0.0.1 only.

    `workers` limits how many cells run at once. Machines of a cluster must share the folder `out`.
    Raises InterpError where ray is not installed or the cluster does not answer.
    """
    ray = _ray(address)
    mine = not ray.is_initialized()
    if mine:
        _start(ray, address, workers)
    try:
        task = ray.remote(num_cpus=1, max_retries=TRIES - 1)(finish_cell)
        waiting, running = deque(cells), {}
        while waiting or running:
            while waiting and len(running) < (workers or len(cells)):
                cell = waiting.popleft()
                running[task.remote(cell, str(out.resolve()))] = cell
            for reference in ray.wait(list(running))[0]:
                cell = running.pop(reference)
                try:
                    yield cell, ray.get(reference)
                except ray.exceptions.RayError as error:
                    yield cell, f"its worker was lost {TRIES} times ({type(error).__name__})"
    finally:
        if mine:
            ray.shutdown()


def _ray(address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    if address is None:  # Ray turns 127.0.0.1 into the machine's outer address unless this is set when it is imported
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise InterpError("--engine ray needs Ray, which is not installed: pip install 'interp[scale]'") from error
    return ray


def _start(ray: Any, address: str | None, workers: int | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    if address is None:
        options |= {"num_cpus": workers, "include_dashboard": False}
    try:
        if address not in (None, "auto"):
            _knock(address)
        ray.init(address or "local", **options)
    except (OSError, RuntimeError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise InterpError(f"no Ray cluster at {address or 'this machine'}: {first}") from error


def _knock(address: str) -> None:
    """Raise OSError or ValueError at once where nobody listens: Ray itself goes on trying for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"an address is HOST:PORT, such as 127.0.0.1:6379, not {address!r:.80}")
    socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
