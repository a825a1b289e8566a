"""Linear regression in context across architectures at matched parameters, a learning rate chosen for each.

Fixed before anything was seen: y = w . x with d = 3 and 8 points, the same number of steps of 64 prompts for every
training; widths such that parameters are nearest to those of the GPT; two rates with seed 0, and the one that errs
least on prompts to choose by is trained with another seed. The statistic, measured on other prompts, is the mean over
k = 1 .. 7 of the squared error over d, minus that of least squares, seed by seed: two seeds make no interval.
Added when half of them had not left their plateau: 4000 steps at the lower rate for those, seed 0.
Run: python -m benchmarks.icl_architectures --cells FILE [--most N] (resumable); writes
benchmarks/results/icl_architectures.json and docs/figures/icl_architectures.png.
"""

import argparse
from functools import cache
from pathlib import Path
from time import process_time

import torch

from benchmarks.cells import Cell, measured, read
from benchmarks.picture import picture
from benchmarks.record import RESULTS, conditions, write
from interp.garden.catalog import catalog
from interp.icl.curves import run
from interp.icl.models import build
from interp.icl.training import train
from interp.results.estimate import bootstrap_mean
from interp.results.plots import curve_with_band
from interp.tasks.functions import function_task

TASK, N, STEPS, BATCH = "linear:d=3", 8, 1500, 64
LAYERS = {"gpt": 2, "sigmoid-attention": 2, "gla": 2, "mamba": 2, "looped": 4, "lstm": 2}
RATES, SEEDS = (1e-3, 3e-3), (0, 1)
LONG, SLOW_STARTERS = 4000, ("gpt", "sigmoid-attention", "looped", "gla")
PROMPTS, SELECT, TEST = 1000, 10_000, 20_000
WIDTHS, BUDGET = range(8, 129, 8), 32  # the GPT's width, whose parameters the others match


def sizes(name: str, d_model: int) -> dict[str, int]:
    """The sizes of one contender at a width."""
    there = next(entry.sizes for entry in catalog() if entry.name == name)
    wanted = {"d_model": d_model, "n_layers": LAYERS[name], "n_heads": 2, "d_state": 8}
    return {size: value for size, value in wanted.items() if size in there}


@cache
def count(name: str, d_model: int) -> int:
    """Parameters of a contender at a width."""
    return sum(p.numel() for p in build(name, function_task(TASK), n=N, **sizes(name, d_model)).parameters())


@cache
def width(name: str) -> int:
    """The width at which a contender has the number of parameters nearest to the GPT's."""
    return min(WIDTHS, key=lambda d: abs(count(name, d) - count("gpt", BUDGET)))


def measure(architecture: str, rate: float, seed: int, steps: int = STEPS) -> Cell:
    """One training, its curves on the prompts to choose by and on those to report."""
    task = function_task(TASK)
    model = build(architecture, task, n=N, seed=seed, **sizes(architecture, width(architecture)))
    started = process_time()
    train(model, task, n=N, steps=steps, batch=BATCH, rate=rate, warmup=200, seed=seed)
    seconds = process_time() - started
    found = {"cpu_seconds": seconds, "parameters": count(architecture, width(architecture)),
             "width": width(architecture)}
    for part, drawn in (("select", SELECT), ("test", TEST)):
        curves = run(model, task, n=N, prompts=PROMPTS, seed=drawn, baselines=("least squares",), bayes=False)
        over = (curves.scores["model"] - curves.scores["least squares"])[:, 1:].mean(1)
        found[part] = {"curve": curves.mean().tolist(), "least_squares": curves.mean("least squares").tolist(),
                       "excess": over.tolist() if part == "test" else float(over.mean())}
    print(architecture, rate, seed, steps, round(seconds), [round(v, 3) for v in found["test"]["curve"]], flush=True)
    return found


def _long(cell: Cell) -> bool:
    return "steps" in cell["key"]


def chosen(cells: list[Cell], name: str) -> float:
    """The rate whose model of seed 0 errs least on the prompts to choose by."""
    mine = [c for c in cells if (c["key"]["architecture"], c["key"]["seed"]) == (name, SEEDS[0]) and not _long(c)]
    return min(mine, key=lambda cell: cell["select"]["excess"])["key"]["rate"]


def summary(cells: list[Cell]) -> list[Cell]:
    """A row a contender: its rate, the statistic of each seed with its interval over prompts, its curves."""
    rows = []
    for name in LAYERS:
        rate = chosen(cells, name)
        own = [c for c in cells if c["key"]["architecture"] == name]
        mine = [c for c in own if c["key"]["rate"] == rate and not _long(c)]
        seeds = [bootstrap_mean(c["test"]["excess"], unit="prompts", seed=0).to_dict() for c in mine]
        longer = [{"steps": c["key"]["steps"], "curve": c["test"]["curve"], "excess": bootstrap_mean(
            c["test"]["excess"], unit="prompts", seed=0).to_dict()} for c in own if _long(c)]
        rows.append({
            "architecture": name, "rate": rate,
            "parameters": mine[0]["parameters"], "width": mine[0]["width"], "seeds": len(mine),
            "excess_by_seed": seeds, "longer": longer,
            "curve": torch.tensor([c["test"]["curve"] for c in mine]).mean(0).tolist(),
            "curve_by_seed": [c["test"]["curve"] for c in mine],
            "cpu_seconds": sum(c["cpu_seconds"] for c in mine) / len(mine),
            "least_squares": mine[0]["test"]["least_squares"]})
    return rows


def figure(rows: list[Cell]):
    """Error by the number of examples for every contender, bands from the least to the largest of the seeds."""
    drawn = None
    for row in rows:
        every = torch.tensor(row["curve_by_seed"])
        drawn = curve_with_band(range(N), row["curve"], every.amin(0), every.amax(0), name=row["architecture"],
                                figure=drawn, title="Linear regression in context at matched parameters",
                                x_title="examples in the prompt", y_title="error")
    drawn.add_scatter(x=list(range(N)), y=rows[0]["least_squares"], name="least squares", mode="lines",
                      line={"color": "#000000", "width": 1})
    return drawn


def report(cells: list[Cell], before: dict) -> None:
    """The results, and the figure."""
    rows = summary(cells)
    picture(figure(rows), RESULTS.parents[1] / "docs/figures/icl_architectures.png", 1000, 480)
    tried = [{"key": c["key"], "select": c["select"]["excess"]} for c in cells]
    write("icl_architectures", before, rows, task=TASK, n=N, steps=STEPS, batch=BATCH, rates=RATES, seeds=SEEDS,
          prompts=PROMPTS, tried=tried)


def main() -> None:
    """Measure what is missing; with everything there, write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--most", type=int, help="how many trainings to do now; results are written by a whole run")
    parser.add_argument("--written", action="store_true", help="train nothing more, write what has been measured")
    options = parser.parse_args()
    before = conditions()
    if options.written:
        return report(read(options.cells), before)
    first = [{"architecture": name, "rate": rate, "seed": SEEDS[0]} for rate in RATES
             for name in LAYERS]
    cells = list(measured(options.cells, first, measure, options.most))
    if len(cells) < len(first):
        return
    more = [{"architecture": name, "rate": chosen(cells, name), "seed": seed} for seed in SEEDS[1:] for name in LAYERS]
    more += [{"architecture": name, "rate": RATES[0], "seed": SEEDS[0], "steps": LONG} for name in SLOW_STARTERS]
    cells += list(measured(options.cells, more, measure, options.most))
    if len(cells) < len(first) + len(more):
        return
    report(cells, before)


if __name__ == "__main__":
    main()
