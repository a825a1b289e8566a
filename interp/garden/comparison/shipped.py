"""The models of the comparison that ship, as recipes."""

from interp.garden.comparison.compare import contender
from interp.garden.comparison.tasks import token_task
from interp.garden.recipe import Recipe
from interp.garden.recipes.compared import RATES


def recipe(name: str) -> Recipe:
    """The recipe of a shipped model TASK-ARCHITECTURE."""
    task, _, architecture = name.partition("-")
    return contender(token_task(task), architecture).recipe(RATES[task][architecture])
