"""The linear model of the garden over its training: error by the number of examples after so many steps.

Trains garden/icl-linear-d5's recipe again, seed 0, keeping checkpoints below --folder (five CPU minutes; what is there
is not trained again), and measures each on 500 prompts (seed 100000).
Run: python -m benchmarks.icl_emergence --folder DIR; writes benchmarks/results/icl_emergence.json and
docs/figures/icl_emergence.png.
"""

import argparse
from pathlib import Path

import torch

import interp
from benchmarks.picture import picture
from benchmarks.record import RESULTS, conditions, write
from interp.garden.catalog import build
from interp.garden.recipes import recipe
from interp.hooks import HookedModel
from interp.icl import emergence

NAME, SEED, PROMPTS = "icl-linear-d5", 0, 500
STEPS = (250, 500, 750, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 5000, 6000, 8000)


def checkpoints(folder: Path) -> dict[int, HookedModel]:
    """The model after so many steps, the last one included, trained where the folder does not have them."""
    chosen = recipe(NAME)
    if not all((folder / f"step-{step}" / "model.safetensors").exists() for step in STEPS):
        chosen.fit(build(chosen.architecture, seed=SEED, **chosen.sizes), steps=chosen.steps, batch=chosen.batch,
                   seed=SEED, folder=folder, checkpoints=STEPS)
    return {step: interp.load(str(folder / f"step-{step}")) for step in STEPS} | {
        chosen.steps: interp.load(f"garden/{NAME}")}


def main() -> None:
    """Train what is missing, write the table and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.icl_emergence", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints are kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before = conditions()
    found = emergence(checkpoints(arguments.folder), recipe(NAME).task, prompts=PROMPTS)
    picture(found.figure(), RESULTS.parents[1] / "docs/figures/icl_emergence.png", width=900, height=520)
    print(write("icl_emergence", before, [], cells=found.frame().to_dict("records")))


if __name__ == "__main__":
    main()
