"""Which layers of a Mamba-2 hybrid carry copying: its attention, or its state-space blocks?

A hybrid of six blocks (Mamba-2, MLP, attention, MLP, Mamba-2, MLP; 40,000 parameters) on repeats, five seeds, the tuned
rate. Each block, and each kind of block as a group, writes its mean over held-out rows at each position in place of its
own output; what counts is accuracy where the next token can be looked up.

Pre-stated, before looking inside any trained hybrid:
- statistic: share of the accuracy that is lost, (full - without) / (full - without all token mixers), mean over five
  seeds with its 95 % bootstrap interval over seeds;
- a block or kind *carries* copying if the lower end is at least 0.5, does *not* if the upper end is at most 0.1, and is
  *involved* otherwise. If attention and a Mamba-2 block in front of it both carry it, they do it in series (see the
  token before, then match), as two attention layers do.

Run: python -m benchmarks.hybrid_copying [--models DIR], resumable; writes benchmarks/results and docs/figures.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.picture import picture
from benchmarks.record import RESULTS, conditions, write
from benchmarks.timing import recording, show_rows
from interp.depth.figures import panels
from interp.garden.comparison.compare import contender
from interp.garden.comparison.tasks import TEST_SEED, repeats_data, token_task
from interp.garden.comparison.tune import trained, tune
from interp.hooks import Ablate, HookedModel, Mean
from interp.results import Estimate, bootstrap_mean, plots
from interp.tasks.repeats import predictable

SEEDS = range(5)
KINDS = {"hook_mixer_out": "Mamba-2", "hook_attn_out": "attention", "hook_mlp_out": "MLP"}


def writes(model: HookedModel) -> dict[str, str]:
    """{site: kind} of what every block writes, in order."""
    return {f"{block.prefix}.{site}": kind for block in model.map.blocks.values() for site, kind in KINDS.items()
            if f"{block.prefix}.{site}" in model.map.sites}


def without(model: HookedModel) -> dict[str, float]:
    """Accuracy of the whole model ("full"), without each block, each kind, and all token mixers ("mixers")."""
    tokens = repeats_data(256, torch.Generator().manual_seed(TEST_SEED)).tokens
    where = predictable(tokens)[:, :-1]

    def accuracy(*sites: str) -> float:
        with model.edit(*(Ablate(site, baseline=Mean(over=tokens)) for site in sites)), torch.no_grad():
            right = model(tokens)[:, :-1].argmax(-1) == tokens[:, 1:]
        return float(right[where].double().mean())

    sites = writes(model)
    groups = {f"all {kind}": [s for s in sites if sites[s] == kind] for kind in dict.fromkeys(sites.values())}
    groups["mixers"] = [s for s in sites if sites[s] != "MLP"]
    single = {f"{i} {kind}": [site] for i, (site, kind) in enumerate(sites.items())}
    return {"full": accuracy(), **{name: accuracy(*some) for name, some in (single | groups).items()}}


def lost(cell: dict[str, float]) -> dict[str, float]:
    """The share of the accuracy that each removal takes away."""
    scale = cell["full"] - cell["mixers"]
    return {name: (cell["full"] - value) / scale for name, value in cell.items() if name not in ("full", "mixers")}


def statistics(cells: list[dict[str, float]]) -> list[dict[str, Any]]:
    """One row a removal, with the verdict above."""
    rows = []
    for name in lost(cells[0]):
        e = bootstrap_mean([lost(cell)[name] for cell in cells], unit="seeds")
        rows.append({"without": name, "share lost": round(e.value, 3), "low": round(e.low, 3), "high": round(e.high, 3),
                     "verdict": verdict(e)})
    return rows


def verdict(e: Estimate) -> str:
    """"carries", "does not" or "involved"."""
    return "carries" if e.low >= 0.5 else "does not" if e.high <= 0.1 else "involved"


def figure(cells: list[dict[str, float]]) -> Any:
    """Share lost by removal: seeds as points, means with intervals."""
    drawn = panels(["Share of the accuracy lost without ..."], columns=1, height=380,
                   title="What carries copying in a Mamba-2 hybrid (repeats, five seeds)")
    names = list(lost(cells[0]))
    for place, name in enumerate(names):
        values = [lost(cell)[name] for cell in cells]
        e = bootstrap_mean(values, unit="seeds")
        drawn.add_scatter(x=values, y=[place] * len(values), mode="markers", showlegend=False,
                          marker={"size": 7, "color": plots.GREY, "opacity": 0.7})
        drawn.add_scatter(x=[e.value], y=[place], mode="markers", showlegend=False,
                          marker={"size": 10, "color": plots.BLUE, "symbol": "diamond"},
                          error_x={"type": "data", "symmetric": False, "array": [e.high - e.value],
                                   "arrayminus": [e.value - e.low], "color": plots.BLUE})
    labels = [f"block {name}" if name[0].isdigit() else name for name in names]
    drawn.update_yaxes(tickvals=list(range(len(names))), ticktext=labels, zeroline=False,
                       range=[len(names) - 0.5, -0.5])
    return drawn.update_xaxes(title_text="share lost", tickformat=None).update_layout(margin={"l": 150})


def main() -> None:
    """Train what is missing, measure, print, write JSON and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hybrid_copying", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("runs/architectures"), help="where models are kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before, one = conditions(), contender(token_task("repeats"), "mamba2-hybrid")
    tuned = tune(one, arguments.models)
    cells = [without(trained(one, tuned.rate, seed, arguments.models)) for seed in SEEDS]
    with recording() as tables:
        show_rows("What carries copying", statistics(cells))
    full = bootstrap_mean(np.array([cell["full"] for cell in cells]), unit="seeds").to_dict()
    print(write("hybrid_copying", before, tables, rates=tuned.records(), sizes=one.sizes, full=full, cells=cells))
    picture(figure(cells), RESULTS.parents[1] / "docs/figures/hybrid_copying.png", width=1000, height=560)


if __name__ == "__main__":
    main()
