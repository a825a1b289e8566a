"""The tasks by name, and building one for a model."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interp.results.errors import BadInput, nearest
from interp.tasks.agreement import agreement
from interp.tasks.atom_mapping import atom_mapping
from interp.tasks.greater_than import greater_than
from interp.tasks.induction import induction
from interp.tasks.ioi import ioi
from interp.tasks.mod_add import mod_add
from interp.tasks.sorting import sorting
from interp.tasks.task import Task


@dataclass(frozen=True)
class Entry:
    """A registered task: its name, what it asks in a line, its options with their defaults, and its maker."""

    name: str
    line: str
    options: dict[str, Any]
    make: Callable[..., Task]


def _entry(name: str, make: Callable[..., Task]) -> Entry:
    parameters = inspect.signature(make).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return Entry(name, inspect.getdoc(make).splitlines()[0], options, make)


_TASKS = {
    name: _entry(name, make)
    for name, make in {
        "ioi": ioi,
        "greater-than": greater_than,
        "agreement": agreement,
        "induction": induction,
        "mod-add": mod_add,
        "sorting": sorting,
        "atom-mapping": atom_mapping,
    }.items()
}


def tasks() -> list[Entry]:
    """Every task that `task` can build."""
    return list(_TASKS.values())


def task(name: str, model: Any = None, n: int = 64, seed: int = 0, **options: Any) -> Task:
    """n prompts of the task called `name`, made from `seed` for the tokenizer or vocabulary of `model`.

    Options are the task's own (`tasks()` lists them), such as counterfactual="swap" for ioi; the tasks of English text
    take tokenizer=... in the place of a model.
    Raises BadInput for an unknown task or option, naming the nearest, and where the task does not fit the model.
    """
    if name not in _TASKS:
        raise BadInput(f"there is no task {name!r}.{nearest(str(name), _TASKS)} There are: {', '.join(_TASKS)}.")
    entry = _TASKS[name]
    for option in options:
        if option not in entry.options:
            there = ", ".join(entry.options) or "none"
            raise BadInput(f"task {name!r} has no option {option!r}.{nearest(option, entry.options)} It has: {there}.")
    return entry.make(model, n, seed, **options)
