"""Explore: a prompt pair, every node of the model, one of them closely, and what knocking it out does."""

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import access, cards, exports, one_node, prompt_pair, results, state, views
from apps.dashboard.results import Question, Shown

MODES = {
    "effect": ("Effect", "What the metric loses when the node is put at its value on the corrupted prompt."),
    "gradient": ("Gradient estimate", "The same as one backward pass foretells it."),
    "direct": ("Direct", "What reaches the answer through no other node."),
    "pattern": ("Patterns", "Where each head looks on this prompt: rows ask, columns are looked at."),
    "previous": ("Looks back one", "Share of its weight on the token before."),
    "first": ("Looks at the first", "Share of its weight on the first token."),
}


def page() -> None:
    """Draw the page."""
    q = Question.now()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title("Explore")
        st.caption(_about(q.model))
    shown = None
    with cards.guarded("the prompt"):
        shown = results.shown(q, state.get("row"))
        prompt_pair.show(q, shown)
    if shown is None:
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        with cards.guarded("the grid of nodes"):
            _grid(q)
        if state.nodes():
            with cards.guarded("its pattern"):
                one_node.pattern(q, shown, state.nodes()[0])
    with right, cards.guarded("the selected node"):
        _detail(q, shown)


def _about(model: str) -> str:
    f = access.facts(model)
    mixing = {"patterns": "attention patterns", "implicit mixing": "implicit mixing in place of attention",
              "none": "neither attention patterns nor a mixing matrix"}[f["mixing"]]
    return (f"{f['name']}: {f['depths']} layers, {len(f['nodes'])} nodes, {f['parameters']:,} parameters, reads "
            f"{f['reads']}, {mixing}")


# -- the grid -------------------------------------------------------------------------------------------------------


def _grid(q: Question) -> None:
    modes = list(MODES) if access.facts(q.model)["mixing"] != "none" else ["effect", "gradient", "direct"]
    mode = state.choose("view", "Nodes", modes, widget=st.segmented_control, format_func=lambda m: MODES[m][0],
                        label_visibility="collapsed")
    st.caption(MODES[mode][1])
    selected = state.nodes()
    frame, pictures, value, diverging = _cells(q, mode)
    with st.container(key="heads-grid"):
        views.heads("heads", frame, value=value, unit=frame.attrs.get("unit", ""), pictures=pictures,
                    diverging=diverging, label=f"{MODES[mode][0]} of each node", selected=selected[0] if selected
                    else None, on_select=lambda label: state.put(h=label or ""), marks=_strongest(frame, value))
    if note := frame.attrs.get("note"):
        cards.note(note)
    ranked = frame.iloc[np.argsort(-frame[value].abs().to_numpy())].reset_index(drop=True) if value in frame else frame
    with st.expander("As a table"):
        views.table("heads-table", ranked, height=300,
                    on_select=lambda i: state.put(h="" if i is None else ranked["source"][i]))
    exports.bar(f"nodes-{mode}", frame, "heads-grid", _grid_code(q, mode))


def _cells(q: Question, mode: str) -> tuple[pd.DataFrame, dict[str, np.ndarray] | None, str, bool]:
    """(table, pictures, the column that is shown, whether it has two signs)."""
    if mode in results.RULES:
        return results.effects_of(q, results.RULES[mode]), None, "effect", True
    pictures, scores = results.patterns_of(q, state.get("row"))
    if mode == "pattern":
        return scores, pictures, "shown", False
    return scores, None, mode, False


def _strongest(frame: pd.DataFrame, value: str) -> list[str]:
    """The one that is outlined before anything is clicked."""
    if value not in frame or not len(frame) or frame[value].isna().all():
        return []
    return [frame["source"][int(frame[value].abs().idxmax())]]


# -- one node -------------------------------------------------------------------------------------------------------


def _detail(q: Question, shown: Shown) -> None:
    chosen = state.nodes()
    if not chosen:
        frame = results.effects_of(q, results.RULES.get(state.get("view"), "ablation"))
        best = _strongest(frame, "effect")
        cards.empty("Click a cell of the grid: what the node does is shown here.",
                    f"The strongest one, {best[0]}, is outlined." if best else "")
        if best:
            st.button(f"Show {best[0]}", on_click=state.put, kwargs={"h": best[0]}, icon=":material/arrow_forward:")
        one_node.following(q, shown, ())
        return
    label = chosen[0]
    st.subheader(" + ".join(chosen))
    one_node.knock_out(q, shown, tuple(chosen))
    with cards.guarded("what it writes"):
        one_node.writes(q, shown, label)


def _grid_code(q: Question, mode: str) -> str:
    if mode not in results.RULES:
        return q.code() + f"""
from interp.lens.look import one, pattern_scores, patterns

print(pattern_scores(patterns(model, one(task, {state.get('row')}).clean)))
"""
    return q.code() + f"""
from interp.discovery.nodes import nodes, source

part = task.part("discover")
found = interp.effects(model, part.clean, [source(node) for node in nodes(model)], part.metric,
                       rules={results.RULES[mode]!r}, baseline=interp.Counterfactual(part.corrupt),
                       clusters=part.clusters)
print(found.frame())
"""
