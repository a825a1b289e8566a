"""Does one layer that sees the token before do what an induction head needs two layers for?

One layer of softmax attention cannot match "the token behind the last occurrence of this one": a key does not know what
stood before it. Momentum attention claims to learn induction with one layer; its controls see the token before in other
ways (smeared keys, a short convolution on keys, token shift of the layer's input). References are the same model with
one and with two layers. All are rotary attention without MLPs, width 64, four heads, on recall and on repeats.

Pre-stated before the models of this table were trained (single pilot runs of seed 0, at untuned rates and batches of
64, had been seen):
- statistic: share of right answers on held-out rows, mean over five seeds with a 95 % bootstrap interval over seeds, at
  the rate that is best on seed 0 (loss on rows of their own);
- a model *learns* a task if the interval's lower end is at least 0.9, *does not* if its upper end is below halfway
  between the mean of one softmax layer and 1, and is *between* otherwise;
- momentum is *special* only if it learns a task that a control does not; if all controls learn what it learns, what
  matters is to see the token before, not the momentum.

Run: python -m benchmarks.previous_token [--models DIR], resumable; writes benchmarks/results and docs/figures.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.picture import picture
from benchmarks.record import RESULTS, conditions, write
from benchmarks.timing import recording, show_rows
from interp.depth.figures import panels
from interp.garden.comparison.tasks import token_task
from interp.garden.comparison.tune import Contender, trained, tune
from interp.results import Estimate, bootstrap_mean, plots
from interp.results.progress import progress

NAMES = {
    ("attn-only-rotary", 1): "one softmax layer", ("attn-only-rotary", 2): "two softmax layers",
    ("momentum", 1): "one layer, momentum", ("token-shift", 1): "one layer, token shift",
    ("smeared-keys", 1): "one layer, smeared keys", ("short-conv-keys", 1): "one layer, convolved keys",
}
TASKS, SEEDS, STEPS, LEARNED = ("repeats", "recall"), range(5), 600, 0.9


def contender(task: str, name: str, layers: int) -> Contender:
    """The model of this architecture and depth: width 64, four heads."""
    chosen = token_task(task)
    sizes = {"d_model": 64, "n_layers": layers, "n_heads": 4, "d_vocab": chosen.d_vocab, "n_ctx": chosen.n_ctx}
    return Contender(chosen, name, sizes, STEPS)


def accuracies(one: Contender, folder: Path) -> dict[str, Any]:
    """Tuned rate, its curve, and the share of right answers of every seed."""
    tuned = tune(one, folder)
    found = []
    for seed in SEEDS:
        trained(one, tuned.rate, seed, folder)
        found.append(json.loads((one.place(folder, seed) / "metrics.json").read_text())["metrics"]["accuracy"])
    return {"rate": tuned.rate, "rates": tuned.records(), "accuracy": found}


def verdict(found: Estimate, one_layer: float) -> str:
    """"learns", "does not" or "between", by the rule above."""
    if found.low >= LEARNED:
        return "learns"
    return "does not" if found.high < (one_layer + 1) / 2 else "between"


def figure(cells: dict[str, dict[str, Any]]) -> Any:
    """A panel a task: every seed as a point, the mean with its interval, chance of one layer as a line."""
    drawn = panels([f"{task}: share of right answers" for task in TASKS], columns=2, height=300,
                   title="One layer that sees the token before, against one and two softmax layers (five seeds)")
    for column, task in enumerate(TASKS, 1):
        names = list(NAMES.values())
        for place, key in enumerate(NAMES):
            values = cells[_key(task, *key)]["accuracy"]
            mean = bootstrap_mean(values, unit="seeds")
            drawn.add_scatter(x=values, y=[place] * len(values), mode="markers", row=1, col=column, showlegend=False,
                              marker={"size": 7, "color": plots.GREY, "opacity": 0.7})
            drawn.add_scatter(x=[mean.value], y=[place], mode="markers", row=1, col=column, showlegend=False,
                              marker={"size": 10, "color": plots.BLUE, "symbol": "diamond"},
                              error_x={"type": "data", "symmetric": False, "array": [mean.high - mean.value],
                                       "arrayminus": [mean.value - mean.low], "color": plots.BLUE})
        drawn.update_xaxes(range=[0, 1.04], title_text="accuracy", row=1, col=column)
        drawn.update_yaxes(tickvals=list(range(len(names))), ticktext=names if column == 1 else [""] * len(names),
                           range=[len(names) - 0.5, -0.5], zeroline=False, row=1, col=column)
    return drawn.update_layout(margin={"l": 190})


def _key(task: str, name: str, layers: int) -> str:
    return f"{task} {name}-{layers}l"


def main() -> None:
    """Train what is missing, print the table with verdicts, write JSON and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.previous_token", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("runs/architectures"), help="where models are kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before, cells = conditions(), {}
    for task in TASKS:
        for key in progress(NAMES, task):
            cells[_key(task, *key)] = accuracies(contender(task, *key), arguments.models)
    rows = []
    for task in TASKS:
        base = bootstrap_mean(cells[_key(task, "attn-only-rotary", 1)]["accuracy"], unit="seeds").value
        for key, title in NAMES.items():
            cell = cells[_key(task, *key)]
            mean = bootstrap_mean(cell["accuracy"], unit="seeds")
            rows.append({"task": task, "model": title, "rate": cell["rate"], "accuracy": round(mean.value, 3),
                         "low": round(mean.low, 3), "high": round(mean.high, 3), "verdict": verdict(mean, base)})
    with recording() as tables:
        show_rows("One layer that sees the token before", rows)
    print(write("previous_token", before, tables, cells=cells, seeds=len(SEEDS), steps=STEPS))
    picture(figure(cells), RESULTS.parents[1] / "docs/figures/previous_token.png", width=1200, height=460)


if __name__ == "__main__":
    main()
