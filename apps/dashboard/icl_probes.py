"""What can be read, on In-context: linear probes of every target at every depth, with control and floor."""

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import cards, exports, icl_tables, state, views
from apps.dashboard.icl_match import of_command


def show(model: str, task: str) -> None:
    """Draw the probes of the run that is chosen; a job makes one."""
    run = of_command("icl-probe", model, task, "Probe its depths", "Linear maps are fitted from the stream of every "
                     "depth to every target, and tested on other prompts: about a minute.")
    if not run:
        return
    frame = icl_tables.probed(run)
    st.caption("R2 of a linear probe on prompts that it was not fitted on, at the tokens of points x and of answers y. "
               "That a probe reads it does not say that the model uses it: compare the control (a target that is not "
               "there) and the floor (what the embedding has), then intervene.")
    left, right = st.columns([1, 1], gap="medium")
    with left, cards.guarded("the heatmap"):
        _heatmap(run, frame)
    with right, cards.guarded("this target"):
        _target(run, frame)


def _chosen(frame: pd.DataFrame) -> tuple[str, str]:
    """(target, token) that is looked at: the clicked one, else that which gains most over the embedding."""
    pairs = list(dict.fromkeys(zip(frame["target"], frame["token"])))
    target, _, token = state.get("pick").rpartition(" at ")
    if (target, token) in pairs:
        return target, token
    gain = (frame["r2"] - frame["floor"]).idxmax()
    return frame["target"][gain], frame["token"][gain]


def _heatmap(run: str, frame: pd.DataFrame) -> None:
    pairs = list(dict.fromkeys(zip(frame["target"], frame["token"])))
    depths = sorted(frame["depth"].unique())
    rows = {(row.target, row.token, row.depth): row for row in frame.itertuples()}
    values = np.array([[rows[t, k, d].r2 for d in depths] for t, k in pairs]).clip(min=0)
    hover = [[f"{t} at {k}-tokens, {rows[t, k, d].visit}: R2 {rows[t, k, d].r2:.3f} [{rows[t, k, d].low:.3f}, "
              f"{rows[t, k, d].high:.3f}]\ncontrol {rows[t, k, d].control:.3f}, floor {rows[t, k, d].floor:.3f}"
              for d in depths] for t, k in pairs]
    target, token = _chosen(frame)
    column = min(state.get("lay"), len(depths) - 1) if state.get("pick") else len(depths) - 1

    def select(cell: tuple[int, int] | None) -> None:
        state.put(pick=" at ".join(pairs[cell[0]]) if cell else "", lay=int(depths[cell[1]]) if cell else 0)

    with st.container(key="probe-grid"):
        views.grid("probes", values, rows=[f"{t} at {k}" for t, k in pairs],
                   columns=["embedding" if d == 0 else f"L{d - 1}" for d in depths], hover=hover, numbers=True,
                   label="R2 of every target at every depth", unit="R2", diverging=False, largest=1.0, x_title="depth",
                   selected=(pairs.index((target, token)), column), on_select=select)
    with st.expander("As a table"):
        views.table("probe-table", frame, height=320)
    exports.bar("probes", frame, "probe-grid", exports.of_run(run) + "print(run.table('probes'))\n")


def _target(run: str, frame: pd.DataFrame) -> None:
    from interp.results import plots

    target, token = _chosen(frame)
    rows = frame[(frame["target"] == target) & (frame["token"] == token)]
    st.subheader(f"{target} at {token}-tokens")
    r2, low, high = (rows[name].clip(lower=-0.2) for name in ("r2", "low", "high"))
    figure = plots.curve_with_band(rows["depth"], r2, low, high, name="R2", x_title="depth (0: embedding)",
                                   y_title="R2 on other prompts")
    plots.curve_with_band(rows["depth"], rows["control"].clip(lower=-0.2), name="control", figure=figure)
    plots.curve_with_band(rows["depth"], rows["floor"].clip(lower=-0.2), name="floor: the embedding", figure=figure)
    figure.update_xaxes(tickformat="d", dtick=1)
    figure.update_yaxes(range=[-0.22, 1.05])
    figure.update_layout(legend={"orientation": "h", "y": -0.24, "yanchor": "top"})
    with st.container(key="probe-target"):
        views.chart("probe-chart", figure, height=360, alt=f"R2 of {target} by depth with control and floor.")
    at = min(state.get("lay"), int(rows["depth"].max())) if state.get("pick") else int(rows["depth"].max())
    row = rows.set_index("depth").loc[at]
    columns = st.columns(3)
    place = "the embedding" if at == 0 else f"L{at - 1}"
    columns[0].metric(f"R2 at {place}", f"{row['r2']:.3f}", delta=f"[{row['low']:.3f}, {row['high']:.3f}]",
                      delta_color="off", delta_arrow="off", help="95 % over prompts.")
    columns[1].metric("selectivity", f"{row['selectivity']:.3f}", help="R2 minus that of a target that is not there.")
    columns[2].metric("over the embedding", f"{row['r2'] - row['floor']:.3f}")
    exports.bar("probe-target", rows, "probe-target", exports.of_run(run) + (
        "found = run.table('probes')\n"
        f"print(found[(found['target'] == {target!r}) & (found['token'] == {token!r})])\n"))
