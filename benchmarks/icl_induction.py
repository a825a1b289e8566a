"""The circuit behind repeats and recall in one and two layers, with momentum and its controls ("shows" 5 of issue 7).

Models: those of `benchmarks.architectures` (attention only, d = 64, 4 heads, rates tuned, 600 steps, five seeds), in
FOLDER/<task>/<architecture>-<layers>l-<seed>. Statistics, fixed before any circuit was looked at; accuracies on the
first 160 of the task's held-out rows, removed heads at their mean over 64 other rows, seeds resampled:
    scores    the highest previous-token, duplicate-token and induction score of any head
    K         two layers: K-composition of the head with the highest previous-token score with the heads of layer 1
              (mean), minus the mean of the other heads of layer 0, and minus that of random heads of the same shapes
    removal   the accuracy without: the head of highest previous-token score; the head of highest induction score; all
              heads whose induction score is above 0.2 together; as many other heads, drawn at random (three draws)
Run: python -m benchmarks.icl_induction --models FOLDER --cells FILE [--most N]; writes
benchmarks/results/icl_induction.json and docs/figures/icl_induction.png.
"""

import argparse
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

import interp
from benchmarks.cells import Cell, measured
from benchmarks.picture import picture
from benchmarks.record import conditions, write
from interp.garden.comparison import tasks
from interp.garden.comparison.tasks import token_task
from interp.hooks import Ablate, HookedModel, Mean
from interp.icl.composed import composition, copying_scores
from interp.icl.head_table import HeadScores
from interp.icl.heads import head_scores
from interp.icl.repeats import Repeats
from interp.results import bootstrap_mean, plots

TASKS = ("repeats", "recall")
KINDS = (("attn-only-rotary", 2), ("attn-only-rotary", 1), ("momentum", 1), ("token-shift", 1), ("smeared-keys", 1),
         ("short-conv-keys", 1))
SEEDS = range(5)
KEYS = [{"task": task, "architecture": name, "layers": layers, "seed": seed}
        for name, layers in KINDS for task in TASKS for seed in SEEDS]
ROWS, ROWS_SEED, ROLE, DRAWS = 64, 30_000, 0.2, 3
TESTED = 160
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "icl_induction.png"
Head = tuple[int, int]


def place(folder: Path, task: str, architecture: str, layers: int, seed: int) -> Path:
    """Where a model is."""
    return folder / task / f"{architecture}-{layers}l-{seed}"


def measure(folder: Path, **key: Any) -> Cell:
    """Scores, composition and removals of one model."""
    model, task = interp.load(str(place(folder, **key))), token_task(key["task"])
    tokens = task.data(ROWS, torch.Generator().manual_seed(ROWS_SEED)).tokens
    scores = head_scores(model, prompts=Repeats.of(tokens, task.bos))
    found: Cell = {"accuracy": accuracy(task, model),
                   "scores": {name: scores.top(name, 1)[0] for name in scores.names}, "uniform": scores.uniform,
                   "copying": [copying_scores(model, d).tolist() for d in range(model.n_layers)]}
    if model.n_layers > 1:
        found["K"] = k_composition(model, scores)
    return found | {"without": removals(model, task, scores, tokens, key["seed"])}


def accuracy(task: Any, model: HookedModel) -> float:
    """The task's own accuracy, on fewer rows than it reports by."""
    with patch.object(tasks, "TEST_ROWS", TESTED):
        return task.metrics(model)["accuracy"]


def k_composition(model: HookedModel, scores: HeadScores) -> Cell:
    """Mean K, Q and V composition of the previous-token head, of the other heads of layer 0, and of random ones."""
    table = composition(model, draws=50).frame()
    own = table["writer"] == f"L0H{int(scores.means('previous_token', 0).argmax())}"
    return {kind: {"previous_token_head": float(table[own & (table["kind"] == kind)]["score"].mean()),
                   "other_heads": float(table[~own & (table["kind"] == kind)]["score"].mean()),
                   "random": float(table[table["kind"] == kind]["baseline"].mean())} for kind in ("K", "Q", "V")}


def removals(model: HookedModel, task: Any, scores: HeadScores, tokens: torch.Tensor, seed: int) -> Cell:
    """Accuracies without heads."""
    ranked = scores.top("induction", 100)
    group = [(d, h) for d, h, value in ranked if value > ROLE]
    others = [(d, h) for d, h, value in ranked if value <= ROLE]
    generator = np.random.default_rng(seed)

    def without(*heads: Head) -> float:
        edits = [Ablate(f"blocks.{d}.attn.hook_z", head=h, baseline=Mean(over=tokens)) for d, h in heads]
        with model.edit(*edits):
            return accuracy(task, model)

    random = [without(*(others[i] for i in generator.permutation(len(others))[: len(group)])) for _ in range(DRAWS)] \
        if 0 < len(group) <= len(others) else []
    return {"previous_token_head": without(scores.top("previous_token", 1)[0][:2]),
            "induction_head": without(ranked[0][:2]), "induction_heads": without(*group) if group else None,
            "random_heads": float(np.mean(random)) if random else None, "group": len(group),
            "each": {f"L{d}H{h}": without((d, h)) for d, h, _ in ranked}}


def table(cells: list[Cell]) -> pd.DataFrame:
    """One row a task and kind of model: every statistic with its interval over seeds."""
    rows = []
    for task in TASKS:
        for name, layers in KINDS:
            some = [c for c in cells if (c["key"]["task"], c["key"]["architecture"], c["key"]["layers"])
                    == (task, name, layers)]
            row: dict[str, Any] = {"task": task, "model": f"{name}, {layers} layer{'s' * (layers > 1)}",
                                   "seeds": len(some)}
            columns = {"accuracy": [c["accuracy"] for c in some]}
            columns |= {f"{score} score": [c["scores"][score][2] for c in some]
                        for score in ("previous_token", "duplicate_token", "induction")}
            columns |= {f"without {what.replace('_', ' ')}": [c["without"][what] for c in some] for what in (
                "previous_token_head", "induction_head", "induction_heads", "random_heads")}
            if layers > 1:
                for against in ("other_heads", "random"):
                    columns[f"K above {against.replace('_', ' ')}"] = [
                        c["K"]["K"]["previous_token_head"] - c["K"]["K"][against] for c in some]
            for column, values in columns.items():
                known = [v for v in values if v is not None]
                row[column] = str(bootstrap_mean(known, unit="seeds")) if known else ""
            rows.append(row)
    return pd.DataFrame(rows).fillna("")


def figure(cells: list[Cell]) -> Any:
    """Accuracy of every model and without its heads, by seed, a panel a task."""
    from plotly.subplots import make_subplots

    drawn = make_subplots(1, len(TASKS), subplot_titles=list(TASKS), shared_yaxes=True, horizontal_spacing=0.03)
    labels = [f"{name}<br>{layers} layer{'s' * (layers > 1)}" for name, layers in KINDS]
    shown = (("whole", lambda c: c["accuracy"], "circle"),
             ("without its previous-token head", lambda c: c["without"]["previous_token_head"], "diamond-open"),
             ("without its best induction head", lambda c: c["without"]["induction_head"], "square-open"),
             ("without all induction heads", lambda c: c["without"]["induction_heads"], "x"),
             ("without as many others", lambda c: c["without"]["random_heads"], "triangle-up-open"))
    for col, task in enumerate(TASKS, 1):
        for i, (name, read, symbol) in enumerate(shown):
            xs, ys = [], []
            for c in cells:
                if c["key"]["task"] == task and read(c) is not None:
                    kind = KINDS.index((c["key"]["architecture"], c["key"]["layers"]))
                    xs.append(kind + 0.15 * (i - 2) + 0.02 * (c["key"]["seed"] - 2))
                    ys.append(read(c))
            drawn.add_scatter(x=xs, y=ys, mode="markers", name=name, legendgroup=name, showlegend=col == 1, row=1,
                              col=col, marker={"symbol": symbol, "size": 8, "color": plots.LINES[i]})
    plots.styled(drawn, title="Who carries repeats and recall: accuracy with heads removed, a mark a seed")
    drawn.update_xaxes(tickvals=list(range(len(KINDS))), ticktext=labels, tickfont={"size": 11})
    drawn.update_yaxes(range=[0, 1.03], title_text="accuracy", col=1)
    return drawn.update_layout(margin_t=90, legend={"orientation": "h", "y": -0.2})


def main() -> None:
    """Measure the models that are there and not measured yet, and write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--most", type=int)
    options = parser.parse_args()
    before = conditions()
    there = [key for key in KEYS if (place(options.models, **key) / "model.safetensors").exists()]
    cells = list(measured(options.cells, there, lambda **key: measure(options.models, **key), options.most))
    rows = table(cells).to_dict("records")
    write("icl_induction", before, rows, cells=cells)
    picture(figure(cells), FIGURE, 1400, 560)
    print(pd.DataFrame(rows).T.to_string())


if __name__ == "__main__":
    main()
