"""The cells of a sweep: each is a run folder as `interp discover` makes it, and a row of the sweep's table."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.results.errors import BadInput, InterpError

if TYPE_CHECKING:
    import pandas as pd

CELLS = "cells"
COLUMNS = ("task", "model", "method", "seed", "status", "nodes", "of", "edges", "of_edges", "faithfulness", "low",
           "high", "p_same_size_and_depths", "forwards", "seconds", "reason", "cell")
_STEPS = ("discover", "evaluate")


@dataclass(frozen=True)
class Cell:
    """One discovery: what `interp discover` is asked for."""

    task: str
    model: str
    method: str
    seed: int
    n: int = 96
    edges: bool = False
    budget: int | None = None
    evaluate: bool = True
    draws: int = 200

    @property
    def name(self) -> str:
        """Its folder: induction-garden-induction-2l-auto-s0."""
        words = (self.task, self.model[-80:], self.method, "edges" * self.edges, f"s{self.seed}")
        return "-".join("".join(c if c.isalnum() or c in "._-" else "-" for c in w).strip("-") for w in words if w)

    @property
    def config(self) -> dict[str, Any]:
        """What its run must have been made with."""
        same = ("task", "model", "method", "n", "budget", "evaluate", "draws")
        return {key: getattr(self, key) for key in same} | {"level": "edges" if self.edges else "nodes"}


def cells(
    tasks: Sequence[str], models: Sequence[str], methods: Sequence[str], seeds: Sequence[int], **settings: Any
) -> list[Cell]:
    """Every combination once, seeds innermost."""
    return list(dict.fromkeys(Cell(*words, **settings) for words in product(tasks, models, methods, seeds)))


def is_done(cell: Cell, out: Path) -> bool:
    """Whether its run is there and whole. Raises BadInput for one of other settings."""
    from interp.results import Run

    folder = out / CELLS / cell.name
    if not (folder / "result.json").exists():
        return False
    run = Run.open(folder)
    there = run.config | {"seed": run.seed}
    for key, wanted in (cell.config | {"seed": cell.seed}).items():
        if there.get(key) != wanted:
            was = there.get(key, "not set")
            raise BadInput(f"{folder} was made with {key} {was}, now {wanted}: choose another --out")
    return run.status == "done"


def finish_cell(cell: Cell, out: str | Path) -> str | None:
    """Compute what is left of a cell. Returns None, or in a line why it failed.

    The cell is the command itself, so that its folder is the one that `interp discover` makes and `--resume` goes on
    with; what the command would print is in the folder.
    """
    from interp.commands.circuits import discover

    folder = Path(out) / CELLS / cell.name
    try:
        if is_done(cell, Path(out)):
            return None
        _clear_unborn(folder)
        with redirect_stdout(io.StringIO()):
            discover(
                cell.task, cell.model, cell.method, out=folder, resume=(folder / "result.json").exists(), n=cell.n,
                edges=cell.edges, budget=cell.budget, evaluate=cell.evaluate, draws=cell.draws, seed=cell.seed,
                as_json=True,
            )
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        return first if isinstance(error, InterpError) else f"{type(error).__name__}: {first}"
    return None


def _clear_unborn(folder: Path) -> None:
    """Remove what a process killed in the first moments of a run left behind: settings, and no run yet."""
    from interp.results.lock import Lock

    if folder.is_dir() and not (folder / "result.json").exists() and not Lock.held(folder):
        for file in [folder / "config.toml", *folder.glob(".*.tmp")]:
            file.unlink(missing_ok=True)


def row(cell: Cell, out: Path, reason: str | None = None) -> dict[str, Any]:
    """The cell as a row of `COLUMNS`, read from its files; `reason` is why it failed."""
    from interp.discovery.evidence import read_compared

    folder = out / CELLS / cell.name
    found: dict[str, Any] = dict.fromkeys(COLUMNS)
    found |= {key: getattr(cell, key) for key in ("task", "model", "method", "seed")}
    found |= {"status": "done" if reason is None else "failed", "reason": reason, "cell": f"{CELLS}/{cell.name}"}
    if reason is not None:
        return found
    from interp.results import Run

    compared, spent = read_compared(folder, cell.name), Run.open(folder).info["timings"]
    circuit, faithfulness = compared.circuit, compared.faithfulness
    if faithfulness is not None:
        found |= {"faithfulness": faithfulness.value, "low": faithfulness.low, "high": faithfulness.high}
    return found | {
        "nodes": len(circuit.nodes), "of": len(circuit.scores), "p_same_size_and_depths": compared.matched_p,
        "edges": len(circuit.edges) or None, "of_edges": len(circuit.edges) + len(circuit.candidate_edges) or None,
        "forwards": circuit.provenance.get("forwards"), "seconds": round(sum(spent.get(k, 0.0) for k in _STEPS), 2),
    }


def summary(table: "pd.DataFrame", out: Path) -> "pd.DataFrame":
    """One row a task, model and method of a table of cells: over its seeds.

    Columns: task, model, method, done, failed, faithfulness (mean), low, high (bootstrap over seeds, nan for one),
    nodes (mean), same_nodes (mean Jaccard of the members of two seeds), forwards (mean), seconds (sum).
    """
    import numpy as np
    import pandas as pd

    from interp.results import bootstrap_mean

    found = []
    for key, group in table.groupby(["task", "model", "method"], sort=False):
        done = group[group["status"] == "done"]
        values = done["faithfulness"].dropna().astype(float)
        mean = bootstrap_mean(values, unit="seeds") if len(values) else None
        found.append(dict(zip(("task", "model", "method"), key)) | {
            "done": len(done), "failed": len(group) - len(done),
            "faithfulness": np.nan if mean is None else mean.value,
            "low": mean.low if len(values) > 1 else np.nan, "high": mean.high if len(values) > 1 else np.nan,
            "nodes": done["nodes"].astype(float).mean(), "same_nodes": _agreement(list(done["cell"]), out),
            "forwards": done["forwards"].astype(float).mean(), "seconds": done["seconds"].astype(float).sum(),
        })
    return pd.DataFrame(found)


def _agreement(folders: Sequence[str], out: Path) -> float:
    """Mean Jaccard overlap of the members of all pairs; nan for fewer than two."""
    from itertools import combinations

    import numpy as np

    from interp.discovery.overlap import jaccard
    from interp.results import Circuit

    members = [Circuit.load(out / folder / "circuit.json").nodes for folder in folders]
    pairs = [jaccard(a, b) for a, b in combinations(members, 2)]
    return float(np.mean(pairs)) if pairs else np.nan
