"""Models, tasks and results as pages get them: loaded once, shared by sessions, guarded against two at a time.

    with access.model() as model: ...        the model of the URL (or access.model("garden/dyck-2l")), ours alone inside
    prompts = access.prompts()               the task of the URL, made for that model
    frame = access.grid(...)                 cached results are numbers and tables, never tensors or models

Sessions share models, not state: what a user selects lives in the URL and the session. Hooks are set on the module
itself, so a forward of one session must not run inside another's: `model()` holds the model's lock. Jobs load a copy
of their own, so that a page need not wait for them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from apps.dashboard import state

ENGLISH = ("ioi", "greater-than", "agreement", "pronoun", "capitals", "docstring", "induction")
FITS: dict[str, tuple[str, ...]] = {
    "garden/induction-2l": ("induction",),
    "garden/induction-1l": ("induction",),
    "garden/sorting-1l": ("sorting",),
    "garden/mod-add-29": ("mod-add",),
    "garden/dyck-2l": ("dyck",),
    "garden/digits-vit": ("digits",),
    "garden/text-small": ("induction",),
    "smollm2-135m": ENGLISH,
    "minilm-l6": ("similarity",),
    "dinov2-s": ("patches",),
    "rxnmapper": ("atom-mapping",),
}
"""The tasks that a model was made for or that its tokenizer knows; another one may be typed and says why not."""


@st.cache_resource(max_entries=2, show_spinner="Loading the model ...")
def _loaded(name: str) -> tuple[Any, threading.RLock]:
    from interp.commands.opened import open_model

    return open_model(name), threading.RLock()


@contextmanager
def model(name: str | None = None) -> Iterator[Any]:
    """The model called so (that of the URL without a name), for as long as the `with` lasts.

    Raises ModelMissing, BadFile or BadInput with what to do.
    """
    found, lock = _loaded(name or state.get("m"))
    with lock:
        yield found


def names() -> list[str]:
    """Every model on this machine: those that ship, then real ones that were fetched."""
    from interp.garden.fetch import REAL_MODELS, is_fetched
    from interp.garden.loading import garden_names

    return [*garden_names(), *(name for name in REAL_MODELS if is_fetched(name))]


def missing() -> list[str]:
    """What could be here and is not, a line each with the command that brings it."""
    from interp.garden.fetch import REAL_MODELS, is_fetched

    return [f"{model.name} ({model.kind}, {model.size / 1e6:.0f} MB): {model.command}"
            for model in REAL_MODELS.values() if not is_fetched(model.name)]


def tasks(name: str | None = None) -> list[str]:
    """The tasks that suit a model, best first; all where nothing is known about it."""
    import interp

    name = name or state.get("m")
    every = [entry.name for entry in interp.tasks()]
    if name in FITS:
        return list(FITS[name])
    with model(name) as hooked:
        if hooked.tokenizer is not None:
            return list(ENGLISH)
        own = ["between"] if (hooked.recipe or {}).get("source") == "catalog" else []
        return ["induction", *own] if hooked.map.input_name == "input_ids" and hooked.map.causal else own or every


def prompts(name: str | None = None, task: str | None = None) -> Any:
    """The task of the URL, made for its model with its n and seed. Raises BadInput where they do not fit."""
    return _prompts(name or state.get("m"), task or state.get("t"), state.get("n"), state.get("seed"))


@st.cache_resource(max_entries=16, show_spinner="Making the prompts ...")
def _prompts(name: str, task: str, n: int, seed: int) -> Any:
    from interp.commands.opened import open_task
    from interp.results.errors import BadInput

    with model(name) as hooked:
        if task.partition(":")[0] == "mod-add" and (hooked.map.d_vocab or 0) > 1000:
            # all pairs of numbers are listed: a vocabulary of 49,152 would take more memory than there is
            raise BadInput(f"mod-add lists all pairs of tokens, and {name} has {hooked.map.d_vocab:,}: choose a task "
                           f"that fits it: {', '.join(tasks(name))}")
        return open_task(task, hooked, n, seed)


@st.cache_data(max_entries=64, show_spinner=False)
def facts(name: str) -> dict[str, Any]:
    """What a model is, in words and numbers: layers, nodes, parameters, what it reads and how it mixes positions."""
    from interp.lens.look import facts as of

    with model(name) as hooked:
        return of(hooked)


def memory() -> str:
    """What this process holds now, for the line of the system."""
    from interp.results.environment import peak_memory

    return f"{peak_memory()['ram_bytes'] / 1e9:.1f} GB at most so far"
