"""Every method of circuit discovery on programs whose circuit is known: `python -m benchmarks.truth`.

`--n 200 --seed 0` cases of `interp.programs.compile.suite`; each is kept as it is done, and `--resume` goes on behind
the last. Methods that cut edges one by one take long: they run on graphs of `MOST_EDGES` at most. Tables go to the
screen and to benchmarks/results/truth.json; `--page` writes docs/truth.md from it.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import RESULTS, conditions, write
from benchmarks.timing import recording
from benchmarks.truth_page import page
from benchmarks.truth_tables import show
from interp.discovery import METHODS, nodes
from interp.discovery.edges import EDGE_METHODS, edge_scores
from interp.discovery.graph import Graph
from interp.discovery.methods import Question, node_scores
from interp.discovery.truth import auroc, ranking
from interp.programs.compile.suite import Case, case, library_case
from interp.programs.compile.suite.generate import PROMPTS
from interp.results.files import atomic_write
from interp.results.progress import progress

PAGE = Path(__file__).parents[1] / "docs" / "truth.md"
PARTIAL = RESULTS / "truth.partial.jsonl"
BUDGET = 512
EDGE_PROMPTS = 16
SAME = {"head-by-head": "ablation"}
"""Methods that give the same numbers as another, more slowly (tests/discovery)."""
MOST_EDGES = 1000
EXACT_EDGES = ("auto", "path-patching", "acdc")
ITERATED = {"programs": ("reverse", "sort_unique"), "methods": ("cdt", "cdt-iterated", "ablation", "auto"), "draws": 20}
Scores = np.ndarray


def methods() -> dict[str, Callable[[Case, list], Scores]]:
    """What is scored at nodes: every method of `interp.discovery`, `auto` also with half the budget it would need."""

    def run(name: str, half: bool = False) -> Callable[[Case, list], Scores]:
        return lambda c, universe: node_scores(name, Question(
            c.compiled.model, c.task.part("discover"), universe, len(universe) // 2 if half else BUDGET, c.index))[0]

    return {name: run(name) for name in METHODS if name not in SAME} | {"auto, half budget": run("auto", half=True)}


def edge_methods(exact: bool) -> dict[str, Callable[[Case, Graph], Scores]]:
    """What is scored at edges: every method of `interp.discovery.edges`, the slow ones only where `exact`."""

    def run(name: str) -> Callable[[Case, Graph], Scores]:
        return lambda c, graph: np.asarray(
            edge_scores(c.compiled.model, c.task.part("discover"), graph, name, seed=c.index)[0])

    return {name: run(name) for name in EDGE_METHODS if exact or name not in EXACT_EDGES}


def few(c: Case) -> Case:
    """The case on `EDGE_PROMPTS` of its discover prompts: what varies on these is what its edges are judged on."""
    return replace(c, task=c.task.rows(c.task.split["discover"][:EDGE_PROMPTS]))


def measured(c: Case) -> dict:
    """One row of the record: what the case is, and how every method ranks its nodes and edges."""
    labels, universe = c.labels, nodes(c.compiled.model)
    members = set(c.truth.nodes)
    row = {
        "index": c.index, "name": c.name, "trap": c.trap, "kind": c.kind, "base": c.base, "norm": c.norm,
        "rotated": c.rotated, "members": sum(labels.values()), "nodes": len(labels),
        "idle": [len([n for n in c.idle if n in members]), len([n for n in c.idle if n not in members])],
        "readers": len(c.negatives["reader"]), "silent": len(c.silent), "scores": {}, "edges": {}, "seconds": {},
    }
    for name, method in methods().items():
        start = time.process_time()
        scores = dict(zip(universe, np.abs(method(c, universe))))
        row["seconds"][name] = round(time.process_time() - start, 4)
        found = ranking([labels[n] for n in labels], [scores[n] for n in labels])
        for kind, off in c.negatives.items():
            mine = [n for n in labels if labels[n] or n in off]
            found[kind] = auroc([labels[n] for n in mine], [scores[n] for n in mine]) if off else None
        row["scores"][name] = _rounded(found)
    c, graph = few(c), Graph(c.compiled.model)
    true, idle = c.edge_labels(graph.edges)
    row["edge counts"] = [int((true & ~idle).sum()), int((~idle).sum()), int((true & idle).sum())]
    for name, method in edge_methods(len(graph.edges) <= MOST_EDGES).items():
        start = time.process_time()
        scores = method(c, graph)
        row["seconds"][f"edges: {name}"] = round(time.process_time() - start, 4)
        row["edges"][name] = _rounded(ranking(true[~idle], scores[~idle]))
    return row


def _rounded(found: dict) -> dict:
    return {name: None if value is None else round(value, 5) for name, value in found.items()}


def iterated() -> list[dict]:
    """One-pass `cdt` beside the paper's search, on programs that act through queries and keys."""
    rows = []
    for program in ITERATED["programs"]:
        for seed in range(ITERATED["draws"]):
            c = library_case(program, seed)
            universe = nodes(c.compiled.model)
            for name in ITERATED["methods"]:
                scores = dict(zip(universe, methods()[name](c, universe)))
                found = ranking([*c.labels.values()], [scores[n] for n in c.labels])
                rows.append({"program": program, "seed": seed, "method": name} | _rounded(found))
    return rows


def rows(n: int, seed: int, resume: bool) -> Iterator[dict]:
    """The rows of `n` cases; those that a killed run of the same settings kept are taken over with `resume`."""
    settings = {"seed": seed, "most_edges": MOST_EDGES}
    kept = _kept(settings) if resume else {}
    PARTIAL.parent.mkdir(exist_ok=True)
    atomic_write(PARTIAL, "".join(json.dumps(line) + "\n" for line in (settings, *kept.values())))
    with PARTIAL.open("a") as file:
        for index in progress(range(n), "cases"):
            if index not in kept:
                kept[index] = measured(case(index, seed))
                file.write(json.dumps(kept[index]) + "\n")
                file.flush()
            yield kept[index]


def _kept(settings: dict) -> dict[int, dict]:
    """Rows by index of the file of an unfinished run, its broken last line left out; none of other settings."""
    lines = PARTIAL.read_text().splitlines() if PARTIAL.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    if not found or found[0] != settings:
        return {}
    return {row["index"]: row for row in found[1:]}


def main() -> None:
    """Run, show and record; or write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=200, help="cases (200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on behind the last case of a killed run")
    parser.add_argument("--page", action="store_true", help="write docs/truth.md from the record and run nothing")
    arguments = parser.parse_args()
    if arguments.page:
        PAGE.write_text(page(json.loads((RESULTS / "truth.json").read_text())))
        print(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")
        return
    torch.set_num_threads(1)
    before = conditions()
    found = list(rows(arguments.n, arguments.seed, arguments.resume))
    with recording() as tables:
        show(found, iterated())
    spent = round(sum(sum(row["seconds"].values()) for row in found))
    more = {"n": arguments.n, "prompts": PROMPTS, "seed": arguments.seed,
            "most_edges": MOST_EDGES, "edge_prompts": EDGE_PROMPTS, "scoring_cpu_seconds": spent}
    path = write("truth", before, tables, **more)
    PARTIAL.unlink()
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
