"""Faithfulness against size for every method on real tasks in SmolLM2: `python -m benchmarks.curves`.

Scores come from the `discover` prompts, curves from the `test` prompts, which nothing has been chosen on. `auto` is
the ranking stored in circuits/found (the same prompts); the others are computed here. Every row is kept as it is done,
and a second call goes on behind the last. `--figure` draws docs/figures/curves.png from what is there.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import interp
from benchmarks.picture import picture
from benchmarks.record import RESULTS
from interp.discovery.curve import faithfulness
from interp.discovery.methods import Question, node_scores
from interp.discovery.nodes import nodes
from interp.discovery.runs import Circuits
from interp.results import Circuit, plots

FOUND = Path(__file__).parents[1] / "circuits" / "found"
STORE = RESULTS / "curves.json"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "curves.png"
TASKS = {"ioi": "ioi", "greater-than": "greater-than", "agreement": "agreement:attractor=opposite"}
METHODS = ("auto", "tangent", "integrated", "relp", "frozen", "direct", "atp-star", "gradient-norm", "random", "cdt")
SIZES = (0, 2, 5, 10, 20, 30, 45, 60, 80, 100, 130, 160, 200, 250, 300)
WITHIN = (0.8, 1.2)


def rankings(task_name: str, model, task, method: str, universe) -> tuple[dict, dict]:
    """({node: score}, facts) of one method; "auto" from the stored circuit."""
    if method == "auto":
        stored = Circuit.load(FOUND / f"{task_name}.json")
        return stored.scores, {"forwards": stored.provenance["forwards"], "stored": f"circuits/found/{task_name}.json"}
    start = time.process_time()
    scores, facts = node_scores(method, Question(model, task.part("discover"), universe, 512, 0))
    seconds = round(time.process_time() - start, 1)
    return dict(zip(universe, scores)), {"forwards": facts["forwards"], "seconds": seconds}


def curve(task_name: str, method: str, model) -> dict:
    """One method's row: sizes, faithfulness with its interval on the test prompts, the smallest size that holds."""
    stored = Circuit.load(FOUND / f"{task_name}.json").provenance
    name, _, options = TASKS[task_name].partition(":")
    given = dict(option.split("=") for option in options.split(",") if option)
    task = interp.task(name, model=model, n=int(stored["n"]), seed=int(stored["seed"]), **given)
    universe = nodes(model)
    scores, facts = rankings(task_name, model, task, method, universe)
    order = sorted(universe, key=lambda node: (-abs(scores[node]), node.name))
    held = task.part("test")
    circuits = Circuits(model, held, universe)
    sizes = [k for k in SIZES if k <= len(order)]
    values = circuits.keep([order[:k] for k in sizes])
    estimates = [faithfulness(v, circuits.empty, circuits.full, held.clusters) for v in values]
    inside = [WITHIN[0] <= e.value <= WITHIN[1] for e in estimates]
    last_out = max((i for i, ok in enumerate(inside) if not ok), default=-1)
    return {
        "task": task_name, "method": method, "prompts": len(held), "clusters": len(np.unique(held.clusters)),
        "sizes": sizes, "faithfulness": [e.value for e in estimates], "low": [e.low for e in estimates],
        "high": [e.high for e in estimates], "smallest": sizes[last_out + 1] if last_out + 1 < len(sizes) else None,
        **facts,
    }


def figure(rows: list[dict]):
    """One panel a task, one line a method, the band that counts as holding shaded."""
    from plotly.subplots import make_subplots

    tasks = list(dict.fromkeys(row["task"] for row in rows))
    drawn = make_subplots(rows=1, cols=len(tasks), subplot_titles=tasks, shared_yaxes=True)
    colours = dict(zip(METHODS, [plots.BLUE, *plots.LINES[1:], "#8da0cb", "#a6761d", "#999999", "#e7298a"]))
    for column, task in enumerate(tasks, 1):
        for row in (r for r in rows if r["task"] == task):
            control = row["method"] in ("random", "gradient-norm")
            f = np.array(row["faithfulness"])
            bars = {"array": np.array(row["high"]) - f, "arrayminus": f - np.array(row["low"]), "thickness": 0.7}
            drawn.add_scatter(
                x=row["sizes"], y=row["faithfulness"], name=row["method"], legendgroup=row["method"],
                showlegend=column == 1, mode="lines+markers", row=1, col=column, marker={"size": 5},
                line={"color": colours[row["method"]], "dash": "dot" if control else "solid",
                      "width": 3 if row["method"] == "auto" else 1.5},
                error_y=bars if row["method"] == "auto" else None,
            )
        drawn.add_hrect(*WITHIN, fillcolor=plots.GREY, opacity=0.15, line_width=0, row=1, col=column)
        drawn.update_xaxes(title="nodes kept", row=1, col=column)
    plots.styled(drawn, title="Held-out faithfulness of the best k nodes, SmolLM2", y_title="faithfulness")
    drawn.update_yaxes(range=[-1, 2])
    return drawn


def main() -> None:
    """Every row that is not there yet; then the figure, if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--figure", action="store_true", help="draw what is there, and compute nothing")
    asked = parser.parse_args()
    rows = json.loads(STORE.read_text())["rows"] if STORE.exists() else []
    if asked.figure:
        picture(figure(rows), FIGURE)
        return
    model = interp.load("smollm2-135m")
    for task in asked.tasks:
        for method in asked.methods:
            if not any(row["task"] == task and row["method"] == method for row in rows):
                rows.append(curve(task, method, model))
                STORE.write_text(json.dumps({"model": "smollm2-135m", "rows": rows}, indent=1) + "\n")
                print(task, method, rows[-1]["smallest"], flush=True)


if __name__ == "__main__":
    main()
