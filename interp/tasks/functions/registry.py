"""Classes of functions by name."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

from interp.results.errors import BadInput, nearest
from interp.tasks.functions.boolean import Cnf, Conjunction, Disjunction, Dnf
from interp.tasks.functions.episodes import FunctionTask
from interp.tasks.functions.linear import Classification, IllConditioned, Linear, Noisy, Sparse
from interp.tasks.functions.nearest import NearestNeighbour
from interp.tasks.functions.nonlinear import Network, Quadratic, Tree
from interp.tasks.functions.representation import Dynamical, Representation
from interp.tasks.functions.shifts import shifted
from interp.tasks.functions.teaching import Teaching
from interp.tasks.functions.thresholds import IntegerHalfspace, Majority, Parity, Threshold
from interp.tasks.options import read_options

_TASKS: dict[str, Callable[..., FunctionTask]] = {
    "linear": Linear,
    "noisy": Noisy,
    "sparse": Sparse,
    "ill-conditioned": IllConditioned,
    "classification": Classification,
    "quadratic": Quadratic,
    "network": Network,
    "tree": Tree,
    "conjunction": Conjunction,
    "disjunction": Disjunction,
    "dnf": Dnf,
    "cnf": Cnf,
    "majority": Majority,
    "threshold": Threshold,
    "halfspace": IntegerHalfspace,
    "parity": Parity,
    "sparse-parity": partial(Parity, size=2),
    "nearest-neighbour": NearestNeighbour,
    "teaching": Teaching,
    "teaching-mixture": partial(Teaching, share=0.5),
    "representation": Representation,
    "representations": partial(Representation, kinds=3),
    "dynamical": Dynamical,
}
SHIFT = ("shift", "amount")


def function_tasks() -> dict[str, dict[str, Any]]:
    """Every class of functions with its options and their defaults."""
    return {name: _options(make) for name, make in _TASKS.items()}


def _options(make: Callable[..., FunctionTask]) -> dict[str, Any]:
    given = getattr(make, "keywords", {})
    return {f.name: given.get(f.name, f.default) for f in fields(getattr(make, "func", make))}


def function_task(name: str, **options: Any) -> FunctionTask:
    """The class of functions called `name`, with options of its own (`function_tasks()` lists them).

    `shift="opposite"` (and `amount=`) draws its prompts out of distribution, see `interp.tasks.functions.shifts`.
    Options may stand in the name as a person types them: "noisy:d=8,noise=0.25".
    Raises BadInput for an unknown class, option or shift, naming the nearest, and for values that do not fit.
    """
    name, _, written = str(name).partition(":")
    if name not in _TASKS:
        raise BadInput(f"there is no class of functions {name!r}.{nearest(name, _TASKS)} There are: "
                       f"{', '.join(_TASKS)}")
    there = _options(_TASKS[name])
    options = read_options(written, options, _value, whole=repr(name + ":" + written), of=name)
    for option in options:
        if option not in {*there, *SHIFT}:
            raise BadInput(f"{name} has no option {option!r}.{nearest(option, [*there, *SHIFT])} "
                           f"It has: {', '.join([*there, *SHIFT])}")
    shift, amount = (options.pop(key, None) for key in SHIFT)
    if shift is None and amount is not None:
        raise BadInput("an amount was given without a shift; write shift=NAME too")
    made = _TASKS[name](**options)
    return made if shift is None else shifted(made, shift, amount)


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
