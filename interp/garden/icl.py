"""Models of the garden that learn a class of functions in context: their recipes, and what they are measured on."""

from functools import partial
from typing import Any

from interp.garden.recipe import Recipe
from interp.garden.recipes import NAMES, recipe
from interp.hooks.model import HookedModel
from interp.icl.curves import run
from interp.icl.training import Curriculum, train
from interp.results.errors import BadInput
from interp.tasks.functions import FunctionTask, function_task

PROMPTS, SEED = 1000, 123  # held out: no training seed draws these


def in_context(
    name: str, about: str, task: str, *, n: int, architecture: str = "gpt", steps: int, rate: float = 1e-3,
    warmup: int = 200, curriculum: Curriculum | None = None, **sizes: int,
) -> Recipe:
    """The recipe of a model that learns `task` in context from prompts of n points."""
    made = function_task(task)
    return Recipe(
        name=name, about=about, architecture=architecture, steps=steps, batch=64, rate=rate, warmup=warmup,
        weight_decay=0.0, sizes={"d_input": made.d, "d_output": 1, "n_ctx": 2 * n, **sizes}, task=task,
        fit=partial(train, task=made, n=n, rate=rate, warmup=warmup, curriculum=curriculum),
        metrics=partial(_metrics, task=made, n=n),
    )


def _metrics(model: HookedModel, *, task: FunctionTask, n: int) -> dict[str, Any]:
    """Error or accuracy by the number of examples, of the model and of what stands beside it."""
    curves = run(model, task, n=n, prompts=PROMPTS, seed=SEED)
    return {curves.metric: {name: curves.mean(name).tolist() for name in curves.scores}}


def trained_on(model: str) -> FunctionTask:
    """The class of functions that a shipped model learned. Raises BadInput where none is known of a model."""
    name = model.removeprefix("garden/")
    task = recipe(name).task if name in NAMES else None
    if task is None:
        raise BadInput(f"it is not known which class of functions {model} learned; name one with --task")
    return function_task(task)
