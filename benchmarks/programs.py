"""Transformer Programs: a training step, and running the program, beside what the reference implementation takes.

The reference's figures were measured once, on one quiet core (its shipped code, torch 2.13, 512 rows a step). They are
milliseconds of another day, not a ratio within one run, so what counts is the order of magnitude. The third table is
what the trained programs of the garden reach, beside the paper (Friedman, Wettig & Chen 2023, arXiv 2306.01128,
table 1: the best of 5 seeds and 8 sizes).
"""

import json
import time
from pathlib import Path

import numpy as np
import torch

import interp.garden
from benchmarks.timing import keep, show_rows
from interp.programs.configs import Config, config
from interp.programs.evaluate import predict, run
from interp.programs.hooked import build_program_model
from interp.programs.train import Trained, step_once
from interp.tasks.sequences import Dataset, dataset

REFERENCE_MS = {"hist": 34, "reverse": 123, "most_freq": 123, "dyck2": 356, "induction": 13}
REFERENCE_RUN_MS = 24.0  # one sequence, with pandas
PAPER = {"reverse": 0.9979, "hist": 1.0, "double_hist": 0.9840, "sort": 0.9983, "most_freq": 0.7569, "dyck1": 0.9930,
         "dyck2": 0.9909, "induction": 1.0}
GARDEN = Path(interp.garden.__file__).parent / "programs"
STEPS = 20


def step_ms(task: str, settings: Config, data: Dataset) -> float:
    """Median CPU milliseconds of a training step."""
    model = build_program_model(settings.sizes(data), 0).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.rate)
    times = []
    for step in range(STEPS + 3):
        start = time.process_time()
        step_once(model, optimiser, data.train, settings, 0, step)
        times.append(time.process_time() - start)
    return 1e3 * float(np.median(times[3:]))


def run_ms(task: str, data: Dataset, settings: Config) -> tuple[float, float]:
    """CPU milliseconds a sequence: one at a time, and 500 at a time."""
    program = Trained(build_program_model(settings.sizes(data), 0).eval(), data, settings, 0).program
    ids, mask = data.test.tokens[:500].clamp(max=len(program.vocab) - 1).numpy(), data.test.mask[:500].numpy()
    specials = {program.begin, program.end}
    sequences = [[word for word in data.words(row) if word not in specials] for row in data.test.tokens[:100]]
    start = time.process_time()
    for sequence in sequences:
        run(program, sequence)
    middle = time.process_time()
    predict(program, ids, mask)
    return 1e3 * (middle - start) / len(sequences), 1e3 * (time.process_time() - middle) / len(ids)


def trained() -> list[dict]:
    """A row for each trained program that ships: settings, seed, cost, scores with intervals, the paper's score."""
    rows = []
    for file in sorted(GARDEN.glob("*/metrics.json")):
        found = json.loads(file.read_text())
        settings, seconds = found["config"], found["cpu_seconds"]
        size = (f"{settings['n_layers']} layers, {settings['cat_heads']}+{settings['num_heads']} heads, "
                f"{settings['cat_mlps']}+{settings['num_mlps']} MLPs, {settings['cardinality']} values")
        row = {"task": found["task"], "size": size, "steps": settings["steps"], "seed": found["seed"],
               "cpu_seconds": seconds, "steps_per_second": round(settings["steps"] / seconds, 1)}
        for name in ("accuracy", "f1", "whole", "by_length", "answers"):
            score = found["scores"].get(name)
            row[name] = score and round(score["value"], 5)
            row[f"{name}_interval"] = score and [round(score["low"], 5), round(score["high"], 5)]
        more = {key: found.get(key) for key in ("other_seeds", "baselines")}
        rows.append(row | {"sampled_accuracy": found["sampled_accuracy"], "paper": PAPER.get(found["task"])} | more)
    return rows


def main() -> None:
    torch.set_num_threads(1)
    steps, runs = [], []
    for task, reference in REFERENCE_MS.items():
        data, settings = dataset(task, n=2_000), config(task)
        ours = step_ms(task, settings, data)
        steps.append({"task": task, "d_model": settings.sizes(data).d_model, "cpu_ms": round(ours, 1),
                      "steps_per_second": round(1e3 / ours, 1), "reference_ms": reference,
                      "ratio": round(ours / reference, 2)})
        one, many = run_ms(task, data, settings)
        runs.append({"task": task, "one_by_one_ms": round(one, 3), "batch_of_500_ms": round(many, 4),
                     "reference_ms": REFERENCE_RUN_MS, "ratio": round(one / REFERENCE_RUN_MS, 4)})
    show_rows("a training step of 512 rows", steps)
    show_rows("running a program (untrained), per sequence", runs)
    rows = trained()
    short = ("task", "steps", "seed", "cpu_seconds", "accuracy", "whole", "f1", "paper")
    show_rows("trained programs on held-out sequences", [{name: row[name] for name in short} for row in rows])
    keep("trained programs: settings, intervals, other seeds, baselines", rows)


if __name__ == "__main__":
    main()
