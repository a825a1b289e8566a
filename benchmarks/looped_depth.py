"""What does each iteration of a looped model do, and what happens beyond the iterations it was trained with?

A looped GPT (one block, four visits, 40,000 parameters) on balanced brackets (dyck: of which kind does the bracket that
closes have to be?), five seeds, the tuned rate. For every visit: the relative step |z_t+1 - z_t| / |z_t|, and the share
of closing brackets that are right when the head reads the stream behind it. Then the same weights with 1 to 12 visits.

Pre-stated, before looking at any model of this table:
- statistic 1: accuracy with 8 visits minus accuracy with the 4 it was trained with, mean over seeds with its 95 %
  bootstrap interval: the answer *keeps* beyond training if the lower end is above -0.05, is *lost* if the upper end is
  below -0.05, else *undecided*;
- statistic 2: the relative step of the last visit with 12 visits over that with 4 (means over tokens): the loop
  *settles* if the upper end of its interval is below 0.5, does *not settle* if the lower end is above 0.5, else
  *undecided*;
- statistic 3: accuracy read behind the second visit, halfway from that behind the first (0) to that behind the last
  (1): the work is *spread* over the visits if its interval lies within 0.1 and 0.9, done *early* above, *late* below,
  else *undecided*.

Run: python -m benchmarks.looped_depth [--models DIR], resumable; writes benchmarks/results and docs/figures.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.picture import picture
from benchmarks.record import RESULTS, conditions, write
from benchmarks.timing import recording, show_rows
from interp.depth.figures import add_line, axes, panels
from interp.depth.looped import by_loops, visits
from interp.garden.comparison.compare import contender
from interp.garden.comparison.tasks import TEST_SEED, token_task
from interp.garden.comparison.tune import trained, tune
from interp.hooks import HookedModel
from interp.results import Estimate, bootstrap_mean, plots

SEEDS, COUNTS, TRAINED, ROWS = range(5), list(range(1, 13)), 4, 256


def measured(model: HookedModel) -> dict[str, list[float]]:
    """Curves by visit, and by number of visits, of one model on held-out words."""
    batch = token_task("dyck").data(ROWS, torch.Generator().manual_seed(TEST_SEED))
    closes = batch.targets % 2 == 1
    other = torch.where(closes, 4 - batch.targets, batch.targets)

    def right(logits: torch.Tensor) -> torch.Tensor:
        hit = (logits.gather(2, batch.targets[..., None]) > logits.gather(2, other[..., None]))[..., 0]
        return (hit * closes).sum(1) / closes.sum(1)

    table = visits(model, batch.tokens, right, unit="accuracy").frame()
    more = by_loops(model, batch.tokens, right, COUNTS)
    found = {"step": table["residual"], "read": table["accuracy"], "loops": more["value"], "change": more["change"]}
    return {name: [float(v) for v in values] for name, values in found.items()}


def statistics(cells: list[dict[str, list[float]]]) -> list[dict[str, Any]]:
    """The pre-stated statistics with their verdicts."""
    keeps = bootstrap_mean([c["loops"][7] - c["loops"][TRAINED - 1] for c in cells], unit="seeds")
    settles = bootstrap_mean([c["change"][11] / c["change"][TRAINED - 1] for c in cells], unit="seeds")
    second = bootstrap_mean([(c["read"][1] - c["read"][0]) / (c["read"][-1] - c["read"][0]) for c in cells],
                            unit="seeds")
    full = bootstrap_mean([c["loops"][TRAINED - 1] for c in cells], unit="seeds")
    return [
        _row("accuracy with 4 visits", full, ""),
        _row("accuracy with 8 visits minus with 4", keeps,
             "keeps" if keeps.low > -0.05 else "lost" if keeps.high < -0.05 else "undecided"),
        _row("last step with 12 visits over that with 4", settles,
             "settles" if settles.high < 0.5 else "does not settle" if settles.low > 0.5 else "undecided"),
        _row("share of the accuracy that is there behind visit 2", second,
             "spread" if 0.1 < second.low and second.high < 0.9 else "early" if second.low > 0.9 else
             "late" if second.high < 0.1 else "undecided"),
    ]


def _row(name: str, e: Estimate, verdict: str) -> dict[str, Any]:
    return {"statistic": name, "value": round(e.value, 3), "low": round(e.low, 3), "high": round(e.high, 3),
            "verdict": verdict}


def figure(cells: list[dict[str, list[float]]]) -> Any:
    """Accuracy and step, the mean over seeds with the band from the lowest to the highest."""
    drawn = panels(["Closing brackets that are right", "Relative step of a visit"], columns=2, height=300,
                   title="A looped model on brackets, visit by visit (trained with 4, five seeds)")
    lines = [(0, "loops", "with n visits, read at the end", COUNTS), (0, "read", "with 4, read behind visit n",
                                                                       COUNTS[:TRAINED]),
             (1, "change", "last visit of n", COUNTS), (1, "step", "visit n of 4", COUNTS[:TRAINED])]
    for i, (panel, key, name, x) in enumerate(lines):
        rows = np.array([cell[key] for cell in cells])
        add_line(drawn, panel, x, rows.mean(0), name=name, style=(plots.LINES[i], plots.DASHES[0]), low=rows.min(0),
                 high=rows.max(0))
    axes(drawn, 0, "visits", "share", range=[0.4, 1.04])
    axes(drawn, 1, "visits", "|step| / |stream|")
    for column in (1, 2):
        drawn.add_vline(x=TRAINED, line={"color": plots.GREY, "dash": "dot", "width": 1}, row=1, col=column)
    return drawn


def main() -> None:
    """Train what is missing, measure, print, write JSON and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.looped_depth", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("runs/architectures"), help="where models are kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before, one = conditions(), contender(token_task("dyck"), "looped")
    tuned = tune(one, arguments.models, extend=False)
    cells = [measured(trained(one, tuned.rate, seed, arguments.models)) for seed in SEEDS]
    with recording() as tables:
        show_rows("A looped model, visit by visit", statistics(cells))
    print(write("looped_depth", before, tables, rates=tuned.records(), sizes=one.sizes, steps=one.steps, cells=cells))
    picture(figure(cells), RESULTS.parents[1] / "docs/figures/looped_depth.png", width=1200, height=480)


if __name__ == "__main__":
    main()
