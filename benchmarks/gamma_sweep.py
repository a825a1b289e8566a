"""How much momentum is best at which depth? The paper's gamma*(N) = 4.17 N^-0.74 against a sweep (paper 199).

Attention-only models with rotary positions, width 64, four heads, 1, 2 and 4 layers, 200 steps of 32 rows on recall and
on repeats; two learning rates for every gamma and depth on seed 0, three seeds at the better one.

Pre-stated before these models were trained (known: the project's notes on one layer and 300 steps of recall at one
rate, where every gamma from 0.15 to 8 came out at 0.99 or more):
- gamma is *identifiable* at a depth if only one gamma has a mean accuracy within 0.01 of the best;
- the power law is *supported* on a task if gamma is identifiable at all three depths and the 95 % interval over seeds
  of the slope of ln gamma* against ln N contains -0.74; *contradicted* if it is identifiable and does not; else the
  task and budget *cannot say*.

Run: python -m benchmarks.gamma_sweep [--models DIR], resumable; writes benchmarks/results and docs/figures.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.picture import picture
from benchmarks.record import RESULTS, conditions, write
from benchmarks.timing import recording, show_rows
from interp.garden.comparison.gamma import GammaSweep, gamma_sweep

TASKS, CLAIMED = ("recall", "repeats"), -0.74


def verdict(sweep: GammaSweep) -> str:
    """"supported", "contradicted" or "cannot say", by the rule above."""
    if any(len(near) > 1 for near in sweep.plateau()["as good"]):
        return "cannot say"
    slope = sweep.exponent()
    return "supported" if slope.low <= CLAIMED <= slope.high else "contradicted"


def main() -> None:
    """Train what is missing, print tables and verdicts, write JSON and the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gamma_sweep", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("runs/gamma"), help="where models are kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before, cells = conditions(), {}
    with recording() as tables:
        for task in TASKS:
            sweep = gamma_sweep(task, folder=arguments.models)
            show_rows(f"Accuracy on {task} by gamma", sweep.frame().round(3).to_dict("records"))
            show_rows(f"Best gammas on {task}", sweep.plateau().round(3).to_dict("records"))
            cells[task] = {"exponent": sweep.exponent().to_dict(), "verdict": verdict(sweep),
                           "accuracy": sweep.accuracy.tolist(), "rate": sweep.rate.tolist(), "gammas": sweep.gammas,
                           "layers": sweep.layers}
            print(task, "slope", sweep.exponent(), "->", verdict(sweep))
            picture(sweep.figure(), RESULTS.parents[1] / f"docs/figures/gamma_{task}.png", width=760, height=420)
    print(write("gamma_sweep", before, tables, cells=cells))


if __name__ == "__main__":
    main()
