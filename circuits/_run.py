"""What every script here shares: a command of `interp`, and keeping what it found beside the script."""

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.results import Circuit, Run

if TYPE_CHECKING:
    import pandas as pd

FOUND = Path(__file__).parent / "found"
RUNS = Path("runs")


@dataclass(frozen=True)
class Script:
    """`interp discover` with the settings of one circuit; `main` runs it, `keep` stores what it found.

    `name` is of the file in `found/`. `task` is a task's name, with its options where they are not the default
    ("agreement:attractor=opposite"); `more` holds further options of the command as they are typed.
    """

    name: str
    task: str
    model: str
    n: int = 96
    draws: int = 100
    more: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """What is typed behind `interp`."""
        return ["discover", self.task, "--model", self.model, "--n", str(self.n), "--draws", str(self.draws),
                *self.more]

    def main(self, arguments: list[str] | None = None, found: Path = FOUND) -> None:
        """Run it from the command line; `arguments` are further options of `interp discover`, and `--keep`.

        With --keep the circuit and its evidence become `found/NAME.json`, and a run that was killed is gone on with.
        """
        from interp.cli import app
        from interp.commands.shared import end_politely

        given = list(sys.argv[1:] if arguments is None else arguments)
        kept = "--keep" in given
        given = [argument for argument in given if argument != "--keep"]
        if kept and not {"--out", "-o"} & set(given):
            given += ["--out", str(RUNS / f"circuits-{self.name}"), "--resume"]
        with end_politely():
            failed = app([*self.command, *given], prog_name="interp", standalone_mode=not kept)
        if failed:  # the exit code of a command that said why itself
            sys.exit(failed)
        if kept:
            place = given[max(i for i, argument in enumerate(given) if argument in ("--out", "-o")) + 1]
            command = " ".join(["interp", *self.command, *_without_place(given)])
            keep(Path(place), self.name, command, found)


def keep(run: str | Path, name: str, command: str, found: Path = FOUND) -> Path:
    """Store the circuit of a finished run folder as `found/NAME.json`, with its evidence in the provenance.

    Raises BadFile where the folder holds no run or no circuit.
    """
    folder = Run.open(run)
    circuit = Circuit.load(folder.path / "circuit.json")
    return stored(circuit, name, command, facts(folder), found)


def stored(circuit: Circuit, name: str, command: str, evidence: dict[str, Any], found: Path = FOUND) -> Path:
    """Write `found/NAME.json`: the circuit with `command` and `evidence` in its provenance. Returns the path."""
    provenance = circuit.provenance | {"command": command} | evidence
    found.mkdir(parents=True, exist_ok=True)
    return replace(circuit, provenance=provenance).save(found / f"{name}.json")


def facts(run: Run) -> dict[str, Any]:
    """The evidence in a run folder, plain values: audit and evaluation tables, timings, versions, weights."""
    info = run.info
    return {
        "audit": rows(run.table("task_audit")),
        "evaluation": {
            "part": "test", "draws": run.config["draws"], "faithfulness": info["summary"]["faithfulness"],
            "random_p": info["summary"]["random_p"], "statistics": rows(run.table("evaluation")),
            "directions": rows(run.table("directions")), "grouped": rows(run.table("grouped")),
        },
        "timings": {key: round(value, 1) for key, value in info["timings"].items()},
        "versions": info["versions"], "model_hash": info["model_hash"],
    }


def rows(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """A dictionary a row; what is absent is left out."""
    return [{key: value for key, value in row.items() if value == value} for row in frame.to_dict("records")]


def _without_place(given: list[str]) -> list[str]:
    """The options but for where results go and whether a run is gone on with: they change no number."""
    text = re.sub(r"(--out|-o) \S+|--resume", "", " ".join(given))
    return text.split()
