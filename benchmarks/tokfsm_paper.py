"""TokFSM at the size of the paper (100 states, ten edges each, two digits a state) on a smaller GPT: a recorded recipe.

The paper trains four layers of width 128 on a GPU; here two layers of width 128 (900 steps of 64 rows of 64 tokens),
then 2,000 codes on every head and every MLP, k = 1, begun at k-means centres, unused codes replaced (500 steps, then
1,500 more). Goals for the first 500 steps: state accuracy of at least 0.91, and a mean held-out precision of codes of
at least 0.94 (of each state the most precise code, chosen on one half of 2,048 sequences, scored on the other).
Pilots on other seeds chose the start and the rates: 0.845 [0.833, 0.856] after 500 steps with all rates at 1e-3 (0.855
from codes drawn at random), 0.909 [0.899, 0.919] with 3e-3 for codes, 0.930 [0.921, 0.939] with these.
Run: python -m benchmarks.tokfsm_paper --folder DIR (half an hour of CPU, resumable); writes
benchmarks/results/tokfsm_paper.json.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

import interp
from benchmarks.cells import Cell, measured
from benchmarks.record import conditions, write
from interp.codebook import attach, detectors, load, measure
from interp.codebook.books import Books
from interp.codebook.files import FACTS
from interp.garden.recipe import Batch, Recipe
from interp.garden.train import fit
from interp.tasks.tokfsm import TokFSM

FSM = TokFSM(n_states=100, n_edges=10, base=10, seed=0)
LENGTH, ROWS, RATE, SEED, HELD_OUT = 64, 64, 1e-3, 0, 2048
BOOKS = {"rate": 5e-3, "model_rate": 2e-3, "replace_every": 50}
SITES = ("blocks.*.attn.hook_z", "blocks.*.hook_mlp_out")
BASE_STEPS, STEPS = 900, (500, 2000)


def draw(rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Tokens and next tokens, [row, LENGTH]."""
    return FSM.batch(rows, LENGTH, generator)


def base(folder: Path) -> interp.HookedModel:
    """The model without books, made or read."""
    if not (folder / "base").exists():
        sizes = {"d_model": 128, "n_layers": 2, "n_heads": 4, "d_vocab": FSM.base + 1, "n_ctx": LENGTH}
        recipe = Recipe(name="tokfsm-100", about="", architecture="gpt", sizes=sizes, steps=BASE_STEPS, batch=ROWS,
                        rate=RATE, data=lambda rows, generator: Batch(*draw(rows, generator)),
                        metrics=lambda model: {})
        fit(recipe, seed=SEED).save(folder / "base")
    return interp.load(str(folder / "base"))


def begun(model: interp.HookedModel) -> Books:
    """Books at k-means centres, nothing trained."""
    example = draw(256, Generator().manual_seed(2 * 10**6))[0]
    return attach(model, list(SITES), n_codes=2000, k=1, pre_norm="layer", init="kmeans", example=example, seed=SEED)


def books_at(folder: Path, steps: int) -> Books:
    """Books after so many steps, made from the ones before or read."""
    model, place = base(folder), folder / f"books-{steps}"
    if (place / FACTS).exists():
        return load(place, model)
    earlier = [other for other in STEPS if other < steps]
    books, done = (books_at(folder, earlier[-1]), earlier[-1]) if earlier else (begun(model), 0)
    books.train(draw, steps=steps - done, batch=ROWS, seed=SEED + 1 + done, folder=folder / f"checkpoint-{steps}",
                **BOOKS)
    books.save(place)
    return books


def cell(folder: Path, books: str, steps: int) -> Cell:
    """What the model reaches without books, with those that are k-means, or after so many steps with books."""
    if books == "none":
        return {"state accuracy": FSM.state_accuracy(base(folder), length=LENGTH, seed=SEED).to_dict()}
    there = books_at(folder, steps) if steps else begun(base(folder))
    x, targets = draw(HELD_OUT, Generator().manual_seed(10**6))
    with there.model.edit(there):
        inside = FSM.state_accuracy(there.model, length=LENGTH, seed=SEED)
    use, half = measure(there, x, targets), torch.arange(HELD_OUT) % 2 == 0
    found: dict[str, Any] = {}
    for site, codes in there.codes(x).items():
        found[site] = detectors({site: codes}, FSM.labels(x), 2000, select=half).means().to_dict("records")
    return {"state accuracy": inside.to_dict(), "scores": {k: v.to_dict() for k, v in use.scores.items()},
            "books": use.frame().to_dict("records"), "detectors": found}


def main() -> None:
    """What is not there yet, then the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokfsm_paper", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where models, books and finished cells are kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    before = conditions()
    keys = [{"books": "none", "steps": 0}, {"books": "k-means", "steps": 0},
            *({"books": "trained", "steps": steps} for steps in STEPS)]
    cells = list(measured(given.folder / "cells.jsonl", keys, partial(cell, given.folder)))
    print(write("tokfsm_paper", before, cells))
    for one in cells:
        print(one["key"], one["state accuracy"]["value"])


if __name__ == "__main__":
    main()
