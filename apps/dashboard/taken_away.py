"""Taking blocks away on Depth: a slider, and what is left of the quality, beside random blocks."""

import streamlit as st

from apps.dashboard import cards, depth_tables, exports, state, views
from apps.dashboard.depth_tables import Depths, short
from apps.dashboard.results import Question

ORDERS = {"least": "least effect on the output first", "turn": "least turn of the stream first", "last": "last first",
          "first": "first first"}


def show(q: Question, found: Depths) -> None:
    """Draw the slider with the quality without so many blocks, and its curve where there is time for it."""
    st.subheader("Taken away together")
    order = _order(q, found)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = state.choose("by", "Order", list(ORDERS), format_func=ORDERS.get, width=280)
        offered = ["task", "text"] if depth_tables.reads_text(q.model) else ["task"]
        if depth_tables.fits_now(q):  # text says more of a language model, and takes longer
            offered = offered[::-1]
        quality = state.choose("qual", "Quality", offered, widget=st.segmented_control,
                               format_func={"task": "Metric of the task", "text": "Loss on text"}.get)
    count = min(state.get("cut"), len(order))
    if st.session_state.get("taken") != count:
        st.session_state["taken"] = count
    st.slider("Blocks taken away", 0, len(order), key="taken",
              on_change=lambda: state.put(cut=st.session_state["taken"]))
    unit = "nats" if quality == "text" else _unit(q)
    whole, left = depth_tables.without(q, quality, ((), tuple(order[:count])))
    gone = ", ".join(short(name) for name in order[:count])
    kind = "loss" if quality == "text" else "metric"
    before = f"{whole.value:.3g} [{whole.low:.3g}, {whole.high:.3g}] {unit}"
    over = f"over {whole.n} held-out {whole.unit or 'prompts'}"
    st.markdown(f"The {kind} of the whole model is {before}, {over}; {'lower' if quality == 'text' else 'higher'} is "
                "better. Move the slider." if not count else
                f"Without **{cards.literal(gone)}** the {kind} is **{left.value:.3g}** [{left.low:.3g}, "
                f"{left.high:.3g}] {unit}; of the whole model {before}, {over}.")
    if depth_tables.fits_now(q):
        _curve(q, quality, tuple(order), count, unit, by)
    else:
        cards.note("The whole curve, with random sets of as many blocks, takes minutes for a model of this size: move "
                   "the slider for one point at a time.")


def _order(q: Question, found: Depths) -> list[str]:
    """Blocks in the order in which they go."""
    there, by = depth_tables.blocks(q.model), state.get("by")
    if by in ("last", "first"):
        return there[::-1] if by == "last" else there
    table = found.tables.get("skip_current_output") if by == "least" else found.tables["influence"]
    if table is None:
        cards.note("This run has no skip effects: blocks go by how little they turn the stream.")
        table = found.tables["influence"]
    column, name = ("on_output", "skipped") if "on_output" in table else ("influence", "block")
    score = table.set_index(name)[column]
    return sorted(there, key=lambda block: score.get(block, float("inf")))


def _unit(q: Question) -> str:
    from apps.dashboard import access

    return getattr(access.prompts(q.model, q.task).metric, "unit", "")


def _curve(q: Question, quality: str, order: tuple[str, ...], count: int, unit: str, by: str) -> None:
    from interp.results import plots

    frame = depth_tables.curve(q, quality, order)
    frame.attrs["unit"] = unit
    title = ("loss on text" if quality == "text" else "metric") + (f" ({unit})" if unit else "")
    figure = plots.curve_with_band(frame["taken"], frame["quality"], frame["low"], frame["high"], name=ORDERS[by],
                                   x_title="blocks taken away", y_title=title)
    plots.curve_with_band(frame["taken"], frame["random"], frame["random_low"], frame["random_high"], figure=figure,
                          name=f"random blocks (mean and range of {depth_tables.DRAWS} draws)")
    figure.add_vline(x=count, line={"color": plots.GREY, "width": 2, "dash": "dot"})
    figure.update_xaxes(tickformat="d", dtick=max(1, len(order) // 10))
    figure.update_layout(legend={"orientation": "h", "y": -0.3, "yanchor": "top"})
    with st.container(key="taken-curve"):
        views.chart("taken-chart", figure, height=320, alt=f"{title} against blocks taken away; {count} are.")
    with st.expander("As a table"):
        views.table("taken-table", frame)
    exports.bar("taken-away", frame, "taken-curve", _code(q, quality, order, count))


def _code(q: Question, quality: str, order: tuple[str, ...], count: int) -> str:
    before = q.code() + f"from interp.surgery.drop import dropped\n\nnames = {list(order[:count])!r}\n"
    if quality == "text":
        return before + ("from interp.surgery.quality import rise, text_loss, windows\n\n"
                         f"shown = windows(model, {depth_tables.WINDOWS}, {depth_tables.TOKENS}, seed={q.seed})\n"
                         "before = text_loss(model, shown.ids)\nwith dropped(model, names):\n"
                         "    after = text_loss(model, shown.ids)\nprint(rise(before, after, shown.documents))\n")
    return before + ("part = task.part('test')\nwith dropped(model, names):\n"
                     "    print(part.metric(model(part.clean)).mean())\n")
