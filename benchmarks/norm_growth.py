"""How does the variance of the residual stream grow with depth under pre-, post- and peri-norm, after training?

Eight depths, width 32, text (garden/text-small's), five seeds, 300 steps, the rate tuned for each placement on seed 0.
The variance of a token's stream over its channels, mean over tokens, behind each block; the same before training.

Pre-stated, before any of these models was trained (a first setting, repeats for 200 steps, was dropped before any
variance was looked at: the loss stayed at ln 32, so that nothing had been learned):
- statistic: growth g = ln(variance behind the last block / variance behind the first), mean over five seeds with its
  95 % bootstrap interval;
- Kim et al. 2025 (arXiv 2502.02732) report that post-norm keeps it constant, peri-norm lets it grow about linearly and
  pre-norm can let it grow exponentially. Here: post-norm is *constant* if its interval lies within -0.5 and 0.5;
  pre-norm *grows faster* than peri-norm if the interval of g(pre) - g(peri) over seeds lies above 0, *slower* if below,
  else *undecided*; linear growth would give ln 8 = 2.08 where all blocks write alike from the start.

Run: python -m benchmarks.norm_growth [--models DIR], resumable; writes benchmarks/results and docs/figures.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.picture import picture
from benchmarks.record import RESULTS, conditions, write
from benchmarks.timing import recording, show_rows
from interp.depth.figures import add_line, panels
from interp.garden.catalog import build
from interp.garden.comparison.tasks import TEST_SEED, token_task
from interp.garden.comparison.tune import Contender, trained, tune
from interp.hooks import HookedModel
from interp.results import Estimate, bootstrap_mean, plots

NAMES = {"gpt": "pre-norm", "post-norm": "post-norm", "peri-ln": "peri-norm"}
SEEDS, STEPS = range(5), 300


def contender(name: str) -> Contender:
    """Eight blocks of width 32."""
    task = token_task("text")
    sizes = {"d_model": 32, "n_layers": 8, "n_heads": 4, "d_mlp": 128, "d_vocab": task.d_vocab, "n_ctx": task.n_ctx}
    return Contender(task, name, sizes, STEPS)


def variances(model: HookedModel) -> list[float]:
    """Variance over channels of the stream in front of the first block and behind each, mean over tokens of 16 rows."""
    tokens = token_task("text").data(16, torch.Generator().manual_seed(TEST_SEED)).tokens
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{d}.hook_resid_post" for d in range(model.n_layers))]
    cache = model.read(tokens, names)
    return [float(cache[name].var(-1, unbiased=False).mean()) for name in names]


def growth(curve: list[float]) -> float:
    """ln of the variance behind the last block over that behind the first."""
    return float(np.log(curve[-1] / curve[1]))


def statistics(cells: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Growth of each placement, and of pre-norm against peri-norm, with the verdicts above."""
    growths = {name: np.array([growth(c) for c in cell["trained"]]) for name, cell in cells.items()}
    rows = []
    for name, cell in cells.items():
        mean = bootstrap_mean(growths[name], unit="seeds")
        constant = "constant" if -0.5 < mean.low and mean.high < 0.5 else "not constant"
        rows.append(_row(f"growth, {NAMES[name]}", mean, constant) | {
            "before training": round(float(np.mean([growth(c) for c in cell["random"]])), 3),
            "bits per byte": round(float(np.mean(cell["bits"])), 3), "rate": cell["rate"]})
    less = bootstrap_mean(growths["gpt"] - growths["peri-ln"], unit="seeds")
    rows.append(_row("growth, pre-norm minus peri-norm", less,
                     "pre-norm grows faster" if less.low > 0 else "slower" if less.high < 0 else "undecided"))
    return rows


def _row(name: str, e: Estimate, verdict: str) -> dict[str, Any]:
    return {"statistic": name, "value": round(e.value, 3), "low": round(e.low, 3), "high": round(e.high, 3),
            "verdict": verdict}


def figure(cells: dict[str, dict[str, Any]]) -> Any:
    """Variance by depth before and after training, bands from the lowest to the highest seed."""
    drawn = panels(["Before training", "After training"], columns=2, height=320,
                   title="Variance of the residual stream by depth (text, eight blocks, five seeds)")
    for panel, when in enumerate(("random", "trained")):
        for i, (name, title) in enumerate(NAMES.items()):
            rows = np.array(cells[name][when])
            add_line(drawn, panel, range(rows.shape[1]), rows.mean(0), name=title, low=rows.min(0), high=rows.max(0),
                     style=(plots.LINES[i], plots.DASHES[i]))
        at = {"row": 1, "col": panel + 1}
        drawn.update_xaxes(title_text="blocks passed", **at)
        drawn.update_yaxes(title_text="variance over channels", type="log", **at)
    return drawn


def main() -> None:
    """Train what is missing, measure, print, write JSON and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.norm_growth", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("runs/architectures"), help="where models are kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before, cells = conditions(), {}
    for name in NAMES:
        one = contender(name)
        tuned = tune(one, arguments.models, extend=False)
        models = [trained(one, tuned.rate, seed, arguments.models) for seed in SEEDS]
        places = [one.place(arguments.models, seed) / "metrics.json" for seed in SEEDS]
        cells[name] = {"rate": tuned.rate, "rates": tuned.records(), "trained": [variances(m) for m in models],
                       "random": [variances(build(name, seed=seed, **one.sizes)) for seed in SEEDS],
                       "bits": [json.loads(place.read_text())["metrics"]["bits_per_byte"] for place in places]}
    with recording() as tables:
        show_rows("Variance of the stream by depth", statistics(cells))
    print(write("norm_growth", before, tables, steps=STEPS, cells=cells))
    picture(figure(cells), RESULTS.parents[1] / "docs/figures/norm_growth.png", width=1200, height=500)


if __name__ == "__main__":
    main()
