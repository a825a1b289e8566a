"""A stand-in for the process that computes cells, which is killed where the cell's method says so."""

import os
import signal
from pathlib import Path


def tries(out: str | Path, cell) -> int:
    """How often a cell was begun."""
    file = Path(out) / cell.name
    return len(file.read_text()) if file.exists() else 0


def serve(pipe, out: str, workers: int) -> None:
    """Answer every cell with its seed; "once" dies at its first try, "always" at every one."""
    while True:
        try:
            cell = pipe.recv()
        except (EOFError, ConnectionError):
            return
        begun = tries(out, cell)
        (Path(out) / cell.name).write_text("." * (begun + 1))
        if cell.method == "always" or (cell.method == "once" and begun == 0):
            os.kill(os.getpid(), signal.SIGKILL)
        pipe.send(f"seed {cell.seed}")
