"""In-context: how well a model learns from the examples in its prompt, by which algorithm, and what is read where."""

import streamlit as st

from apps.dashboard import cards, exports, icl_match, icl_probes, icl_tables, state, views
from apps.dashboard.icl_tables import Curve

MODES = {"curves": "How well", "match": "Which algorithm", "probes": "What can be read"}


def page() -> None:
    """Draw the page."""
    st.title("In-context")
    st.caption("Models that say y from examples x, y, x, y ... of a function that they never saw; chosen here, not in "
               "the sidebar. That predictions are "
               "like an algorithm's does not say that the model runs it: two can agree where they were compared.")
    with cards.guarded("the model"):
        model, task = _choices()
        mode = state.choose("mode", "Shows", list(MODES), widget=st.segmented_control, format_func=MODES.get,
                            label_visibility="collapsed")
        with cards.guarded({"curves": "the curves", "match": "the matching", "probes": "the probes"}[mode]):
            {"curves": _curves, "match": icl_match.show, "probes": icl_probes.show}[mode](model, task)


def _choices() -> tuple[str, str]:
    """Draw what can be chosen; (the model, the class of functions)."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        known = icl_tables.models()
        asked = state.get("icl")
        model = state.choose("icl", "Model", known if asked in known else [asked, *known], width=260,
                             drop=("fn", "run", "lay", "pos", "pick"), accept_new_options=True,
                             help="One that ships, or the folder of one that was trained with interp train.")
        offered = icl_tables.classes(model)
        asked = state.get("fn")
        task = state.choose("fn", "Class of functions", offered if asked in ("", *offered) else [asked, *offered],
                            width=420, drop=("run", "lay", "pos", "pick"), accept_new_options=True,
                            help="The first is what it was trained on; the others draw its prompts otherwise. Any "
                                 "class can be typed, with its options.")
    return model, task


def _curves(model: str, task: str) -> None:
    known = icl_tables.runs("icl-run", model)
    run = state.get("run") if state.get("run") in known else ""
    if known:
        run = state.choose("run", "Measured", ["", *known], width=420, format_func=lambda name: name or "now")
    found = icl_tables.of_run(run) if run else icl_tables.curves(model, task, state.get("seed"))
    what = "Squared error over that of saying 0" if found.metric == "error" else "Share of right signs"
    st.caption(f"{what}, by the number of examples before the asked point; {found.prompts} fresh prompts of "
               f"{found.task}, bands 95 % over prompts. Bayes is the best there can be, where it is known.")
    names = list(found.frame["predictor"].unique())
    left, right = st.columns([3, 2], gap="medium")
    with left:
        with st.container(key="icl-curves"):
            views.chart("icl-chart", _figure(found, names), height=430,
                        alt=f"{found.metric} by examples of {', '.join(names)}.")
        exports.bar("icl-curves", found.frame, "icl-curves", _code(model, task, run))
    with right:
        _at(found, names)


def _at(found: Curve, names: list[str]) -> None:
    """The predictors behind a chosen number of examples."""
    last = found.n - 1
    now = min(state.get("pos"), last) if state.get("pos") >= 0 else last
    if st.session_state.get("examples") != now:
        st.session_state["examples"] = now
    st.slider("Examples", 0, last, key="examples", on_change=lambda: state.put(pos=st.session_state["examples"]))
    rows = found.frame[found.frame["examples"] == now].set_index("predictor")
    own = rows.loc["model"]
    st.metric(f"{found.metric} of the model behind {now} examples", f"{own[found.metric]:.3g}", delta_color="off",
              delta_arrow="off", delta=f"[{own['low']:.3g}, {own['high']:.3g}]")
    shown = rows.loc[names].reset_index()[["predictor", found.metric, "low", "high"]]
    views.table("icl-at", shown.sort_values(found.metric, ascending=found.metric == "error").reset_index(drop=True))
    with st.expander("All of it as a table"):
        views.table("icl-table", found.frame.pivot(index="examples", columns="predictor",
                                                   values=found.metric)[names].reset_index(), height=300)


def _figure(found: Curve, names: list[str]):
    from interp.results import plots

    figure = None
    for name in names:
        rows = found.frame[found.frame["predictor"] == name]
        figure = plots.curve_with_band(rows["examples"], rows[found.metric], rows["low"], rows["high"], name=name,
                                       figure=figure, x_title="examples in the prompt", y_title=found.metric)
    if found.metric == "error":
        figure.update_yaxes(range=[-0.03, min(1.6, 1.05 * float(found.frame["high"].max()))])
    figure.update_xaxes(tickformat="d", dtick=max(1, found.n // 12))
    return figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.2, "yanchor": "top"})


def _code(model: str, task: str, run: str) -> str:
    if run:
        return exports.of_run(run) + "print(run.table('curves'))\n"
    return (f"import interp\n\nmodel = interp.load({model!r})\n"
            f"curves = interp.icl.run(model, {task!r}, prompts={icl_tables.PROMPTS}, "
            f"seed={icl_tables.SEED + state.get('seed')})\nprint(curves.frame())\ncurves.figure().show()\n")
