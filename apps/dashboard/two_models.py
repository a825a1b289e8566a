"""Two models on Compare: the effects of their nodes beside each other, one selection, and the difference."""

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import access, cards, exports, results, state, views
from apps.dashboard.results import Question

OTHER = {"garden/induction-2l": "garden/repeats-attn-only-rotary"}
"""What a model is compared with before anything is chosen; else another one of this machine."""
RULES = {"effect": "effect", "gradient": "gradient estimate", "direct": "direct"}


def show() -> None:
    """Draw both sides, their fields, and what is different."""
    model = state.get("m")
    other = state.get("b.m") or OTHER.get(model) or next(name for name in access.names() if name != model)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        names = [other, *(name for name in access.names() if name != other)]
        state.choose("b.m", "B (A is in the sidebar)", names, drop=("b.t", "h"), accept_new_options=True, width=300)
        tasks = access.tasks(other)
        task = state.get("b.t") or (state.get("t") if state.get("t") in tasks else tasks[0])
        state.choose("b.t", "Its task", [task, *(name for name in tasks if name != task)], width=220)
        rules = st.segmented_control("Of each node", list(RULES), default="effect", key="compare-rules",
                                     format_func=RULES.get) or "effect"
    one = Question(model, state.get("t"), state.get("n"), state.get("seed"))
    two = Question(other, task, state.get("n"), state.get("seed"))
    frames = []
    for column, q, label, side in zip(st.columns(2, gap="medium"), (one, two), "AB", "ab"):
        with column, cards.guarded(f"side {label}"):
            frame = results.effects_of(q, results.RULES[rules])
            frames.append(frame)
            st.caption(f"{label}: {q.task} in {q.model}; what the metric loses without each node, in "
                       f"{frame.attrs['unit'] or 'its unit'}, {frame.attrs['prompts']} prompts")
            with st.container(key=f"model-{side}"):
                views.heads(f"effects-{side}", frame, unit=frame.attrs["unit"], label=f"effects in {q.model}",
                            selected=state.get("h") if state.get("h") in set(frame["source"]) else None,
                            on_select=lambda node: state.put(h=node or ""))
            if frame.attrs["note"]:
                cards.note(frame.attrs["note"])
            if not ((frame["low"] > 0) | (frame["high"] < 0)).any():
                cards.note("No effect here can be told from none, so the shares below are noise: this model may not do "
                           "this task.")
            exports.bar(f"model-{side}", frame, f"model-{side}", _code(q, rules))
    if len(frames) == 2:
        with cards.guarded("the difference"):
            _difference(*frames, _code(one, rules) + _code(two, rules))


def _code(q: Question, rules: str) -> str:
    return q.code() + (
        "from interp.discovery.knock_out import named_baseline\nfrom interp.discovery.nodes import nodes, source\n\n"
        "part = task.part('discover')\nfound = interp.effects(\n    model, part.clean, [source(node) for node in "
        f"nodes(model)], part.metric, rules={results.RULES[rules]!r},\n    baseline=named_baseline('counterfactual', "
        "part), clusters=part.clusters)\nprint(found.frame())\n")


def _difference(a: pd.DataFrame, b: pd.DataFrame, code: str) -> None:
    """What both have, side by side: shares of the total, since units and sizes may differ."""
    from interp.discovery.overlap import rank_correlation

    both = a.merge(b, on="source", suffixes=("_a", "_b"), how="outer")
    for side in "ab":
        total = both[f"effect_{side}"].abs().sum()
        both[f"share_{side}"] = both[f"effect_{side}"] / (total or 1.0)
    both["difference"] = both["share_a"] - both["share_b"]
    common = both.dropna(subset=["effect_a", "effect_b"]).reset_index(drop=True)
    st.markdown("**A minus B, as shares of each side's total**")
    if not len(common):
        cards.note("No node has the same name in both: there is nothing to subtract.")
        return
    rank = rank_correlation(common["effect_a"], common["effect_b"], "nodes", state.get("seed"))
    if hasattr(rank, "low"):
        said = f"{rank.value:.2f} [{rank.low:.2f}, {rank.high:.2f}]"
    else:
        said = "not defined" if np.isnan(rank) else f"{rank:.2f}"
    st.caption(f"{len(common)} nodes have the same name in both ({len(both) - len(common)} do not); rank correlation "
               f"of their effects {said}, its interval over nodes. Matched by name: right for checkpoints of one "
               "model; of models trained apart it only says that the places agree.")
    frame = common.rename(columns={"difference": "effect"})[["source", "effect", "effect_a", "effect_b"]]
    with st.container(key="model-difference"):
        views.heads("model-difference-grid", frame, label="A minus B", unit="of the total",
                    selected=state.get("h") if state.get("h") in set(frame["source"]) else None,
                    on_select=lambda node: state.put(h=node or ""))
    with st.expander("As a table"):
        views.table("model-difference-table", both, height=300,
                    on_select=lambda i: state.put(h="" if i is None else both["source"][i]))
    exports.bar("model-difference", both, "model-difference", code)
