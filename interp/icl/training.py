"""Training a model to learn in context: fresh prompts at every step, the loss at every k, a curriculum if wanted
(Garg et al. 2022, arXiv 2208.01066, appendix A)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import softplus

from interp.hooks.model import HookedModel
from interp.icl.models import is_system, outputs
from interp.results.errors import BadInput
from interp.results.training_loop import run_steps
from interp.results.training_state import CHECKPOINT, STRIDE
from interp.tasks.functions import Episodes, FunctionTask, function_task, shifted

CHECKPOINT_EVERY = 250


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """Growth of the prompts: from `points` (and `dims` active coordinates, where given) to all of them, one step of
    `by_points` points and one coordinate every `interval` steps."""

    points: int
    by_points: int = 2
    dims: int | None = None
    interval: int = 1000

    def at(self, step: int, n: int, d: int) -> tuple[int, int]:
        """(points, active coordinates) at a step."""
        grown = step // self.interval
        dims = d if self.dims is None else min(self.dims + grown, d)
        return min(self.points + self.by_points * grown, n), dims


def loss_of(said: Tensor, answers: Tensor, labels: str) -> Tensor:
    """Mean over prompts and k: squared error, or cross-entropy in nats for labels -1 and +1 and log-odds."""
    if labels == "sign":
        return softplus(-answers * said).mean()
    return (said - answers).square().mean()


def train(
    model: HookedModel, task: FunctionTask | str, *, n: int, steps: int = 20_000, batch: int = 64, rate: float = 1e-3,
    warmup: int = 500, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.999),
    curriculum: Curriculum | None = None, seed: int = 0, folder: str | Path | None = None,
    checkpoints: Iterable[int] = (),
) -> HookedModel:
    """`model`, trained in place on fresh prompts of n points (AdamW, warm-up, cosine to 2 %, gradients clipped at 1).

    With `folder` a killed training goes on where it was, and after each step count in `checkpoints` the model is saved
    as `folder/step-N`. The prompts of a step depend on (seed, step) alone. Raises BadInput for counts that do not fit.
    """
    task = function_task(task) if isinstance(task, str) else task
    if steps < 1 or not 0 <= warmup:
        raise BadInput(f"{steps} steps with a warm-up of {warmup} were asked for; at least 1 step is needed")
    warmup = min(warmup, steps)
    folder = None if folder is None else Path(folder)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=betas, weight_decay=weight_decay, fused=True)
    wanted = set(checkpoints)
    if wanted and folder is None:
        raise BadInput("checkpoints need a folder to be saved in")

    def after(done: int) -> None:
        if done in wanted:
            model.save(folder / f"step-{done}")

    identity = {"task": repr(task), "n": str(n), "steps": str(steps), "batch": str(batch), "rate": repr(rate),
                "warmup": str(warmup), "weight_decay": repr(weight_decay), "betas": repr(betas), "seed": str(seed),
                "curriculum": repr(curriculum), "model": repr(model.recipe)}

    def loss_at(step: int) -> Tensor:
        return _loss(model, task, n, batch, seed * STRIDE + step, step, curriculum)

    run_steps(model.module, optimiser, loss_at, steps=steps, warmup=warmup, title=f"training on {task.name}",
              folder=folder, identity=identity, every=CHECKPOINT_EVERY, after=after)
    if folder is not None:
        model.save(folder)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return model


def _loss(model: HookedModel, task: FunctionTask, n: int, batch: int, seed: int, step: int,
          curriculum: Curriculum | None) -> Tensor:
    drawn = prompts(task, n, batch, seed, step, curriculum)
    xs, ys, answers = (part.to(model.device) for part in (drawn.xs, drawn.ys, drawn.targets))
    return loss_of(outputs(model, xs, ys), answers, task.labels)


def prompts(task: FunctionTask, n: int, batch: int, seed: int, step: int = 0,
            curriculum: Curriculum | None = None) -> Episodes:
    """The prompts of one step. Raises BadInput for a curriculum of coordinates over a class that cannot omit them."""
    if curriculum is None:
        return task.sample(batch, n, seed)
    points, dims = curriculum.at(step, n, task.d)
    if dims < task.d:
        if is_system(task):
            raise BadInput(f"{task.name} has no coordinates that could be left out at first")
        task = shifted(task, "dims", dims)
    drawn = task.sample(batch, n, seed)  # all points, so that the curriculum changes nothing of what is drawn
    return replace(drawn, xs=drawn.xs[:, :points], ys=drawn.ys[:, :points])
