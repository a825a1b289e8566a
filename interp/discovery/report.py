"""The report of a discovery: the circuit, its held-out evidence, and what the evidence cannot say."""

import pandas as pd

from interp.discovery.evaluate import Evaluation
from interp.results import Circuit
from interp.results.report import Section


def _size(circuit: Circuit) -> str:
    """4 of 12 nodes, or 13 of 81 edges."""
    if circuit.candidate_edges:
        return f"{len(circuit.edges)} of {len(circuit.edges) + len(circuit.candidate_edges)} edges"
    return f"{len(circuit.nodes)} of {len(circuit.scores)} nodes"


def sections(evaluation: Evaluation, audit: pd.DataFrame | None = None) -> list[Section]:
    """Sections for `run.save_report`: verdict, circuit, curve, single and grouped effects, pairs, how it was done."""
    circuit, f = evaluation.circuit, evaluation.faithfulness
    p = circuit.provenance
    verdict = (
        f"{_size(circuit)} keep {f} of what {circuit.model} does on {circuit.task}, "
        f"measured on prompts that were used neither for the scores nor for the size.\n\n"
        + "".join(f"{str(control)[0].upper()}{str(control)[1:]}.\n\n" for control in evaluation.controls) +
        "Faithfulness is (E m(C) - E m(empty)) / (E m(M) - E m(empty)): 1 means that the circuit alone does what the "
        "model does, everything else being at the counterfactual prompts' activations."
    )
    how = pd.DataFrame(
        [{"what": key, "value": str(value)} for key, value in p.items() if key not in ("curve", "readings", "ledger")]
        + [{"what": f"evaluation {key}", "value": str(value)} for key, value in evaluation.cost.items()]
    )
    looked = p.get("ledger", {}) | evaluation.ledger
    ledger = pd.DataFrame([{"prompts": part, "what was looked at on them": what} for part, what in looked.items()])
    found = [
        Section("What was found", verdict, evaluation.frame()),
        Section("The circuit", "What the kept edges of each node change, summed without their signs (discover prompts)."
                if circuit.candidate_edges else
                "Every node's mean effect on the metric (discover prompts); members outlined.",
                circuit.frame(candidates=True).head(60), circuit.figure()),
        Section("Faithfulness against size", "", evaluation.curve, evaluation.figure(),
                note="Bands are 95 % cluster-bootstrap intervals over prompts."),
        Section("Both directions", "Removing one node (noising) and restoring one alone (denoising). Noising hides "
                "backups, denoising hides nodes that only work together.", evaluation.directions),
        Section("Grouped removal", "Leading nodes removed together, against the sum of their single effects: where "
                "together is far larger, they stand in for each other and a single knock-out shows nothing.",
                evaluation.grouped),
        Section("Pairs", "Interaction e_ab - e_a - e_b: above zero, each backs the other up; below, both are needed "
                "for the same effect.", evaluation.pairs.head(20)),
        Section("Does every member earn its place", "What removing one member from the circuit changes, against what "
                "random nodes add to random circuits.", evaluation.minimal),
        Section("Ledger", "Everything that was measured before the verdict, by part of the prompts: the verdict's "
                "prompts were used for nothing else.", ledger),
        Section("How it was done", "", how),
    ]
    if circuit.edges:
        found.insert(2, Section("The edges", "What one node writes and another reads, as query (q), key (k), value (v) "
                                "or input (in); the score is what cutting the edge, or restoring it alone, changes.",
                                circuit.edge_frame()[["rank", "edge", "score"]].head(60),
                                circuit.graph_figure()))
    if p.get("readings"):
        table = pd.DataFrame([{"reading": name, **value} for name, value in p["readings"].items()])
        found.insert(1, Section("Readings", "Measured beside the effects, and not causal: they say what an activation "
                                "holds, not that the model uses it.", table))
    if audit is not None:
        found.insert(1, Section("The prompts", "What was checked about the task before anything was scored.", audit))
    return found
