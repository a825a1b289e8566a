"""What trained regression models run, where it can be read, and what their upper blocks are worth ("shows" 2 and 4).

Models in FOLDER/<name>-s<seed>, as icl recipes train them: linear-3l, linear-6l (d = 5, 11 points), representation
(L = 1, d = 5, 16 points). Statistics, fixed before any of them was looked at:
    match   the verdict of `interp.icl.match` for each seed (500 prompts a condition), the chosen step of every family
            by depth over seeds, and the speed (nats a depth) against conditioning for models of six layers
    swap    at every active depth but the last with a best family: the step of the depth before in its place; which of
            "continued", "carried", "recomputed" the next read-out shows
    probe   R2 by depth of x, Phi(x), y and the best prediction at both kinds of tokens, k from 10 on (representation)
            or all (linear); the depth of the largest R2 of Phi, and by which that of the prediction passes half
    paste   error over the last half of k of blocks 1 .. on plain linear prompts, three embeddings, against random
            blocks and least squares
Run: python -m benchmarks.icl_algorithms --models FOLDER --cells FILE [--most N]; writes
benchmarks/results/icl_algorithms.json and docs/figures/icl_match*.png, icl_probes.png, icl_pasting.png.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import interp
from benchmarks.cells import Cell, finite, measured
from benchmarks.picture import picture
from benchmarks.record import conditions, write
from interp.depth.figures import panels
from interp.hooks import HookedModel
from interp.icl.curves import points_of
from interp.icl.match import Matching, match_algorithms
from interp.icl.match_figures import rates_frame
from interp.icl.match_weights import weight_matching
from interp.icl.pasting import paste
from interp.icl.probes import probe
from interp.icl.readouts import Readouts, fit_readouts
from interp.icl.swapping import swap
from interp.results import bootstrap_mean, plots
from interp.tasks.functions import FunctionTask, function_task

if TYPE_CHECKING:
    import plotly.graph_objects as go

TASK = {"linear-3l": "linear", "linear-6l": "linear", "representation": "representation"}
FIGURES = Path(__file__).parents[1] / "docs" / "figures"
SEEDS = range(5)
KEYS = [{"kind": kind, "model": name, "seed": seed} for kind, name in (
    ("probe", "representation"), ("match", "linear-3l"), ("match", "linear-6l"), ("paste", "representation"),
    ("probe", "linear-3l")) for seed in SEEDS]
START = 1


def opened(folder: Path, model: str, seed: int) -> tuple[HookedModel, FunctionTask, int]:
    """A trained model, its class of functions, and how many points its prompts have."""
    hooked, task = interp.load(str(folder / f"{model}-s{seed}")), function_task(TASK[model])
    hooked.name = f"{model}, seed {seed}"
    return hooked, task, points_of(hooked, task)


def match(hooked: HookedModel, task: FunctionTask, n: int, draw: bool) -> Cell:
    """The verdict and everything that it rests on."""
    readouts = fit_readouts(hooked, task, n)
    found = match_algorithms(hooked, task, n, readouts=readouts)
    verdict = found.verdict()
    if draw:
        name = hooked.name.split(",")[0]
        picture(found.figure(), FIGURES / f"icl_match_{name}.png", 1500, 520)
        picture(found.figure("conditioning 100, k > d"), FIGURES / f"icl_match_{name}_outside.png", 1500, 520)
    return {"verdict": verdict.algorithm, "reason": verdict.reason, "depths": verdict.frame().to_dict("records"),
            "frame": found.frame().to_dict("records"), "errors": found.error_frame().to_dict("records"),
            "rates": rates_frame(found).to_dict("records"),
            "variants": {name: family.variant for name, family in found.families.items()},
            "weights": weight_matching(hooked, task, found, readouts, prompts=60).to_dict("records"),
            "swaps": swaps(hooked, task, n, found, readouts)}


def swaps(hooked: HookedModel, task: FunctionTask, n: int, found: Matching, readouts: Readouts) -> list[Cell]:
    """At every active depth but the last: the step that its best family had one depth earlier, put in its place."""
    drawn, rows = task.sample(300, n, 1), []
    for depth in found.verdict().depths[1:-1]:
        steps, family = found.step[depth.best], found.families[depth.best]
        put = int(steps[depth.depth - 1])
        if not depth.active or put == steps[depth.depth]:
            continue
        one = swap(hooked, readouts, family, steps, depth.depth, put, drawn)
        rows += [{"family": depth.best, **row} for row in one.frame().to_dict("records")]
    return rows


def measure(folder: Path, kind: str, model: str, seed: int) -> Cell:
    """One cell."""
    print(kind, model, seed, flush=True)
    hooked, task, n = opened(folder, model, seed)
    if kind == "match":
        return match(hooked, task, n, draw=seed == 0)
    if kind == "probe":
        found = probe(hooked, task, n, since=10 if model == "representation" else 0, seed=seed)
        if seed == 0:
            picture(found.figure(), FIGURES / f"icl_probes_{model}.png", 1200, 490)
        return {"frame": found.frame().to_dict("records"), "rows": found.rows}
    found = paste(hooked, START, function_task("linear", d=task.d), n, steps=400, prompts=500, seed=seed)
    if seed == 0:
        picture(found.figure(), FIGURES / "icl_pasting.png", 1300, 480)
    return {"summary": found.summary().to_dict("records"), "frame": found.frame().to_dict("records")}


def tables(cells: list[Cell]) -> list[dict[str, Any]]:
    """What the docs say, over seeds."""
    rows = []
    for c in cells:
        if c["key"]["kind"] == "match":
            best = {d["depth"]: f"{d['best']} {d['score']:.2f}" for d in c["depths"] if d["active"]}
            rows.append({"model": f"{c['key']['model']}-s{c['key']['seed']}", "verdict": c["verdict"],
                         "reason": c["reason"], "best family by active depth": str(best),
                         "swapped": ", ".join(f"{s['swapped_at']}->{s['read_at']} {s['nearest']}" for s in c["swaps"])})
    return rows


def over_seeds(cells: list[Cell], model: str) -> pd.DataFrame:
    """One row an active depth and family: chosen steps of all seeds, SimE at home and outside as means over the seeds
    with their intervals, and that of random models."""
    found = [c for c in cells if c["key"]["kind"] == "match" and c["key"]["model"] == model]
    active = {d["depth"] for c in found for d in c["depths"] if d["active"]}
    frame = pd.concat([pd.DataFrame(c["frame"]).assign(seed=c["key"]["seed"]) for c in found])
    rows = []
    for (depth, family), part in frame[frame["depth"].isin(active)].groupby(["depth", "family"]):
        home, outside, control = (bootstrap_mean(part[column].to_numpy(dtype=float), unit="seeds")
                                  for column in ("at_home", "outside", "random_model"))
        rows.append({"depth": depth, "family": family, "steps": part["step"].tolist(), "seeds": len(part),
                     "at home": home.to_dict(), "outside": outside.to_dict(), "random model": control.to_dict()})
    return pd.DataFrame(rows)


def seeds_figure(frame: pd.DataFrame, model: str) -> "go.Figure":
    """Two heatmaps, families by depths: SimE in and out of distribution, means over seeds with their intervals."""
    import plotly.graph_objects as go

    figure = panels(["in distribution", "out of distribution, at the steps chosen in it"], columns=2, height=480,
                    title=f"{model}: similarity of errors, mean over {frame['seeds'].max()} seeds [95 % interval]")
    for column, part in enumerate(("at home", "outside"), 1):
        table = frame.pivot(index="family", columns="depth", values=part)
        text = [[f"{e['value']:.2f}<br>[{e['low']:.2f}, {e['high']:.2f}]" for e in row] for row in table.to_numpy()]
        figure.add_trace(go.Heatmap(
            z=[[e["value"] for e in row] for row in table.to_numpy()], x=[f"depth {d}" for d in table.columns],
            y=list(table.index), text=text, texttemplate="%{text}", zmin=0, zmax=1, colorscale=plots.SEQUENTIAL,
            showscale=False, xgap=1, ygap=1), row=1, col=column)
        figure.update_yaxes(showticklabels=column == 1, row=1, col=column)
    return figure.update_layout(margin={"l": 130})


def main() -> None:
    """Measure the models that are there and not measured yet, and write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--most", type=int)
    options = parser.parse_args()
    before = conditions()
    there = [key for key in KEYS if (options.models / f"{key['model']}-s{key['seed']}" / "model.safetensors").exists()]
    cells = list(measured(options.cells, there, partial(measure, options.models), options.most))
    summary = {}
    for model in ("linear-3l", "linear-6l"):
        frame = over_seeds(cells, model)
        picture(seeds_figure(frame, model), FIGURES / f"icl_match_{model}_seeds.png", 1300, 480)
        summary[model] = frame.to_dict("records")
    write("icl_algorithms", before, tables(cells), over_seeds=finite(summary), cells=cells)
    print(pd.DataFrame(tables(cells)).to_string())


if __name__ == "__main__":
    main()
