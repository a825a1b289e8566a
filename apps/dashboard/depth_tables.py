"""What Depth shows: the tables of `interp depth`, of a run or measured now, and quality without some blocks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import access, folders
from apps.dashboard.results import Question

NOW = 2.0e10
"""Parameters x visits x positions x prompts x depths up to which everything is measured while one waits."""
PROMPTS = 12
"""Of the discover part, which are measured now."""
DRAWS = 4
"""Random sets of blocks beside each size."""
WINDOWS, TOKENS = 8, 64
"""Of held-out text, by which a language model's loss is measured."""


@dataclass(frozen=True)
class Depths:
    """`tables` by the names that a run of `interp depth` gives them; `what` was looked at, `unit` is the output's."""

    tables: dict[str, pd.DataFrame]
    what: str
    unit: str
    run: str


def runs(model: str) -> list[str]:
    """The finished depth runs of a model, newest first."""
    frame = folders.listing()
    if not len(frame):
        return []
    chosen = frame[(frame["model"] == model) & (frame["command"] == "depth") & (frame["status"] == "done")]
    return list(chosen["run"])


@st.cache_data(max_entries=32, show_spinner=False)
def fits_now(q: Question) -> bool:
    """Whether the depths of this model are measured while one waits."""
    return _cost(q) * access.facts(q.model)["depths"] <= NOW


def _cost(q: Question) -> float:
    """Parameters x visits x positions x prompts of a forward."""
    part = access.prompts(q.model, q.task)
    with access.model(q.model) as model:
        paths = [block.path for block in model.map.blocks.values()]
        visits = len(paths) / len(set(paths)) if paths else 1
        return (sum(p.numel() for p in model.parameters()) * visits * model.batch_of(part.clean)[1] *
                min(PROMPTS, len(part)))


@st.cache_data(max_entries=16, show_spinner="Reading the run ...")
def of_run(run: str) -> Depths:
    """The tables of a run folder. Raises BadFile for a run of another kind."""
    from interp.results.errors import BadFile

    found = folders.open_run(run)
    names = sorted(path.stem for path in (found.path / "tables").glob("*.csv"))
    if found.command != "depth" or "profile" not in names:
        raise BadFile(f"{run} is a run of {found.command}, not of interp depth")
    config = found.config
    what = f"prompts of the task {config['task']}" if config.get("task") else "held-out text or pictures"
    return Depths({name: found.table(name) for name in names}, f"{config.get('n', '?')} {what}, run {run}",
                  output_unit(config["model"]), run)


@st.cache_data(max_entries=16, show_spinner="Leaving out every block in turn ...")
def measured(q: Question) -> Depths:
    """Profile, skip effects and phases on prompts of the task, now. Raises RequiresResidualStream without a stream."""
    from interp.depth import profile, skip_effects
    from interp.depth.structures import structure

    part = access.prompts(q.model, q.task).part("discover")
    part = part.rows(slice(0, PROMPTS))
    with access.model(q.model) as model:
        found = profile(model, part.clean, clusters=part.clusters)
        skips = [skip_effects(model, part.clean, mode, clusters=part.clusters)
                 for mode in (("current", "future") if model.map.causal and _long(part) else ("current",))]
        whole = structure(model, part.clean, q.seed)
    tables = {"profile": found.frame(), "influence": whole.influence}
    if found.lens is not None:
        tables["logit_lens"] = found.lens.frame()
    for skip in skips:
        tables |= {f"skip_{skip.mode}": skip.frame(), f"skip_{skip.mode}_output": skip.output_frame()}
    if whole.phases is not None:
        tables |= {"phases": whole.phases.frame(), "phase_curve": whole.phases.curve,
                   "phase_distances": pd.DataFrame(whole.phases.distances)}
    if whole.loops is not None:
        tables["loops"] = whole.loops.frame()
    return Depths(tables, f"{len(part)} prompts of the task {q.task}", skips[0].output_unit, "")


def _long(part: Any) -> bool:
    """Whether prompts have tokens before and behind a middle one."""
    lengths = part.lengths
    return int((lengths.stop - lengths.first).min()) >= 4


@st.cache_data(max_entries=16, show_spinner=False)
def output_unit(name: str) -> str:
    """How a change of a model's output is measured."""
    from interp.depth.engine import output_unit as unit

    with access.model(name) as model:
        return unit(model)


def short(block: str) -> str:
    """blocks.3 as L3, encoder.blocks.0 as encoder L0."""
    stack, _, depth = block.rpartition("blocks.")
    return f"{stack.rstrip('.')} L{depth}".strip()


# -- taking blocks away ---------------------------------------------------------------------------------------------


@st.cache_data(max_entries=16, show_spinner=False)
def blocks(name: str) -> list[str]:
    """The blocks that can be taken away, by depth."""
    from interp.surgery.drop import droppable

    with access.model(name) as model:
        return list(droppable(model, "block"))


def reads_text(name: str) -> bool:
    """Whether loss on text can be measured."""
    facts = access.facts(name)
    return bool(facts["tokenizer"] and facts["causal"])


@st.cache_data(max_entries=32, show_spinner="Taking blocks away ...")
def without(q: Question, by: str, sets: tuple[tuple[str, ...], ...]) -> list[Any]:
    """What is left without each of these sets of blocks, an Estimate each: the task's metric on its test prompts, or
    the mean loss (nats) on windows of held-out text for `by` "text". The writes of the blocks are held at zero."""
    return _by_text(q, sets) if by == "text" else _by_task(q, sets)


def _by_task(q: Question, sets: tuple[tuple[str, ...], ...]) -> list[Any]:
    from interp.effects import effects
    from interp.hooks import Source
    from interp.results import bootstrap_mean

    part = access.prompts(q.model, q.task).part("test")
    with access.model(q.model) as model:
        writes = {name: [Source(w) for step in model.map.blocks[name].steps for w in step.writes]
                  for name in model.map.blocks}
        groups = [[source for name in chosen for source in writes[name]] for chosen in sets if chosen]
        if groups:
            done = effects(model, part.clean, groups, part.metric, clusters=part.clusters)
            clean, lost = done.clean.double().numpy(), iter(done.values.double().numpy())
        else:
            clean, lost = effects(model, part.clean, [next(iter(writes.values()))], part.metric).clean.numpy(), iter(())
    return [bootstrap_mean(clean - (next(lost) if chosen else 0), part.clusters, unit="prompts", seed=q.seed)
            for chosen in sets]


def _by_text(q: Question, sets: tuple[tuple[str, ...], ...]) -> list[Any]:
    from interp.results import bootstrap_mean
    from interp.surgery.drop import dropped
    from interp.surgery.quality import text_loss, windows

    found = []
    with access.model(q.model) as model:
        room = min(TOKENS, access.facts(q.model)["context"] or TOKENS)
        shown = windows(model, WINDOWS, room, seed=q.seed)
        for chosen in sets:
            with dropped(model, chosen):
                found.append(bootstrap_mean(text_loss(model, shown.ids).double().numpy(), shown.documents,
                                            unit="documents", seed=q.seed))
    return found


@st.cache_data(max_entries=32, show_spinner="Taking blocks away ...")
def curve(q: Question, by: str, order: tuple[str, ...]) -> pd.DataFrame:
    """One row a number of blocks taken away in this order: quality, low, high, and `random`, `random_low` and
    `random_high`, the mean and the range over sets of as many blocks drawn at random."""
    from interp.surgery.quality import random_removals

    sizes = range(len(order) + 1)
    with access.model(q.model) as model:
        drawn = [[tuple(names) for names in random_removals(model, k, "block", DRAWS, q.seed)] for k in sizes]
    sets = [order[:k] for k in sizes] + [names for k in sizes for names in drawn[k]]
    found = without(q, by, tuple(sets))
    rows = []
    for k in sizes:
        own, others = found[k], [found[len(order) + 1 + k * DRAWS + i].value for i in range(DRAWS)]
        rows.append({"taken": k, "quality": own.value, "low": own.low, "high": own.high,
                     "random": float(np.mean(others)), "random_low": min(others), "random_high": max(others)})
    return pd.DataFrame(rows)
