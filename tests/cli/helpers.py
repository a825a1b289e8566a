"""The command line as a user meets it: in this process, or as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from interp.cli import app

MODEL = "garden/induction-2l"
SMALL = ("--n", "24", "--draws", "5")


def interp(*args: str | Path) -> Result:
    """`interp ARGS` in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="interp")


def process(*args: str | Path, code: str = "", **options) -> subprocess.Popen:
    """`interp ARGS` as a process; `code` runs before it (to interrupt it at a chosen moment)."""
    start = f"{code}\nfrom interp.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", start, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, **options,
    )
