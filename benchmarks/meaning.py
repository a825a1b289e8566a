"""How near every rule set comes to the exact effect on real models, beside its cost, and how well `auto`'s bound holds.

For SmolLM2 (IOI, greater-than), MiniLM (sentence similarity) and rxnmapper (masked atoms), heads and MLPs apart:
correlation, rank correlation, recovered effect mass and regret of every rule set against exact patching (`ablation`)
with the same counterfactual, with 95 % intervals over prompts and the split-half ceiling of the exact effects.

Run: python -m benchmarks.meaning [--models smollm2-135m,rxnmapper] [--n 32] [--out benchmarks/results/meaning.json]
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

import interp
from benchmarks.similarity import similarity_task
from interp.discovery import nodes
from interp.discovery.auto import SHORTLISTS, missed_bound, shortlist
from interp.discovery.iterated import iterated_scores
from interp.discovery.nodes import source
from interp.effects import RULE_SETS, effects
from interp.hooks import Counterfactual
from interp.results.estimate import cluster_numbers

CASES = (
    ("smollm2-135m", "ioi"), ("smollm2-135m", "greater-than"), ("minilm-l6", "similarity"),
    ("rxnmapper", "atom-mapping"),
)
TOP = 20
DRAWS = 200


def case(model_name: str, task_name: str, n: int, seed: int):
    """(model, clean, corrupt, metric, clusters) of one row of the benchmark."""
    model = interp.load(model_name)
    if task_name == "similarity":
        task = similarity_task(model, n, seed)
    else:
        task = interp.task(task_name, model=model, n=n, seed=seed)
    return model, task


def statistics(exact: np.ndarray, approx: np.ndarray, top: int) -> dict[str, float]:
    """Agreement of two score vectors [node]: r, rank correlation, recovered mass of the top, regret.

    Mass: sum of |exact| over the approximation's `top` nodes, over that of the exact top. Regret: 1 minus the exact
    |effect| of the approximation's first node, relative to the largest.
    """
    best, chosen = np.argsort(-np.abs(exact))[:top], np.argsort(-np.abs(approx))[:top]
    size = np.abs(exact)
    return {
        "r": float(np.corrcoef(exact, approx)[0, 1]), "rho": float(spearmanr(exact, approx)[0]),
        "mass": float(size[chosen].sum() / size[best].sum()), "regret": float(1 - size[chosen[0]] / size[best[0]]),
    }


def intervals(exact: np.ndarray, approx: np.ndarray, clusters, top: int, seed: int) -> dict[str, list[float]]:
    """Each statistic with its cluster-bootstrap interval; exact, approx [node, prompt]."""
    groups = cluster_numbers(clusters, exact.shape[1])
    members = [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]
    generator, drawn = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        rows = np.concatenate([members[i] for i in generator.integers(len(members), size=len(members))])
        drawn.append(statistics(exact[:, rows].mean(1), approx[:, rows].mean(1), top))
    value = statistics(exact.mean(1), approx.mean(1), top)
    return {k: [value[k], *np.quantile([d[k] for d in drawn], [0.025, 0.975]).tolist()] for k in value}


def ceiling(exact: np.ndarray, clusters, top: int, seed: int) -> dict[str, float]:
    """What the exact effects of one half of the prompts say about those of the other: mean over 50 random halves."""
    groups = cluster_numbers(clusters, exact.shape[1])
    generator, found = np.random.default_rng(seed), []
    for _ in range(50):
        order = generator.permutation(groups.max() + 1)
        half = np.isin(groups, order[: len(order) // 2])
        found.append(statistics(exact[:, half].mean(1), exact[:, ~half].mean(1), top))
    return {k: float(np.mean([f[k] for f in found])) for k in found[0]}


def bound_coverage(exact: np.ndarray, linear: dict[str, np.ndarray], trials: int, seed: int) -> dict[str, float]:
    """Share of trials in which the number of missed larger effects is within the stated bound; budget: a fifth."""
    budget, size = max(8, len(exact) // 5), np.abs(exact)
    sample = max(4, budget // 4)
    short = shortlist([*linear.values()], budget - sample)
    rest = np.setdiff1d(np.arange(len(exact)), short)
    held, mass = 0, []
    for trial in range(trials):
        drawn = np.random.default_rng(seed + trial).choice(rest, sample, replace=False)
        bound = missed_bound(size[drawn], len(rest))
        held += int((size[np.setdiff1d(rest, drawn)] > bound["exceed"]).sum() <= bound["at_most"])
        seen = np.concatenate([short, drawn])
        top = np.argsort(-size)[: min(TOP, max(3, len(exact) // 10))]
        mass.append(np.sort(size[seen])[::-1][: len(top)].sum() / size[top].sum())
    return {"covered": held / trials, "trials": trials, "mass": float(np.mean(mass)), "budget": budget}


def run_case(model_name: str, task_name: str, n: int, seed: int) -> dict:
    """All rule sets on one model and task."""
    model, task = case(model_name, task_name, n, seed)
    universe = nodes(model)
    sources = [source(node) for node in universe]
    baseline = Counterfactual(task.corrupt)
    found, seconds = {}, {}
    for rules in RULE_SETS:
        start = time.process_time()
        result = effects(model, task.clean, sources, task.metric, rules, baseline=baseline)
        seconds[rules] = time.process_time() - start
        found[rules] = result.values.double().numpy()
    exact = found["ablation"]
    heads = np.array([node.head is not None for node in universe])
    report = {"model": model_name, "task": task_name, "n": len(task), "seed": seed, "nodes": len(universe), "rows": {}}
    for kind, mask in (("heads", heads), ("mlps", ~heads)):
        if mask.sum() < 4:
            continue
        top = min(TOP, int(mask.sum()) // 3)
        rows = {r: {**intervals(exact[mask], v[mask], task.clusters, top, seed),
                    "cost": seconds[r] / seconds["ablation"]} for r, v in found.items() if r != "ablation"}
        halves = ceiling(exact[mask], task.clusters, top, seed)
        rows["split half of the exact effect"] = {k: [v] for k, v in halves.items()}
        report["rows"][kind] = rows
    start = time.process_time()
    scores, _ = iterated_scores(model, task, universe, sources, baseline=baseline)
    cost = (time.process_time() - start) / seconds["ablation"]
    for kind, mask in (("heads", heads), ("mlps", ~heads)):
        if mask.sum() >= 4:
            top = min(TOP, int(mask.sum()) // 3)
            value = statistics(np.abs(exact.mean(1))[mask], scores[mask], top)
            row = {**{k: [v] for k, v in value.items()}, "cost": cost}
            report["rows"][kind]["cdt-iterated (against |effect|)"] = row
    linear = {rules: found[rules].mean(1) for rules in SHORTLISTS}
    report["bound"] = bound_coverage(exact.mean(1), linear, 200, seed)
    return report


def show(report: dict) -> None:
    """Print one case."""
    console = Console(width=150)
    for kind, rows in report["rows"].items():
        title = f"{report['model']}, {report['task']}: {kind} (n={report['n']} prompts, seed {report['seed']})"
        table = Table("rule set", "r", "rank correlation", "recovered mass", "regret", "cost / exact", title=title)
        for name, row in rows.items():
            cells = [_cell(row[k]) for k in ("r", "rho", "mass", "regret")]
            table.add_row(name, *cells, f"{row['cost']:.3f}" if "cost" in row else "")
        console.print(table)
    b = report["bound"]
    console.print(f"bound of auto at a fifth of the sources ({b['budget']}): covered in {b['covered']:.3f} of "
                  f"{b['trials']} trials; recovered mass {b['mass']:.3f} (goal >= 0.98)\n")


def _cell(value: list[float]) -> str:
    return f"{value[0]:.3f}" + (f" [{value[1]:.2f}, {value[2]:.2f}]" if len(value) == 3 else "")


def main(models: str = "", n: int = 32, seed: int = 0, out: Path = Path("benchmarks/results/meaning.json")) -> None:
    """Run the cases (all, or those of `models`) and keep their numbers as JSON."""
    torch.set_num_threads(2)
    chosen = [c for c in CASES if not models or c[0] in models.split(",")]
    known = json.loads(out.read_text()) if out.exists() else {}
    for model_name, task_name in chosen:
        report = run_case(model_name, task_name, n, seed)
        show(report)
        known[f"{model_name}/{task_name}"] = report
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(known, indent=1))


if __name__ == "__main__":
    typer.run(main)
