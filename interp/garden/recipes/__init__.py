"""Recipes of the models that ship: one file each, and one for all of the comparison of architectures."""

from importlib import import_module

from interp.garden.recipe import Recipe
from interp.garden.recipes import compared
from interp.results.errors import BadInput, nearest

NAMES = ("induction-2l", "induction-1l", "mod-add-29", "sorting-1l", "dyck-2l", "digits-vit", "text-small",
         "icl-linear-d5", "icl-teaching", "icl-representation")
NAMES += compared.NAMES


def recipe(name: str) -> Recipe:
    """The recipe called `name`. Raises BadInput, naming the nearest."""
    if name not in NAMES:
        raise BadInput(f"no recipe {name!r}.{nearest(name, NAMES)} There are: {', '.join(NAMES)}")
    if name in compared.NAMES:
        return import_module(compared.MODULE).recipe(name)
    return import_module(f"{__name__}.{name.replace('-', '_')}").RECIPE
