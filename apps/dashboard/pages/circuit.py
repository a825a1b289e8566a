"""Circuit: the graph or grid of what was found, its evidence, and what each part of it does."""

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import annotations, cards, exports, folders, jobs, selection, state, views
from interp.results import Circuit, Run

STATISTICS = {"metric, whole model": "metric, model", "faithfulness": "faithfulness", "necessity": "necessity"}


def page() -> None:
    """Draw the page."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title("Circuit")
        _choose()
    run = _run()
    _find_another()
    if not run:
        cards.empty("No circuit of this task in this model yet.", "Find one: it takes seconds for a small model.")
        return
    if jobs.show(run, "The circuit is drawn here when it is found. You may leave this page, or close it, and return to "
                      "this address."):
        return
    there, circuit = folders.open_run(run), folders.circuit(run)
    if there.status != "done":
        cards.empty(f"This run is {there.status}: {there.info.get('reason') or 'it was ended'}",
                    "Go on with it, on the Runs page.")
    _evidence(run, there, circuit)
    left, right = st.columns([7, 3], gap="medium")
    with left, cards.guarded("the circuit"):
        _picture(run, circuit)
    with right, cards.guarded("the selection"):
        selection.show(run, there, circuit)
        if not state.get("h") and not state.get("e"):
            _curve(run)
    with cards.guarded("its tables"):
        _tables(run, circuit)


# -- which circuit --------------------------------------------------------------------------------------------------


def _run() -> str:
    """The run of the URL; else the newest of this model and task, else one that ships; "" where there is none."""
    if state.get("run"):
        return state.get("run")
    found = _known()
    return found[0] if found else ""


def _known() -> list[str]:
    """Runs with a circuit of the model and task of the URL, ours before those that ship, edges before nodes."""
    frame = folders.listing()
    if not len(frame):
        return []
    same = frame[(frame["model"] == state.get("m")) & (frame["task"] == state.get("t"))]
    names = [row.run for row in same.itertuples() if (folders.find(row.run) / "circuit.json").is_file()]
    return sorted(names, key=lambda name: (folders.is_shipped(name), not name.endswith("edges")))


def _choose() -> None:
    known = _known()
    chosen = _run()
    options = known if chosen in known or not chosen else [chosen, *known]
    if len(options) > 1:
        # an empty key means the first one
        if not state.get("run"):
            state.put(run=options[0])
        state.choose("run", "Circuit", options, drop=("h", "e", "thr"), width=420)


def _find_another() -> None:
    from interp.discovery import METHODS

    with st.expander("Find it again, with another method or among edges"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            method = state.choose("meth", "Method", list(METHODS), width=220,
                                  help="auto measures every node exactly while there are few, and confirms a "
                                       "shortlist where there are many.")
            level = st.segmented_control("Among", ["nodes", "edges"], default="nodes", key="level")
            if st.button("Find the circuit", type="primary", icon=":material/account_tree:"):
                run = jobs.start("discover", task=state.get("t"), model=state.get("m"), method=method,
                                 n=max(24, state.get("n")), seed=state.get("seed"), edges=level == "edges", draws=100)
                state.forget("h", "e", "thr")
                state.put(run=run)
                st.rerun()


# -- evidence -------------------------------------------------------------------------------------------------------


def _evidence(run: str, there: Run, circuit: Circuit) -> None:
    size = (f"{len(circuit.edges)} of {len(circuit.edges) + len(circuit.candidate_edges)} edges" if circuit.edges else
            f"{len(circuit.nodes)} of {len(circuit.scores)} nodes")
    columns = st.columns([2, 2, 2, 2, 3])
    columns[0].metric("size", size.split(" of ")[0], delta=f"of {size.split(' of ')[1]}", delta_color="off",
                      delta_arrow="off")
    found = folders.table(run, "evaluation")
    if found is None:
        with columns[1]:
            cards.note("It was not tested on held-out prompts: interp evaluate.")
    else:
        rows = found.set_index("statistic")
        for column, (name, title) in zip(columns[1:], STATISTICS.items()):
            if name in rows.index:
                value = rows.loc[name]
                column.metric(title, f"{value['value']:.3g}", delta=f"[{value['low']:.3g}, {value['high']:.3g}]",
                              delta_color="off", delta_arrow="off", help=str(value["note"]))
        control = rows[rows.index.str.startswith("faithfulness of random")]
        if len(control):
            last = control.iloc[-1]
            columns[4].metric("random circuits", f"{last['value']:.2g}", delta_color="off", delta_arrow="off",
                              delta=f"[{last['low']:.2g}, {last['high']:.2g}]", help=str(last["note"]))
    config = there.config
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{circuit.task} in {circuit.model}, method {circuit.method}, {config.get('n', '?')} prompts, seed "
                   f"{there.seed}. Evidence is from prompts that were used neither for the scores nor for the size; "
                   "intervals are 95 % over prompts.")
        _keep(run, circuit)


def _keep(run: str, circuit: Circuit) -> None:
    with st.popover("Save and copy the link", icon=":material/link:"):
        views.copy_link("copy-link")
        if folders.is_shipped(run):
            if st.button("Save a copy among my runs", icon=":material/save:"):
                state.put(run=annotations.save(run))
                st.rerun()
        else:
            st.caption(f"Saved in {folders.find(run)}")
            if st.button("Save names and groups", icon=":material/save:"):
                annotations.save(run)
                st.toast("Saved.")
        from interp.results.circuit_file import circuit_text

        st.download_button("Circuit as JSON", circuit_text(annotations.annotated(circuit, annotations.of(run))),
                           f"{run.replace('/', '-')}.json", "application/json", on_click="ignore",
                           help="Opens again on the Runs page, and with interp evaluate.")


# -- the picture ----------------------------------------------------------------------------------------------------


def _picture(run: str, circuit: Circuit) -> None:
    _size(run, circuit)
    unit = circuit.provenance.get("unit", "")
    if circuit.edges or circuit.candidate_edges:
        shown, given = _edges(circuit), annotations.of(run)
        selected = f"edge:{state.get('e')}" if state.get("e") else f"node:{state.get('h')}" if state.get("h") else None
        with st.container(key="circuit-graph"):
            views.graph("graph", shown, label=f"Circuit of {circuit.task} in {circuit.model}", unit=unit,
                        names=given.names, groups=given.groups, selected=selected, on_select=_picked)
        frame = circuit.edge_frame(candidates=True).head(len(shown))
        exports.bar("edges", frame, "circuit-graph", exports.of_run(run) + "\ncircuit = interp.Circuit.load(run.path / "
                    "'circuit.json')\nprint(circuit.edge_frame())\ncircuit.graph_figure().show()\n")
        return
    frame = circuit.frame(candidates=True).rename(columns={"label": "source"})
    frame.attrs["unit"] = unit
    with st.container(key="circuit-grid"):
        views.heads("members", frame, value="score", unit=unit, label=f"Effect of each node on {circuit.task}",
                    marks=list(frame["source"].head(_shown_size(circuit))), selected=state.get("h") or None,
                    on_select=lambda label: state.put(h=label or "", e=""))
    exports.bar("nodes", frame, "circuit-grid", exports.of_run(run) + "\ncircuit = interp.Circuit.load(run.path / "
                "'circuit.json')\nprint(circuit.frame(candidates=True))\ncircuit.figure().show()\n")


def _picked(selected: str | None) -> None:
    kind, _, label = (selected or "").partition(":")
    state.put(h=label if kind == "node" else "", e=label if kind == "edge" else "")


def _size(run: str, circuit: Circuit) -> None:
    """The slider of how much is shown, with what a circuit of that size keeps."""
    among = len(circuit.edges) + len(circuit.candidate_edges) or len(circuit.scores)
    found = len(circuit.edges) or len(circuit.nodes)
    if among < 2:
        return
    if not 0 < state.get("thr") <= among:
        state.put(thr=0)
    at = _shown_size(circuit)
    if st.session_state.get("size") != at:
        st.session_state["size"] = at

    def changed() -> None:
        now = st.session_state["size"]
        state.put(thr=0 if now == found else now)

    st.slider("Edges kept" if circuit.edges else "Nodes kept", 1, among, key="size", on_change=changed,
              help=f"{found} were found.")
    curve = folders.table(run, "curve")
    if curve is None or not len(curve):
        return
    near = curve.iloc[int((curve["k"] - at).abs().argmin())]
    st.caption(f"{int(near['k'])} keep {near['faithfulness']:.3g} [{near['low']:.3g}, {near['high']:.3g}] of the "
               f"behaviour on held-out prompts{'' if at == found else f'; {found} were found'}.")


def _shown_size(circuit: Circuit) -> int:
    return state.get("thr") or len(circuit.edges) or len(circuit.nodes)


def _edges(circuit: Circuit) -> list:
    ranked = sorted([*circuit.edges, *circuit.candidate_edges], key=lambda e: -abs(e.score or 0.0))
    if not state.get("thr"):
        return list(circuit.edges)
    return ranked[: state.get("thr")]


def _curve(run: str) -> None:
    from interp.results import plots

    curve = folders.table(run, "curve")
    if curve is None or not len(curve):
        return
    figure = plots.curve_with_band(curve["k"], curve["faithfulness"], curve["low"], curve["high"], x_title="size",
                                   y_title="faithfulness")
    at = _shown_size(folders.circuit(run))
    figure.add_vline(x=at, line={"color": plots.GREY, "width": 2, "dash": "dot"})
    with st.container(key="curve"):
        views.chart("curve-chart", figure, alt=f"Faithfulness on held-out prompts against size; {at} are shown.",
                    height=280)
    exports.bar("curve", curve, "curve", exports.of_run(run) + "print(run.table('curve'))\n")


# -- tables ---------------------------------------------------------------------------------------------------------


def _tables(run: str, circuit: Circuit) -> None:
    names = ["nodes"] + (["edges"] if circuit.edges else [])
    names += [name for name in ("evaluation", "grouped", "pairs", "minimal") if folders.table(run, name) is not None]
    for tab, name in zip(st.tabs([name.capitalize() for name in names]), names):
        with tab:
            if name == "edges":
                frame = circuit.edge_frame(candidates=True)
                views.table("edge-table", frame, height=320,
                            on_select=lambda i, f=frame: _picked(None if i is None else f"edge:{f['edge'][i]}"))
            elif name == "nodes":
                frame = circuit.frame(candidates=True)
                views.table("node-table", frame.drop(columns=["name"]), height=320,
                            on_select=lambda i, f=frame: _picked(None if i is None else f"node:{f['label'][i]}"))
            else:
                views.table(f"table-{name}", _plain(folders.table(run, name)))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.replace([np.inf, -np.inf], np.nan)
