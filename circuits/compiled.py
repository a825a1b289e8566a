"""Every program of the RASP library, compiled beside idle distractors: circuits whose truth is known.

    python -m circuits.compiled [NAME ...] [--keep]
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from circuits._run import FOUND, rows, stored
from interp.discovery import discover, evaluate
from interp.programs.compile.suite import library_case
from interp.programs.rasp.library import names
from interp.results import BadInput
from interp.results.environment import versions
from interp.results.plain import to_plain

DRAWS, SEED = 200, 0


def main(arguments: list[str] | None = None, found: Path = FOUND) -> None:
    """Find and test the circuit of the named programs, by default of all, a line of results each."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    keep = "--keep" in given
    for name in [argument for argument in given if argument != "--keep"] or names():
        try:
            print(one(name, found if keep else None))
        except BadInput as error:
            print(f"{name}: {error}")


def one(name: str, found: Path | None = None) -> str:
    """The circuit of one program, stored below `found` where that is given; a line that says how it compares."""
    begun = time.monotonic()
    case = library_case(name, seed=SEED)
    audit = case.task.audit(case.compiled.model)
    circuit = discover(case.compiled.model, case.task, seed=SEED)
    seen = time.monotonic()
    result = evaluate(case.compiled.model, circuit, case.task, draws=DRAWS, seed=SEED, truth=case.truth)
    if found is not None:
        evidence = {
            "model": f"compiled:{name}", "n": len(case.task), "case": case.name,
            "truth": [node.name for node in case.truth.nodes], "idle": [node.name for node in case.idle],
            "audit": rows(audit.frame()),
            "evaluation": {
                "part": "test", "draws": DRAWS, "faithfulness": result.faithfulness.to_dict(),
                "random_p": {control.kind: control.p for control in result.controls},
                "statistics": rows(result.frame()), "directions": rows(result.directions),
                "grouped": rows(result.grouped),
            },
            "timings": {"discover": round(seen - begun, 1), "evaluate": round(time.monotonic() - seen, 1)},
            "versions": versions(),
        }
        command = f"python -m circuits.compiled {name}"
        circuit = replace(circuit, task=name)  # that of the case also says what was drawn for it
        stored(circuit, f"compiled-{name}", command, to_plain(evidence, "evidence"), found)
    right = set(circuit.nodes) == set(case.truth.nodes)
    scores = ", ".join(f"{key} {value:.2f}" for key, value in result.truth.items())
    return (f"{name}: {len(circuit.nodes)} of {len(circuit.scores)} nodes, {'' if right else 'not '}those of the "
            f"truth; {scores}; held-out faithfulness {result.faithfulness}")


if __name__ == "__main__":
    main()
