"""The prompt pair on Explore: tokens or patches with what each adds, and prompts of one's own."""

import pandas as pd
import streamlit as st

from apps.dashboard import access, exports, results, state, views
from apps.dashboard.results import Question, Shown


def show(q: Question, shown: Shown) -> None:
    """Draw the clean and the corrupted prompt with the metric of each, and the field that chooses the row."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if not q.own and shown.rows > 1:
            state.field("row", "Prompt", widget=st.number_input, min_value=0, max_value=shown.rows - 1, width=130,
                        drop=("pos",))
        st.metric("clean", f"{shown.clean:.3g}", help=f"The metric on the clean prompt, in {shown.unit or 'its unit'}.",
                  width=110)
        st.metric("corrupted", f"{shown.corrupt:.3g}", width=110)
        st.caption(" · ".join(f"{key}: {value}" for key, value in shown.facts.items())[:240])
    values = results.tokens_of(q, state.get("row"))
    if shown.pixels is not None:
        _pictures(shown, values)
    else:
        _strips(shown, values)
    _own(q)


def _strips(shown: Shown, values: pd.DataFrame | None) -> None:
    effects = None if values is None or len(values) != len(shown.tokens) else values["effect"].to_list()
    st.caption("Clean prompt, coloured by what each token adds to the metric (gradient estimate); a click chooses the "
               "position that is looked at below.")
    with st.container(key="clean-strip"):
        views.strip("tokens", shown.tokens, effects, label="clean prompt", unit=shown.unit,
                    selected=position_of(len(shown.tokens), shown.at),
                    on_select=lambda i: state.put(pos=-1 if i is None else i))
    differ = [float(a != b) for a, b in zip(shown.tokens, shown.corrupt_tokens)]
    st.caption("Corrupted prompt; tokens that differ are coloured.")
    views.strip("corrupted", shown.corrupt_tokens, [-0.6 * d for d in differ], largest=1.0, label="corrupted prompt",
                legend=False)
    if values is not None:
        exports.bar("tokens", values.assign(token=shown.tokens[: len(values)]), "clean-strip", _token_code())


def _pictures(shown: Shown, values: pd.DataFrame | None) -> None:
    columns = st.columns([1, 1, 2])
    with columns[0]:
        views.image(shown.pixels, caption="clean")
    with columns[1]:
        views.image(shown.corrupt_pixels, caption="corrupted")
    special, side = shown.patches
    if values is None or side is None or len(values) != special + side * side:
        return
    with columns[2]:
        st.caption("What each patch of the clean image adds to the metric (gradient estimate). A click chooses the "
                   "patch that is looked at below.")
        table = values["effect"].to_numpy()[special:].reshape(side, side)
        position = position_of(len(values), shown.at)

        def chosen(cell: tuple[int, int] | None) -> None:
            state.put(pos=-1 if cell is None else special + cell[0] * side + cell[1])

        with st.container(key="patch-grid", width=320):
            views.grid("patches", table, rows=range(side), columns=range(side), label="patches", unit=shown.unit,
                       selected=None if position < special else divmod(position - special, side), on_select=chosen,
                       square=True, behind=shown.pixels)
        exports.bar("patches", values, "patch-grid", _token_code())


def _own(q: Question) -> None:
    if access.facts(q.model)["reads"] != "tokens":
        return
    with st.expander("A prompt of your own", expanded=q.own):
        text = access.facts(q.model)["tokenizer"]
        kind = "text" if text else "token ids, such as 3 1 4"
        state.field("p", f"Clean ({kind})", widget=st.text_area, height=68, drop=("pos",))
        state.field("c", "Corrupted, as many tokens", widget=st.text_area, height=68, drop=("pos",))
        if q.own:
            st.button("Back to the task's prompts", on_click=state.forget, args=("p", "c", "pos"))


def _token_code() -> str:
    return Question.now().code() + f"""
from interp.lens.look import one as of

one = of(task, {state.get('row')})
count = model.read(one.clean, "hook_embed")["hook_embed"].shape[1]
sources = [interp.Source("hook_embed", pos=i) for i in range(count)]
found = interp.effects(model, one.clean, sources, one.metric, rules="tangent",
                       baseline=interp.Counterfactual(one.corrupt))
print(found.frame())
"""


def position_of(count: int, at: int) -> int:
    """The chosen position as one from 0; where the task asks, if none is chosen."""
    chosen = state.get("pos")
    return at if chosen == -1 or not -count <= chosen < count else chosen % count
