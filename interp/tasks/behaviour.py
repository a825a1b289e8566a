"""Whether a model does a task: asked in one place, in the same words, by the audit and by what explains the model."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean

if TYPE_CHECKING:
    from interp.tasks.task import Task

CONTRAST = "clean minus corrupt"


def not_done(model: str, task: str, gap: Estimate, unit: str, contrast: str = CONTRAST) -> str:
    """What is said of a model whose metric does not tell the two sides of a task's prompts apart."""
    return f"{model} does not do {task} here: {contrast} is {gap} {unit}: use more prompts, another task or model"


def check_done(
    model: str,
    task: "Task",
    more: Float[np.ndarray, " batch"],
    less: Float[np.ndarray, " batch"],
    contrast: str = CONTRAST,
) -> None:
    """Raises BadInput where the interval of `more` minus `less` contains 0: nothing is there to explain.

    And for a single prompt or cluster, which gives no interval.
    """
    gap = bootstrap_mean(more - less, task.clusters)
    if gap.n == 1:
        raise BadInput(
            f"a part of {task.name} has one prompt (or one cluster of them), which gives no interval: make more "
            "prompts; 6 give every part two, and 12 where prompts come in pairs"
        )
    if not gap.excludes(0):
        raise BadInput(not_done(model, task.name, gap, getattr(task.metric, "unit", ""), contrast))
