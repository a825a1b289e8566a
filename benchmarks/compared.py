"""The twelve architectures that ship, three seeds each, on recall and on repeats: docs/architectures.md's table.

What `interp compare-architectures TASK --seeds 3` does for both tasks. *Learns*, as in benchmarks.previous_token: the
lower end of the 95 % bootstrap interval of the accuracy over seeds is at least 0.9 (600 steps, 40,000 parameters).
Run: python -m benchmarks.compared --models DIR (models that DIR has are not trained again); writes
benchmarks/results/compared.json and docs/figures/compared_TASK.png.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.cells import finite
from benchmarks.picture import picture
from benchmarks.record import RESULTS, conditions, write
from benchmarks.timing import recording, show_rows
from interp.garden.comparison import compare_architectures
from interp.garden.recipes.compared import RATES

SEEDS, LEARNED = 3, 0.9


def main() -> None:
    """Train what is missing, print both tables, write JSON and figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compared", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("runs/architectures"), help="where models are kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before, cells = conditions(), {}
    with recording() as tables:
        for task, names in RATES.items():
            found = compare_architectures(task, list(names), seeds=SEEDS, folder=arguments.models)
            rows = found.frame().assign(learns=found.frame()["low"] >= LEARNED)
            show_rows(f"Architectures on {task}", rows.round(3).to_dict("records"))
            cells[task] = {"architectures": rows.to_dict("records"), "models": found.models().to_dict("records")}
            picture(found.figure(), RESULTS.parents[1] / f"docs/figures/compared_{task}.png", width=1100, height=520)
    print(write("compared", before, finite(tables), cells=finite(cells), seeds=SEEDS))


if __name__ == "__main__":
    main()
