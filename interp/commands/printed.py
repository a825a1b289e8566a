"""What `discover` and `evaluate` print: the circuit, its held-out evidence, what it cost and where it is."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from interp.commands.shared import gigabytes, print_json, print_table, records, stdout
from interp.results.environment import peak_memory
from interp.results.estimate import Estimate

if TYPE_CHECKING:
    from interp.discovery import Evaluation
    from interp.discovery.disagreement import Disagreement
    from interp.results import Circuit, Run
    from interp.tasks import Audit

TOP = 20


def print_discovery(run: "Run", circuit: "Circuit", audit: "Audit", found: "Evaluation | None", as_json: bool) -> None:
    """The result of `discover` on stdout."""
    if as_json:
        print_json(_object(run, circuit, audit, found))
        return
    _head(circuit, audit)
    _print_circuit(circuit)
    if found is not None:
        _evidence(found)
    _tail(run, circuit, found)


def print_evaluation(run: "Run", circuit: "Circuit", audit: "Audit", found: "Evaluation", as_json: bool) -> None:
    """The result of `evaluate` on stdout."""
    if as_json:
        print_json(_object(run, circuit, audit, found))
        return
    _head(circuit, audit)
    _evidence(found)
    _tail(run, circuit, found)


def _head(circuit: "Circuit", audit: "Audit") -> None:
    out = stdout()
    out.print(f"[bold]{circuit.task}[/] in [bold]{circuit.model}[/], method {circuit.method}")
    for check in audit.checks:
        if check.name in ("accuracy", "effect") or not check.ok:
            out.print(("  " if check.ok else "  warning: ") + check.detail, markup=False, soft_wrap=True)
    for name, reading in circuit.provenance.get("readings", {}).items():
        out.print(f"  {name}: {Estimate.from_dict(reading)}", markup=False, soft_wrap=True)
    out.print()


def _print_edges(circuit: "Circuit", unit: str) -> None:
    facts, total = circuit.provenance, len(circuit.edges) + len(circuit.candidate_edges)
    frame = circuit.edge_frame()[["rank", "edge", "score"]]
    frame.columns = ["rank", "edge", f"effect ({unit})"]
    how = f"{facts['exact']} of {total} scored exactly" if "exact" in facts else f"{total} scored by {circuit.method}"
    title = f"{len(circuit.edges)} edges; {how}"
    print_table(frame, title, rows=max(TOP, min(len(circuit.edges), 2 * TOP)))
    _print_missed(facts, "edges")


def _print_circuit(circuit: "Circuit") -> None:
    unit = circuit.provenance.get("unit") or "metric"
    if circuit.candidate_edges:
        _print_edges(circuit, unit)
        return
    frame = circuit.frame(candidates=True)[["rank", "label", "score", "member"]]
    frame.columns = ["rank", "node", f"effect ({unit})", "in the circuit"]
    facts = circuit.provenance
    how = (
        f"{facts['exact']} of {len(circuit.scores)} nodes scored exactly"
        if "exact" in facts
        else (f"{len(circuit.scores)} nodes scored by {circuit.method}")
    )
    print_table(frame, f"{len(circuit.nodes)} nodes; {how}", rows=max(TOP, min(len(circuit.nodes), 2 * TOP)))
    _print_missed(facts, "nodes")


def _print_missed(facts: dict, what: str) -> None:
    if "missed" in facts:
        bound = facts["missed"]
        stdout().print(
            f"with {100 * bound['confidence']:.0f} % confidence at most {bound['at_most']} of the "
            f"{bound['of']} other {what} have an effect above {bound['exceed']:.3g}"
        )
    stdout().print()


def print_disagreement(run: "Run", found: "Disagreement", as_json: bool) -> None:
    """The result of `disagreement` on stdout."""
    from interp.discovery.disagreement import REASONS

    if as_json:
        print_json({"unit": found.unit, "nodes": records(found.frame()), "seed": run.seed, "run": str(run.path)})
        return
    print_table(found.frame().drop(columns="why"), f"effects of nodes in {found.unit}", rows=TOP)
    for reason in found.frame()["reason"].unique():
        stdout().print(f"{reason}: {REASONS[reason]}", soft_wrap=True)
    stdout().print(f"written to {run.path}", soft_wrap=True)


def _evidence(found: "Evaluation") -> None:
    print_table(found.frame().drop(columns="note"), "on held-out prompts")
    stdout().print(random_controls(found), soft_wrap=True)
    stdout().print()
    print_table(found.grouped, "removed together, against the sum of single removals")
    stdout().print()


def random_controls(found: "Evaluation") -> str:
    """How the circuit compares with random ones, a line for each kind."""
    return "\n".join(str(control) for control in found.controls)


def _tail(run: "Run", circuit: "Circuit", found: "Evaluation | None") -> None:
    seconds = run.info["timings"]
    spent = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items() if name != "total")
    forwards = circuit.provenance.get("forwards")
    if forwards is not None:
        spent += f"; {forwards:.0f} forwards to score"
    stdout().print(f"{spent}; {gigabytes(peak_memory()['ram_bytes'])} of memory at most")
    report = run.path / "report.html"
    stdout().print(f"written to {report if report.exists() else run.path}", soft_wrap=True)


def accuracy(audit: "Audit") -> "Estimate | float | None":
    """How often the model is right on the task, where the metric can tell."""
    return next((check.value for check in audit.checks if check.name == "accuracy"), None)


def _object(run: "Run", circuit: "Circuit", audit: "Audit", found: "Evaluation | None") -> dict[str, Any]:
    frame: pd.DataFrame = circuit.frame()[["name", "label", "score"]]
    result = {
        "model": circuit.model,
        "task": circuit.task,
        "method": circuit.method,
        "seed": run.seed,
        "nodes": records(frame),
        "edges": records(circuit.edge_frame().drop(columns=["rank", "member"])),
        "candidates": len(circuit.scores),
        "accuracy": accuracy(audit),
        "task_ok": audit.ok,
        "evaluation": None,
        "seconds": run.info["timings"],
        "memory": peak_memory(),
        "run": str(run.path),
    }
    if found is not None:
        result["evaluation"] = {
            "statistics": records(found.frame()),
            "grouped": records(found.grouped),
            "faithfulness": found.faithfulness,
            "random_p": {control.kind: control.p for control in found.controls},
        }
    return result
