"""What In-context shows: curves measured now, and the runs of `interp icl match` and `interp icl probe`."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from apps.dashboard import access, folders

PROMPTS = 300
"""Fresh prompts by which a curve is measured now."""
SEED = 100_000
"""Added to the seed of the page: no model was trained on these prompts."""


@dataclass(frozen=True)
class Curve:
    """`frame` as of `interp.icl.run`, `metric` error or accuracy, `task` the class in words, `n` points of a prompt."""

    frame: pd.DataFrame
    metric: str
    task: str
    n: int
    prompts: int


def models() -> list[str]:
    """The shipped models that learn a class of functions in context."""
    return [name for name in access.names() if _trained_on(name)]


@st.cache_data(max_entries=64, show_spinner=False)
def _trained_on(name: str) -> str:
    """The class of functions that a shipped model learned, with its options; "" where it learned none."""
    from interp.garden.recipes import NAMES, recipe

    own = name.removeprefix("garden/")
    task = recipe(own).task if own in NAMES and name.startswith("garden/") else None
    return task if isinstance(task, str) else ""


def classes(model: str) -> list[str]:
    """The class that a model was trained on, then the same with its prompts drawn otherwise, as they are typed."""
    from interp.results.errors import BadInput
    from interp.tasks.functions import function_task
    from interp.tasks.functions.shifts import AMOUNTS

    own = _trained_on(model)
    if not own:
        return ["linear:d=5"]
    found = [own]
    for shift in AMOUNTS:
        written = f"{own}{',' if ':' in own else ':'}shift={shift}"
        try:
            function_task(written)
        except BadInput:  # signs cannot be scaled, points that make one another not moved
            continue
        found.append(written)
    return found


@st.cache_data(max_entries=32, show_spinner="Asking with more and more examples ...")
def curves(model: str, task: str, seed: int) -> Curve:
    """Error or accuracy by the number of examples, of the model and the predictors that belong to the class.

    Raises BadInput for a class that is not known, or a model that does not read its points.
    """
    from interp.icl import run
    from interp.tasks.functions import function_task

    made = function_task(task)
    with access.model(model) as hooked:
        found = run(hooked, made, prompts=PROMPTS, seed=SEED + seed)
    return Curve(found.frame(), found.metric, found.task, found.n, PROMPTS)


def of_run(run: str) -> Curve:
    """The curves in a run of `interp icl run`. Raises BadFile for another one."""
    from interp.results.errors import BadFile

    frame = folders.table(run, "curves")
    metric = next((name for name in ("error", "accuracy") if frame is not None and name in frame), None)
    if metric is None:
        raise BadFile(f"{run} holds no curves: it is a run of {folders.open_run(run).command}")
    config = folders.open_run(run).config
    return Curve(frame, metric, str(config.get("task", "")), int(frame["examples"].max()) + 1,
                 int(frame["prompts"].max()))


def runs(command: str, model: str) -> list[str]:
    """The finished runs of a command with a model, ours before those that ship."""
    frame = folders.listing()
    if not len(frame):
        return []
    chosen = frame[(frame["command"] == command) & (frame["model"] == model) & (frame["status"] == "done")]
    return list(chosen["run"])


@dataclass(frozen=True)
class Matched:
    """A run of `interp icl match`. One row: `table` a family and depth, `depths` a depth with its candidates, `errors`
    a condition and depth, `rates` a condition; `verdict` and `reason` as the rule says."""

    run: str
    verdict: str
    reason: str
    table: pd.DataFrame
    depths: pd.DataFrame
    errors: pd.DataFrame
    rates: pd.DataFrame | None
    config: dict[str, Any]


def matched(run: str) -> Matched:
    """The tables of a run of `interp icl match`. Raises BadFile for another one."""
    from interp.results.errors import BadFile

    there = folders.open_run(run)
    tables = {name: folders.table(run, name) for name in ("match", "match_verdict", "match_errors", "match_rates")}
    if tables["match"] is None or tables["match_verdict"] is None or tables["match_errors"] is None:
        raise BadFile(f"{run} holds no matching: it is a run of {there.command}")
    summary = there.info["summary"]
    return Matched(run, str(summary.get("verdict", "undecided")), str(summary.get("reason", "")), tables["match"],
                   tables["match_verdict"].astype({"candidates": object, "why_not": object}).fillna(""),
                   tables["match_errors"], tables["match_rates"], there.config)


def probed(run: str) -> pd.DataFrame:
    """The table of a run of `interp icl probe`. Raises BadFile for another one."""
    from interp.results.errors import BadFile

    frame = folders.table(run, "probes")
    if frame is None:
        raise BadFile(f"{run} holds no probes: it is a run of {folders.open_run(run).command}")
    return frame
