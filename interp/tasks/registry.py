"""The tasks by name, and building one for a model."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from interp.results.errors import BadInput, nearest
from interp.tasks.agreement import agreement
from interp.tasks.atom_mapping import atom_mapping
from interp.tasks.between import between
from interp.tasks.capitals import capitals
from interp.tasks.digits import digits
from interp.tasks.docstring import docstring
from interp.tasks.dyck import dyck
from interp.tasks.greater_than import greater_than
from interp.tasks.induction import induction
from interp.tasks.ioi import ioi
from interp.tasks.mod_add import mod_add
from interp.tasks.options import read_options
from interp.tasks.patches import patches
from interp.tasks.pronoun import pronoun
from interp.tasks.recall import recall
from interp.tasks.similarity import similarity
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
        "pronoun": pronoun,
        "capitals": capitals,
        "docstring": docstring,
        "induction": induction,
        "recall": recall,
        "mod-add": mod_add,
        "sorting": sorting,
        "dyck": dyck,
        "atom-mapping": atom_mapping,
        "similarity": similarity,
        "digits": digits,
        "patches": patches,
        "between": between,
    }.items()
}
_WORDS = {"true": True, "false": False}


def tasks() -> list[Entry]:
    """Every task that `task` can build."""
    return list(_TASKS.values())


def task(name: str, model: Any = None, n: int = 64, seed: int = 0, **options: Any) -> Task:
    """n prompts of the task called `name`, made from `seed` for the tokenizer or vocabulary of `model`.

    Options are the task's own (`tasks()` lists them), such as counterfactual="swap" for ioi; the tasks of English text
    take tokenizer=... in the place of a model. They may stand in the name, as a person types them:
    "ioi:counterfactual=swap,template=2". The task that is made is called so, with all options that are not the default,
    so that its name is enough to make it again.
    Raises BadInput for an unknown task or option, naming the nearest, an option given twice, and where the task does
    not fit the model.
    """
    name, _, written = str(name).partition(":")
    if name not in _TASKS:
        raise BadInput(f"there is no task {name!r}.{nearest(name, _TASKS)} There are: {', '.join(_TASKS)}.")
    entry = _TASKS[name]
    options = read_options(written, options, _value, whole=f"the task {name + ':' + written!r}", of=f"task {name!r}")
    for option in options:
        if option not in entry.options:
            there = ", ".join(entry.options) or "none"
            raise BadInput(f"task {name!r} has no option {option!r}.{nearest(option, entry.options)} It has: {there}.")
    return replace(entry.make(model, n, seed, **options), name=_written(entry, options))


def _value(text: str) -> Any:
    """Numbers and true or false as such, other words as they are."""
    return _WORDS.get(text, int(text) if text.lstrip("-").isdigit() else text)


def _written(entry: Entry, options: dict[str, Any]) -> str:
    """The task's name with the options that are not the default and can be written, in the order of its signature."""
    words = {value: word for word, value in _WORDS.items()}
    given = [(key, options[key]) for key, default in entry.options.items() if options.get(key, default) != default]
    said = [f"{key}={words[value] if isinstance(value, bool) else value}" for key, value in given
            if isinstance(value, bool | int | str)]
    return ":".join(filter(None, (entry.name, ",".join(said))))
