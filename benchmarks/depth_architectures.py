"""Pre-, post- and peri-norm, ladder, parallel and looped models on equal data: what each does with its eight depths.

Every model is trained on the corpus of garden/text-small (its tokenizer, its batches, so the same tokens in the same
order for one seed): width 64, eight depths, 1500 steps of 8 x 128 tokens. Then one profile and one skip matrix on held
out text. The looped model has one block at all depths, an eighth of the others' block parameters.
Run: python -m benchmarks.depth_architectures [--models DIR], resumable; writes benchmarks/results and a page of the
figure beside the models.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.record import conditions, write
from benchmarks.timing import recording, show_rows
from interp.depth import half_depth, profile, skip_effects
from interp.depth.examples import examples
from interp.depth.figures import add_line, axes, panels
from interp.garden.recipes.text_small import RECIPE
from interp.garden.train import finish, fit
from interp.hooks import HookedModel
from interp.results import bootstrap_mean, plots

if TYPE_CHECKING:
    import plotly.graph_objects as go

NAMES = {"gpt": "pre-norm", "post-norm": "post-norm", "peri-ln": "peri-norm", "parallel": "parallel",
         "ladder": "ladder", "looped": "looped"}
SIZES = {"d_model": 64, "n_layers": 8, "n_heads": 4, "d_mlp": 256, "d_vocab": 1024, "n_ctx": 128}
STEPS, BATCH, RATE = 1500, 8, 1e-3
SEEDS = (0, 1)


def trained(name: str, seed: int, folder: Path) -> HookedModel:
    """The model of this architecture and seed, from `folder` or trained there now (resumable)."""
    from interp.garden.loading import load

    recipe = replace(RECIPE, name=f"depth-{name}", architecture=name, sizes=SIZES, steps=STEPS, batch=BATCH, rate=RATE,
                     baseline=None)
    place = folder / f"{name}-{seed}"
    if not (place / "metrics.json").exists():
        finish(fit(recipe, seed=seed, folder=place), recipe, seed, place)
    return load(str(place))


def measured(model: HookedModel, seed: int) -> dict[str, Any]:
    """Curves by depth of one model on 16 windows of 64 held-out tokens, first token and massive ones left out."""
    shown = examples(model, 16, 64, seed=seed)
    found = profile(model, shown.x, lens=8, clusters=shown.clusters)
    skips = {mode: skip_effects(model, shown.x, mode, clusters=shown.clusters) for mode in ("current", "future")}
    later = {mode: skip.strength().mean(1).tolist() for mode, skip in skips.items()}
    output = {mode: [e.to_dict() for e in skip.on_output()] for mode, skip in skips.items()}
    loss = -model(shown.x)[:, :-1].log_softmax(-1).gather(-1, shown.x[:, 1:, None])[..., 0].mean(1)
    return {
        "loss": bootstrap_mean(loss.detach().double(), shown.clusters, unit="documents").to_dict(),
        "norm": found.curve("stream", "norm", "median", masked=True).tolist(),
        "relative": found.curve("block", "relative", masked=True).tolist(),
        "cosine": found.curve("block", "cosine", masked=True).tolist(),
        "kl": found.lens.values["kl"].mean((1, 2)).tolist(),
        "output": output, "later": later,
        "half": {"written": half_depth(found.curve("block", "relative", masked=True)),
                 "output": half_depth(skips["current"].output_mean.mean(1)),
                 "future": half_depth(skips["future"].output_mean.mean(1).clamp(min=0) + 1e-12)},
    }


PANELS = {
    "norm": ("Length of the stream", "norm (median)", "blocks passed"),
    "relative": ("Written, relative to what is kept", "mean of ratios", "block"),
    "cosine": ("Direction of what a block writes", "cosine", "block"),
    "kl": ("Logit lens", "KL to the answer (nats)", "blocks passed"),
    "current": ("Output without a block", "L2 of probabilities", "block left out"),
    "future": ("Later tokens without a block's past", "L2 of probabilities", "block left out"),
}


def figure(found: dict[str, list[dict[str, Any]]]) -> "go.Figure":
    """Six panels, one line an architecture: the mean over seeds, its band from the lowest to the highest seed."""
    drawn = panels([title for title, _, _ in PANELS.values()], columns=3, height=230,
                   title="Eight depths of six architectures trained on the same text")
    for i, (name, title) in enumerate(NAMES.items()):
        for panel, key in enumerate(PANELS):
            rows = np.array([seed[key] if key in seed else [e["value"] for e in seed["output"][key]]
                             for seed in found.get(name, [])])
            if len(rows):
                add_line(drawn, panel, range(rows.shape[1]), rows.mean(0), name=title, columns=3,
                         style=(plots.LINES[i], plots.DASHES[i]), low=rows.min(0), high=rows.max(0))
    for panel, (key, (_, unit, x_title)) in enumerate(PANELS.items()):
        axes(drawn, panel, x_title, unit, columns=3, **({"type": "log"} if key in ("norm", "relative") else {}))
    return drawn


def main() -> None:
    """Train what is missing, measure everything, print a table, write JSON and the figure's JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.depth_architectures", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("runs/depth_architectures"), help="where models are kept")
    parser.add_argument("--seeds", type=int, default=1, choices=range(1, len(SEEDS) + 1), help="how many seeds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before, found = conditions(), {}
    for seed in SEEDS[: arguments.seeds]:
        for name in NAMES:
            found.setdefault(name, []).append(measured(trained(name, seed, arguments.models), seed))
    with recording() as tables:
        show_rows("Eight depths, equal data", [
            {"architecture": NAMES[name], "seed": SEEDS[i], "loss": round(row["loss"]["value"], 3),
             "loss_low": round(row["loss"]["low"], 3), "loss_high": round(row["loss"]["high"], 3),
             **{f"half_{key}": round(value, 3) for key, value in row["half"].items()}}
            for name, rows in found.items() for i, row in enumerate(rows)])
    recipe = {"sizes": SIZES, "steps": STEPS, "batch": BATCH, "rate": RATE, "data": "garden/text-small"}
    print(write("depth_architectures", before, tables, recipe=recipe, curves=found))
    page = figure(found).to_html(include_plotlyjs=True, full_html=True)
    arguments.models.mkdir(parents=True, exist_ok=True)
    (arguments.models / "figure.html").write_text(page)
    print(arguments.models / "figure.html")


if __name__ == "__main__":
    main()
