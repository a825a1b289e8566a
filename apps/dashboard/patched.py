"""What Patch shows: maps of effects by part and position, exact where there is time, and one patch applied."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import access
from apps.dashboard.results import GRADIENT, Question, one_of_task

if TYPE_CHECKING:
    from interp.discovery.patching import PatchMap
    from interp.results import Estimate

NOW = 3.0e10
"""Parameters x visits x positions x prompts x cells up to which exact effects are measured while one waits."""
ROWS = 48
"""Heads that are shown of a model with more."""


@dataclass(frozen=True)
class Maps:
    """`estimate` is complete; `exact` has the cells that there was time for, all or those with the largest estimates.

    `note` says what was left out. `correlation` is over the cells that both have, `cells` the table of these.
    """

    exact: "PatchMap"
    estimate: "PatchMap"
    correlation: "Estimate | None"
    cells: pd.DataFrame
    complete: bool
    note: str


@st.cache_data(max_entries=32, show_spinner="Patching every position ...")
def maps(q: Question, row: int, on: str, what: str, direction: str, metric: str) -> Maps:
    """Both maps of one prompt, or over the discover prompts. Raises as `interp.discovery.patching.patch_map`."""
    from interp.discovery.patching import agreement, patch_map

    part, notes = _part(q, row, on, metric), []
    with access.model(q.model) as model:
        size = _size(model, part)
        if size * len(part) > GRADIENT and len(part) > 1:
            few = max(4, int(GRADIENT / size))
            if few < len(part):
                notes.append(f"{few} of {len(part)} prompts.")
                part = part.rows(slice(0, few))
        estimate = patch_map(model, part, what, direction, "tangent")
        if len(estimate.parts) > ROWS:
            notes.append(f"{ROWS} of {len(estimate.parts)} heads: those with the largest estimates.")
            strongest = np.argsort(-np.nanmax(np.abs(estimate.mean), axis=1), kind="stable")[:ROWS]
            kept = sorted(strongest.tolist())
            estimate = replace(estimate, parts=[estimate.parts[i] for i in kept], values=estimate.values[kept])
        cells = np.argwhere(~np.isnan(estimate.mean))
        room = max(6, int(NOW / (size * len(part))))
        complete = len(cells) <= room
        if not complete:
            notes.append(f"{room} of {len(cells)} cells are measured exactly, those with the largest estimates; any "
                         "other is when it is clicked.")
            order = np.argsort(-np.abs(estimate.mean[tuple(cells.T)]), kind="stable")
            cells = cells[order[:room]]
        exact = patch_map(model, part, what, direction, parts=estimate.parts, cells=[tuple(c) for c in cells.tolist()])
    return Maps(exact, estimate, *agreement(exact, estimate, q.seed), complete, " ".join(notes))


@dataclass(frozen=True)
class Applied:
    """One patch: the metric of this prompt without and with it, and where nobody looked (None: see `why`)."""

    label: str
    clean: float
    corrupt: float
    patched: float
    unit: str
    held: "Estimate | None"
    why: str
    following: pd.DataFrame | None


@st.cache_data(max_entries=64, show_spinner="Applying it ...")
def apply(q: Question, row: int, site: str, head: int | None, position: int, what: str, direction: str, metric: str
          ) -> Applied:
    """One patch on the prompt that is shown, with the likeliest answers, and its mean effect on held-out prompts."""
    from interp.discovery.patching import patch_map
    from interp.hooks import Counterfactual
    from interp.lens import look
    from interp.results import Node
    from interp.results.errors import BadInput

    part, node = _part(q, row, "one", metric), Node(site, head)
    held, why, table = None, "", None
    with access.model(q.model) as model:
        one = patch_map(model, part, what, direction, parts=[node], cells=[(0, position)])
        try:
            if q.own:
                raise BadInput("a prompt of your own has no held-out prompts")
            test = _measured_by(q.prompts().part("test"), metric)
            held = patch_map(model, test, what, direction, parts=[node], cells=[(0, position)]).estimate(0, position)
        except BadInput as error:
            why = str(error)
        if model.map.unembed is not None:
            sides = (part.corrupt, part.clean) if direction == "restore" else (part.clean, part.corrupt)
            at = look.asked_at(part)
            tables = [look.next_tokens(model, side, at) for side in (part.clean, part.corrupt)]
            ids = list(dict.fromkeys([*tables[0]["id"][:5], *tables[1]["id"][:3]]))
            tables.append(look.next_tokens(model, sides[0], at, without=[Node(site, head, position)], also=ids,
                                           baseline=Counterfactual(sides[1])))
            ids = list(dict.fromkeys([*ids, *tables[2]["id"][:3]]))
            sides_of = [look.next_tokens(model, side, at, also=ids) for side in (part.clean, part.corrupt)] + tables[2:]
            table = pd.DataFrame({"token": look.names(model, ids)})
            for name, found in zip(("clean", "corrupted", "patched"), sides_of):
                by_id = found.set_index("id")["probability"]
                table[name] = [float(by_id.get(i, np.nan)) for i in ids]
            table = table[["token", "clean", "patched", "corrupted"]]
    effect, clean, corrupt = float(one.values[0, position, 0]), float(one.clean[0]), float(one.corrupt[0])
    return Applied(Node(site, head, position).label, clean, corrupt,
                   corrupt + effect if direction == "restore" else clean - effect, one.unit, held, why, table)


def metrics(task: Any) -> dict[str, str]:
    """The metrics that the prompts of a task can be measured by: name -> what it is."""
    own = getattr(task.metric, "unit", "") or "its unit"
    found = {"": f"the task's own, in {own}"}
    if hasattr(task.metric, "correct") and hasattr(task.metric, "positions"):
        found["log-probability"] = "log-probability of the right answer, in nats"
    return found


def _measured_by(part: Any, metric: str) -> Any:
    """The prompts with another metric; their own where it does not fit them."""
    from interp.tasks.metrics import LogProb

    if metric != "log-probability" or metric not in metrics(part):
        return part
    return replace(part, metric=LogProb(part.metric.positions, part.metric.correct))


def _part(q: Question, row: int, on: str, metric: str) -> Any:
    task = q.prompts()
    part = one_of_task(task, row) if on == "one" or q.own else task.part("discover")
    return _measured_by(part, metric)


def _size(model: Any, part: Any) -> float:
    """Parameters x visits x positions of one forward of one prompt."""
    paths = [block.path for block in model.map.blocks.values()]
    visits = len(paths) / len(set(paths)) if paths else 1
    return sum(p.numel() for p in model.parameters()) * visits * max(1, model.batch_of(part.clean)[1])
