"""Which algorithm, on In-context: depths against the steps of algorithms, and what the rule says."""

import numpy as np
import streamlit as st

from apps.dashboard import cards, exports, folders, icl_tables, jobs, state, views
from apps.dashboard.icl_tables import Matched

RULE = ("The rule was fixed beforehand: a depth is active where its read-out errs less than 0. A family is a candidate "
        "there if the similarity of errors (SimE) out of distribution, at the step chosen in distribution, is at least "
        "0.9 (0.85 under each condition), above a random model's, and not below the best family's. The verdict is the "
        "one family that is a candidate at every active depth with rising steps; otherwise it is undecided.")


def show(model: str, task: str) -> None:
    """Draw the matching of the run that is chosen; a job makes one."""
    run = of_command("icl-match", model, task, "Match its depths with algorithms",
                     "Every depth is compared with every step of six algorithms under eight distributions: about a "
                     "minute.", prompts=200)
    if not run:
        return
    found = icl_tables.matched(run)
    undecided = found.verdict == "undecided"
    with st.container(border=True):
        st.markdown(f"{':material/help:' if undecided else ':material/check_circle:'} Verdict: **{found.verdict}**")
        st.text(found.reason)
        st.caption(RULE)
    left, right = st.columns([3, 2], gap="medium")
    with left, cards.guarded("the heatmap"):
        _heatmap(found)
    with right, cards.guarded("this depth"):
        _cell(found)
    with cards.guarded("the errors"):
        _errors(found)
    _steps(found)


def of_command(command: str, model: str, task: str, label: str, about: str, **arguments: object) -> str:
    """The run of a command that is shown, with a choice among them and a button that makes another; "" for none."""
    known = icl_tables.runs(command, model)
    asked = state.get("run")
    if jobs.show(asked, "It is drawn here when it is done. You may leave this page and return to this address.",
                 command):
        return ""
    run = asked if asked in known else known[0] if known else ""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(known) > 1:
            if asked not in known:
                state.put(run=run)
            run = state.choose("run", "Run", known, width=420)
        start = st.button(label, type="secondary" if run else "primary", icon=":material/play_arrow:",
                          help=f"{task}. {about}")
    if start:
        own = icl_tables.classes(model)[0] == task
        state.put(run=jobs.start(command, model=model, task=None if own else task, seed=state.get("seed"),
                                 **arguments))
        st.rerun()
    if not run:
        cards.empty(f"There is no such run of {model} yet.", about)
    return run


def _heatmap(found: Matched) -> None:
    st.caption("SimE of each depth and the step of each family that was chosen in distribution, judged out of "
               "distribution. The number is the step; candidates are outlined.")
    table = found.table
    families, depths = list(table["family"].unique()), sorted(table["depth"].unique())
    rows = {(row.family, row.depth): row for row in table.itertuples()}
    values = np.array([[rows[f, d].outside for d in depths] for f in families])
    text = [[f"{rows[f, d].step}" for d in depths] for f in families]
    hover = [[f"{f} at {_name(d)}: SimE {rows[f, d].outside:.3f} [{rows[f, d].low:.3f}, {rows[f, d].high:.3f}]\n"
              f"step {rows[f, d].step} [{rows[f, d].step_low}, {rows[f, d].step_high}], in distribution "
              f"{rows[f, d].at_home:.3f}, random model {rows[f, d].random_model:.3f}" for d in depths]
             for f in families]
    candidates = {int(row.depth): row.candidates.split(", ") for row in found.depths.itertuples()}
    marks = [(i, j) for i, f in enumerate(families) for j, d in enumerate(depths) if f in candidates.get(d, [])]
    family, depth = _chosen(found)

    def select(cell: tuple[int, int] | None) -> None:
        state.put(pick=families[cell[0]] if cell else "", lay=int(depths[cell[1]]) if cell else 0)

    with st.container(key="match-grid"):
        views.grid("match", values, rows=families, columns=[_name(d) for d in depths], text=text, hover=hover,
                   marks=marks, label="Similarity of every depth to every family's chosen step", unit="SimE",
                   largest=1.0, selected=(families.index(family), depths.index(depth)), on_select=select,
                   x_title="depth", tall=34)
    with st.expander("As a table"):
        views.table("match-table", table, height=300)
    exports.bar("match", table, "match-grid", _code(found, "match"))


def _name(depth: int) -> str:
    return "embedding" if depth == 0 else f"L{depth - 1}"


def _chosen(found: Matched) -> tuple[str, int]:
    """(family, depth) that is looked at: the clicked one, else the best at the last depth."""
    families, last = list(found.table["family"].unique()), int(found.table["depth"].max())
    if state.get("pick") in families:
        return state.get("pick"), min(state.get("lay"), last)
    rows = found.table[found.table["depth"] == last]
    return str(rows.loc[rows["outside"].idxmax(), "family"]), last


def _cell(found: Matched) -> None:
    family, depth = _chosen(found)
    st.subheader(f"{family} at {_name(depth)}")
    row = found.table[(found.table["family"] == family) & (found.table["depth"] == depth)].iloc[0]
    columns = st.columns(2)
    columns[0].metric("SimE, out of distribution", f"{row['outside']:.3f}", delta_color="off", delta_arrow="off",
                      delta=f"[{row['low']:.3f}, {row['high']:.3f}]", help="95 % over prompts.")
    columns[1].metric("step", f"{row['step']}", delta_color="off", delta_arrow="off",
                      delta=f"[{row['step_low']}, {row['step_high']}]",
                      help="Chosen in distribution, prompts resampled.")
    columns[0].metric("in distribution", f"{row['at_home']:.3f}")
    columns[1].metric("random model", f"{row['random_model']:.3f}", help="The same step against fresh weights.")
    verdict = found.depths.set_index("depth").loc[depth]
    if not verdict["active"]:
        st.caption("This depth is not active: what can be read there errs no less than the answer 0.")
    elif family in str(verdict["candidates"]).split(", "):
        st.caption("It is a candidate here.")
    else:
        why = {part.partition(": ")[0]: part.partition(": ")[2] for part in str(verdict["why_not"]).split("; ")}
        st.caption(f"It is no candidate here: {why.get(family, 'it is not named')}.")


def _errors(found: Matched) -> None:
    from interp.results import plots

    st.subheader("What each depth would answer")
    st.caption("Squared error of a linear read-out, fitted in distribution, over that of saying 0, with more examples "
               "than dimensions. Log scale.")
    figure, frame = None, found.errors
    for condition in dict.fromkeys(frame["condition"]):
        if not condition.endswith("k > d"):
            continue
        rows = frame[frame["condition"] == condition]
        figure = plots.curve_with_band(rows["depth"], rows["error"], rows["low"], rows["high"], figure=figure,
                                       name=condition.removesuffix(", k > d"), x_title="depth (0: embedding)",
                                       y_title="error / that of 0")
    if figure is None:
        cards.note("This run has no errors behind more examples than dimensions.")
        return
    for i, line in enumerate(trace for trace in figure.data if "lines" in str(trace.mode)):
        if i >= len(plots.LINES):  # the colours begin again
            line.update(line_dash=plots.DASHES[(i + 2) % len(plots.DASHES)], marker_symbol="diamond", marker_size=8)
    figure.update_yaxes(type="log", dtick="D2")
    figure.update_xaxes(tickformat="d", dtick=1)
    figure.update_layout(legend={"orientation": "h", "y": -0.24, "yanchor": "top"})
    with st.container(key="match-errors"):
        views.chart("match-errors-chart", figure, height=400, alt="Error of every depth under every condition.")
    with st.expander("As a table"):
        views.table("match-errors-table", frame, height=260)
        if found.rates is not None and len(found.rates):
            st.caption("By how much a depth divides the error, in nats a depth.")
            views.table("match-rates-table", found.rates)
    exports.bar("match-errors", frame, "match-errors", _code(found, "match_errors"))


def _steps(found: Matched) -> None:
    """Every step of every family, from the figures of the run where it has them."""
    names = {"match": "in distribution", "match_outside": "out of distribution"}
    there = [name for name in names if (folders.find(found.run) / "figures" / f"{name}.json").is_file()]
    if not there:
        return
    if not st.toggle("Every step of every family", key="every"):  # six panels are a page's worth of elements
        return
    name = st.segmented_control("Prompts", there, default=there[0], format_func=names.get, key="every-prompts")
    name = name or there[0]
    st.caption(f"SimE by depth and step, {names[name]}; squares are the steps chosen in distribution.")
    with st.container(key="every-step"):
        views.chart("every-step-chart", folders.open_run(found.run).figure(name), height=420,
                    alt=f"SimE of every step, {names[name]}.")
    table = folders.table(found.run, "match")
    exports.bar("every-step", table, "every-step", exports.of_run(found.run) + f"run.figure({name!r}).show()\n")


def _code(found: Matched, table: str) -> str:
    config = found.config
    return exports.of_run(found.run) + (
        f"print(run.table({table!r}))\n\n# the same anew\nfrom interp.commands.icl import open_class\n\n"
        f"model = interp.load({config.get('model')!r})\n"
        f"task = open_class({config.get('task') if ':' in str(config.get('task')) else None!r}, model.name)\n"
        f"found = interp.icl.match_algorithms(model, task, prompts={config.get('prompts', 500)})\n"
        "print(found.verdict())\nfound.figure().show()\n")
