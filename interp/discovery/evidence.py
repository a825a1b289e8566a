"""A circuit to compare, with the evaluation that lies beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interp.discovery.overlap import DEPTH
from interp.results import BadFile, Circuit, Estimate, Run

MATCHED_P = "p_" + DEPTH.replace(" ", "_")
"""The column of p against random circuits, named after their kind: the first that an evaluation tells of."""


@dataclass(frozen=True)
class Compared:
    """A circuit under a short name, where it was read from, and what its evaluation says, where it has one."""

    name: str
    circuit: Circuit
    origin: str = ""
    faithfulness: Estimate | None = None
    matched_p: float = np.nan

    def row(self) -> dict[str, Any]:
        """The circuit as a row of `Comparison.evidence`."""
        c, f = self.circuit, self.faithfulness
        return {
            "name": self.name, "model": c.model, "task": c.task, "method": c.method, "members": len(c.nodes),
            "candidates": len(c.scores), "edges": len(c.edges), "scored_edges": len(c.edges) + len(c.candidate_edges),
            "seed": c.provenance.get("seed"),
            "n": c.provenance.get("n"), "faithfulness": np.nan if f is None else f.value,
            "low": np.nan if f is None else f.low, "high": np.nan if f is None else f.high,
            MATCHED_P: self.matched_p, "origin": self.origin,
        }


def read_compared(given: Circuit | str | Path, name: str) -> Compared:
    """The circuit with its evaluation: that of the run folder it lies in, or else what its provenance keeps.

    Raises BadFile for a file or folder that holds no circuit.
    """
    if isinstance(given, Circuit):
        return Compared(name, given, "", *_said(given.provenance.get("evaluation")))
    path = Path(given) / "circuit.json" if Path(given).is_dir() else Path(given)
    circuit = Circuit.load(path)
    found = circuit.provenance.get("evaluation")
    if path.name == "circuit.json" and (path.parent / "result.json").exists():
        found = Run.open(path.parent).info["summary"] or found
    try:
        return Compared(name, circuit, str(given), *_said(found))
    except ValueError as error:
        raise BadFile(f"{path}: its evaluation cannot be read ({error})") from error


def _said(evaluation: Any) -> tuple[Estimate | None, float]:
    """(faithfulness, p against random circuits of the same size and depths) of a saved evaluation."""
    if not isinstance(evaluation, dict) or "faithfulness" not in evaluation:
        return None, np.nan
    return Estimate.from_dict(evaluation["faithfulness"]), float(evaluation.get("random_p", {}).get(DEPTH, np.nan))
