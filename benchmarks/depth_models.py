"""How trained models use their depth: the numbers of docs/depth.md on SmolLM2, MiniLM, rxnmapper, DINOv2, text-small.

What `interp depth` measures, with its defaults (8 windows of 64 tokens of held-out addresses, or crops, or the prompts
of a task; seed 0), massive tokens left out; the ratio of mean relative contributions between the halves of the depth,
block 0 left out, in each document; and depth scores of easier and harder prompts (`interp.tasks.hops`, 16 a row).
Run: python -m benchmarks.depth_models --cells FILE (a cell that FILE holds is not measured again); ten CPU minutes.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import interp
from benchmarks.cells import Cell, measured
from benchmarks.record import conditions, write
from interp.depth import profile, skip_effects
from interp.depth.collect import STREAM
from interp.depth.examples import Examples, examples
from interp.depth.profiles import Profile
from interp.depth.score import depth_scores
from interp.lens import fit_tuned_lens
from interp.results.estimate import Estimate, bootstrap_mean, bootstrap_ratio
from interp.tasks.hops import arithmetic, hops

SEED, TOKENS = 0, 64
MODELS: dict[str, dict[str, Any]] = {
    "smollm2-135m": {"tuned": 64, "skips": ("current", "future")},
    "minilm-l6": {"skips": ("current", "past")},
    "rxnmapper": {"skips": ("current",), "task": "atom-mapping", "n": 24},
    "dinov2-s": {"skips": ("current",)},
    "garden/text-small": {"tuned": 200, "skips": ("current",)},
}
HARDER = {"1 hop": partial(hops, hops=1), "2 hops": partial(hops, hops=2), "3 hops": partial(hops, hops=3),
          "2 terms": partial(arithmetic, terms=2), "4 terms": partial(arithmetic, terms=4)}


def inputs(model: interp.HookedModel, task: str | None, n: int) -> Examples:
    """Prompts of a task, or what a model of this kind is shown."""
    if task is None:
        return examples(model, n, TOKENS, SEED)
    prompts = interp.task(task, model=model, n=n, seed=SEED)
    return Examples(prompts.clean, task, [str(c) for c in prompts.clusters])


def halves(found: Profile, part: str, measure: str) -> dict[str, Any]:
    """Of one part: the mean of a measure over each half of the depth, block 0 left out, and the second over the first;
    every document's tokens are averaged before documents are resampled."""
    values, chosen = found.values[part][measure].double(), found.select(masked=True)
    rows = values.where(chosen & ~values.isnan(), 0).sum(-1) / (chosen & ~values.isnan()).sum(-1).clamp(min=1)
    there, middle = (rows != 0).any(1), found.n_layers // 2
    first = rows[1:middle][there[1:middle]].mean(0).numpy()
    second = rows[middle:][there[middle:]].mean(0).numpy()
    clusters = None if found.clusters is None else list(found.clusters)
    means: dict[str, Estimate] = {"first half": bootstrap_mean(first, clusters, seed=SEED),
                                  "second half": bootstrap_mean(second, clusters, seed=SEED)}
    if measure == "relative":
        means["second / first"] = bootstrap_ratio(second, first, clusters, seed=SEED)
    return {"part": part, "measure": measure} | {name: e.to_dict() for name, e in means.items()}


def of_model(name: str, skips: tuple[str, ...], tuned: int = 0, task: str | None = None, n: int = 8) -> Cell:
    """Profile, lens and skip effects of one model."""
    model = interp.load(name)
    shown = inputs(model, task, n)
    lens = fit_tuned_lens(model, examples(model, tuned, TOKENS, SEED, "train").x) if tuned else None
    found = profile(model, shown.x, tuned=lens, clusters=shown.clusters)
    everything = found.frame()
    rows = {"with massive tokens": everything[everything["measure"] == "relative"], "without": found.frame(masked=True)}
    lenses = {one.kind: one.frame() for one in (found.lens, found.tuned) if one is not None}
    outputs = {mode: skip_effects(model, shown.x, mode, clusters=shown.clusters).output_frame() for mode in skips}
    parts = [(part, measure) for part in found.parts if part != STREAM for measure in ("relative", "cosine")]
    return {"inputs": shown.what, "halves": [halves(found, *which) for which in parts if which[1] in
                                             found.values[which[0]]]} | {
        name: table.replace({np.nan: None}).to_dict("records") for group in (rows, lenses, outputs)
        for name, table in group.items()}


def cell(model: str, harder: bool = False) -> Cell:
    """One model, or how deep it goes for harder prompts."""
    if not harder:
        return of_model(model, **MODELS[model])
    loaded = interp.load(model)
    scores = depth_scores(loaded, {name: make(loaded, 16, SEED) for name, make in HARDER.items()})
    return {"depth scores": scores.frame().to_dict("records")}


def main() -> None:
    """What is not there yet, then the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.depth_models", description=__doc__)
    parser.add_argument("--cells", type=Path, required=True, help="a JSON lines file that is continued")
    given, before = parser.parse_args(), conditions()
    torch.set_num_threads(1)
    keys: list[Cell] = [{"model": name} for name in MODELS] + [{"model": "smollm2-135m", "harder": True}]
    print(write("depth_models", before, list(measured(given.cells, keys, cell))))


if __name__ == "__main__":
    main()
