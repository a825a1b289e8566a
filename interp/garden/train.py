"""One training loop for every recipe: AdamW, warm-up and cosine, resumable, reproducible from its seed.

The batch of a step depends on (seed, step) alone, so a run that was killed continues as if it had not been.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from interp.garden.catalog import build
from interp.garden.recipe import IGNORE, Recipe
from interp.garden.recipes import recipe as find_recipe
from interp.hooks.files import save_model
from interp.hooks.model import HookedModel
from interp.results.errors import BadInput
from interp.results.files import atomic_write
from interp.results.training_loop import run_steps, share_of_peak
from interp.results.training_state import CHECKPOINT, STRIDE

CHECKPOINT_EVERY = 250


def train(
    recipe_name: str, out: str | Path | None = None, seed: int = 0, steps: int | None = None, device: str = "cpu"
) -> HookedModel:
    """Train a model of the garden; with `out`, keep checkpoints there and leave weights and `metrics.json` at the end.

    A directory that holds a checkpoint of the same recipe, seed and steps is continued.
    Raises BadInput for an unknown recipe, fewer than one step, or a directory that belongs to another run.
    """
    recipe = find_recipe(recipe_name)
    if steps is not None:
        if steps < 1:
            raise BadInput(f"{steps} steps were asked for; at least 1 is needed")
        recipe = replace(recipe, steps=steps, warmup=min(recipe.warmup, steps))
    model = fit(recipe, seed=seed, device=device, folder=None if out is None else Path(out))
    if out is not None:
        finish(model, recipe, seed, Path(out))
    return model


def fit(recipe: Recipe, *, seed: int, device: str = "cpu", folder: Path | None = None) -> HookedModel:
    """The loop itself: a trained model on the CPU, in eval mode."""
    model = build(recipe.architecture, seed=seed, **recipe.sizes).to(device)
    model.name = recipe.name
    model.tokenizer = recipe.tokenizer() if recipe.tokenizer else None
    if recipe.fit is not None:
        return recipe.fit(model, seed=seed, steps=recipe.steps, folder=folder).to("cpu").eval()
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    run_steps(
        model.module, optimiser, lambda step: _loss(model, recipe, seed, step, device), steps=recipe.steps,
        warmup=recipe.warmup, title=f"training {recipe.name}", folder=folder, identity=_identity(recipe, seed),
        every=CHECKPOINT_EVERY,
    )
    return model.to("cpu").eval()


def _loss(model: HookedModel, recipe: Recipe, seed: int, step: int, device: str) -> Tensor:
    batch = recipe.data(recipe.batch, torch.Generator().manual_seed(seed * STRIDE + step))
    logits = model(batch.tokens.to(device))
    return cross_entropy(logits.flatten(0, -2), batch.targets.to(device).flatten(), ignore_index=IGNORE)


def schedule(step: int, recipe: Recipe) -> float:
    """Share of the peak learning rate at `step`."""
    return share_of_peak(step, recipe.steps, recipe.warmup)


def finish(model: HookedModel, recipe: Recipe, seed: int, folder: Path, **more: Any) -> dict[str, Any]:
    """Measure, write weights, `interp.json` and `metrics.json` (with `more` in it), and drop the checkpoint.

    Returns what was written.
    """
    record = {"recipe": recipe.name, "seed": seed, "steps": recipe.steps, **more, "metrics": recipe.metrics(model)}
    if recipe.baseline is not None:
        record["baseline"] = recipe.baseline()
    save_model(model, folder, extra={"training": record})
    atomic_write(folder / "metrics.json", json.dumps(record, indent=2) + "\n")
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return record


def _identity(recipe: Recipe, seed: int) -> dict[str, str]:
    return {"recipe": recipe.name, "seed": str(seed), "steps": str(recipe.steps), "sizes": json.dumps(recipe.sizes)}
