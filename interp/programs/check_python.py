"""Does the emitted file do what the program does? It is run, in a process of its own, and its answers compared."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from interp.programs.inputs import Tokens, every, how_many, run_many
from interp.programs.program import Program
from interp.programs.python import to_python
from interp.results.errors import BadInput, InterpError

MOST = 2_000_000
"""Sequences that are run at most when all are asked for."""

_DRIVER = """
import importlib.util, json, pathlib, sys
spec = importlib.util.spec_from_file_location("emitted", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
asked = json.loads(pathlib.Path(sys.argv[2]).read_text())
pathlib.Path(sys.argv[3]).write_text(json.dumps([module.run(tokens) for tokens in asked]))
"""


def check_python(
    program: Program, sequences: Iterable[Tokens] | None = None, *, length: int | None = None, text: str | None = None
) -> int:
    """Number of sequences on which the emitted file and `program.run` disagree: 0 is right.

    Without `sequences`, all of up to `length` tokens (default: as long as the program takes). `text` is the file to
    check, by default `to_python(program)`; it is executed, so give only text that you made.
    Raises BadInput where all would be more than MOST; InterpError where the file fails or prints on import.
    """
    if sequences is None:
        if (count := how_many(program, length)) > MOST:
            raise BadInput(f"{program.name} takes {count:,} sequences, over {MOST:,}: give a `length` or `sequences`")
        sequences = every(program, length)
    asked = [list(map(str, sequence)) for sequence in sequences]
    given = run_emitted(to_python(program) if text is None else text, asked)
    return sum(one != other for one, other in zip(given, run_many(program, asked), strict=True))


def run_emitted(text: str, sequences: list[list[str]]) -> list[list[str]]:
    """Answers of an emitted file to each sequence, from a fresh isolated interpreter in an empty folder."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("emitted.py", "asked.json", "given.json")]
        paths[0].write_text(text, encoding="utf-8")
        paths[1].write_text(json.dumps(sequences))
        command = [sys.executable, "-I", "-c", _DRIVER, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        if done.returncode or done.stdout or done.stderr:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise InterpError(f"the emitted file failed or printed something: {' '.join(last)}")
        return json.loads(paths[2].read_text())
