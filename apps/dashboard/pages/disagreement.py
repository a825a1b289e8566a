"""Disagreement: where methods differ about a node, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import access, cards, exports, folders, jobs, results, state, views
from apps.dashboard.results import Question

METHODS = {"removing": "remove", "restoring": "restore", "tangent": "gradient", "relp": "relevance",
           "small_change": "small × 4", "direct": "direct"}
WORDS = ("Remove and restore are exact. Gradient and relevance are one backward pass, with its derivatives or with "
         "ratios in their place. Small × 4 is a quarter of the change, times four. Direct reaches the answer through "
         "no other node.")
ROWS = 24
"""Nodes that the grid shows, those on which methods differ most first; the table has all."""
LIMIT = ("A reason is a pattern of six numbers, not a proof: repair and joint work show whether others stand in or are "
         "needed too only when they are removed together.")


@dataclass(frozen=True)
class Found:
    """`table` as of `interp.discovery.disagreement`, in `unit`; `what` was looked at, `run` is "" where it was now."""

    table: pd.DataFrame
    unit: str
    what: str
    run: str


def page() -> None:
    """Draw the page."""
    q = Question.now()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title("Disagreement")
        found = _source(q)
    st.caption(f"What every node of {q.model} does by six methods, and why they differ. {LIMIT}")
    if found is None:
        return
    st.caption(f"Means over {found.what}, in {found.unit or 'the unit of the metric'}.")
    with cards.guarded("the nodes"):
        _reasons(found)
        left, right = st.columns([3, 2], gap="medium")
        with left:
            _grid(q, found)
        with right:
            _node(q, found)
        _scatter(q, found)


# -- where it is from -----------------------------------------------------------------------------------------------


def _source(q: Question) -> Found | None:
    """A run, or what is measured now; None where neither is there, with what to do."""
    with cards.guarded("the comparison of methods"):
        known, asked = _known(q), state.get("run")
        if jobs.show(asked, command="disagreement"):
            return None
        now = fits_now(q)
        run = asked if asked in known else ""
        if known and not q.own:
            run = state.choose("run", "Measured", ([""] if now else []) + known, width=420,
                               format_func=lambda name: name or "now")
        if run:
            return _of_run(q, run)
        if now:
            table, unit, count = measured(q)
            return Found(table, unit, f"{count} discover prompts of {q.task}" if not q.own else "your own prompt", "")
        cards.empty(f"The methods were not compared on {q.task} in {q.model} yet.",
                    "Every node is removed and restored exactly, which takes minutes for a model of this size; the "
                    "result is kept as a run.")
        if st.button("Compare the methods", type="primary", icon=":material/call_split:"):
            state.put(run=jobs.start("disagreement", task=q.task, model=q.model, n=max(12, q.n), seed=q.seed))
            st.rerun()
    return None


def _known(q: Question) -> list[str]:
    """The finished runs of this model and task, newest first."""
    frame = folders.listing()
    if not len(frame):
        return []
    same = (frame["model"] == q.model) & (frame["task"] == q.task)
    return list(frame[same & (frame["command"] == "disagreement") & (frame["status"] == "done")]["run"])


@st.cache_data(max_entries=32, show_spinner=False)
def fits_now(q: Question) -> bool:
    """Whether six effects of every node are measured while one waits."""
    part = q.prompts().part("discover")
    with access.model(q.model) as model:
        size = sum(p.numel() for p in model.parameters()) * max(1, model.batch_of(part.clean)[1])
    return 3 * size * len(part) * len(access.facts(q.model)["nodes"]) <= results.EXACT / 4


@st.cache_data(max_entries=16, show_spinner="Asking every method about every node ...")
def measured(q: Question) -> tuple[pd.DataFrame, str, int]:
    """(table, unit, prompts) on the discover prompts."""
    from interp.discovery.disagreement import disagreement

    part = q.prompts().part("discover")
    with access.model(q.model) as model:
        found = disagreement(model, part)
    return found.frame(), found.unit, len(part)


def _of_run(q: Question, run: str) -> Found:
    from interp.results.errors import BadFile

    table = folders.table(run, "disagreement")
    if table is None:
        raise BadFile(f"{run} holds no comparison of methods: it is a run of {folders.open_run(run).command}")
    config = folders.open_run(run).config
    unit = getattr(access.prompts(q.model, q.task).metric, "unit", "")
    return Found(table, unit, f"the discover part of {config.get('n', '?')} prompts of {q.task}, run {run}", run)


# -- what is shown --------------------------------------------------------------------------------------------------


def _reasons(found: Found) -> None:
    """How many nodes show each reason."""
    from interp.discovery.disagreement import REASONS

    counts = found.table["reason"].value_counts()
    with st.container(horizontal=True):
        for reason, why in REASONS.items():
            if reason in counts:
                st.metric(reason, f"{counts[reason]}", help=why[0].upper() + why[1:] + ".", width=120)


def _chosen(found: Found) -> str:
    """The node that is looked at: the one of the URL, else that on which methods differ most."""
    chosen = state.nodes()
    return chosen[0] if chosen and chosen[0] in set(found.table["node"]) else found.table["node"].iloc[0]


def _grid(q: Question, found: Found) -> None:
    table = found.table.head(ROWS)
    chosen = _chosen(found)
    if chosen not in set(table["node"]):
        table = pd.concat([table, found.table[found.table["node"] == chosen]])
    names = list(table["node"])
    values = table[list(METHODS)].to_numpy(float)
    records = table.to_dict("records")
    hover = [[f"{row['node']}, {METHODS[m]}: {row[m]:+.4g} {found.unit}\n{row['reason']}: {row['why']}{_held(row)}"
              for m in METHODS] for row in records]
    rows = [row["node"] if row["reason"] == "agree" else f"{row['node']} · {row['reason']}{'' if _sure(row) else '?'}"
            for row in records]
    st.caption("Nodes by methods, the largest disagreement on top, with the reason where there is one (with ? where "
               "fewer than 95 % of resamples of the prompts show the same). Click one. "
               + WORDS + (f" {ROWS} of {len(found.table)} are shown." if len(found.table) > ROWS else ""))
    with st.container(key="methods-grid"):
        views.grid("methods", values, rows=rows, columns=list(METHODS.values()), hover=hover, unit=found.unit,
                   label="Effects by node and method", numbers=True, selected=(names.index(chosen), 0),
                   on_select=lambda cell: state.put(h=names[cell[0]] if cell else ""), tall=24, least=44)
    with st.expander("As a table"):
        views.table("methods-table", found.table, height=320,
                    on_select=lambda i: state.put(h="" if i is None else found.table["node"][i]))
    exports.bar("disagreement", found.table, "methods-grid", _code(q, found))


def _sure(row: Mapping[str, Any]) -> bool:
    """Whether other prompts would tell the same reason; runs written before this was kept do not say."""
    return row.get("support", 1.0) >= 0.95


def _held(row: Mapping[str, Any]) -> str:
    return f", in {row['support']:.0%} of resamples of the prompts" if pd.notna(row.get("support")) else ""


def _node(q: Question, found: Found) -> None:
    row = found.table.set_index("node").loc[_chosen(found)]
    name = _chosen(found)
    st.subheader(name)
    st.markdown(f"**{cards.literal(row['reason'])}**: {cards.literal(row['why'])}{_held(row)}.")
    if np.isfinite(row.get("low", np.nan)):
        st.caption(f"Removing it costs {row['removing']:.3g} [{row['low']:.3g}, {row['high']:.3g}] {found.unit} "
                   "(95 % over prompts).")
    values = [float(row[m]) for m in METHODS]
    effect = f"effect ({found.unit})" if found.unit else "effect"
    shown = pd.DataFrame({"method": list(METHODS.values()), effect: values,
                          "of removing": [v / values[0] if abs(values[0]) > 1e-12 else np.nan for v in values]})
    views.table("node-methods", shown)
    if name in access.facts(q.model)["nodes"]:
        with cards.guarded("the knock-out"):
            if st.button("Knock it out on held-out prompts", icon=":material/content_cut:", disabled=q.own):
                st.session_state["knocked"] = (q, (name,))
            if st.session_state.get("knocked") == (q, (name,)):
                done = results.knocked_out(q, (name,), "counterfactual")
                st.markdown(f"Without {name} the metric loses **{done.held.value:.3g}** [{done.held.low:.3g}, "
                            f"{done.held.high:.3g}] {done.unit} on {done.held.n} held-out prompts (95 % over prompts).")
        state.link("explore", "Look at it in Explore", icon=":material/grid_on:", h=name)


def _scatter(q: Question, found: Found) -> None:
    from interp.discovery.disagreement import Disagreement

    st.subheader("Exact and foretold")
    figure = Disagreement(found.table, found.unit, 0.0).figure()
    figure.update_layout(legend={"orientation": "h", "y": -0.2, "yanchor": "top"})
    r = np.corrcoef(found.table["removing"], found.table["tangent"])[0, 1] if len(found.table) > 2 else np.nan
    st.caption("A point a node: what removing it costs against what one backward pass foretells."
               + (f" Correlation {r:.2f} over all {len(found.table)} nodes." if np.isfinite(r) else ""))
    with st.container(key="disagreement-scatter"):
        views.chart("disagreement-chart", figure, height=420, alt="Gradient estimates against exact effects by reason.")
    exports.bar("scatter", found.table[["node", "removing", "tangent", "reason"]], "disagreement-scatter",
                _code(q, found) + ("" if found.run else "found.figure().show()\n"))


def _code(q: Question, found: Found) -> str:
    if found.run:
        return exports.of_run(found.run) + "print(run.table('disagreement'))\nrun.figure('disagreement').show()\n"
    return q.code() + ("from interp.discovery.disagreement import disagreement\n\n"
                       "found = disagreement(model, task.part('discover'))\nprint(found.frame())\n")
