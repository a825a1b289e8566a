"""Depth: what each block writes, what leaving it out changes, stretches of depth, and how many blocks can be spared."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from apps.dashboard import cards, depth_tables, exports, jobs, state, taken_away, views
from apps.dashboard.depth_tables import Depths, short
from apps.dashboard.results import Question

MODES = {
    "written": ("Written", "relative", "Length of what a branch writes, over the length of the stream that it is added "
                "to: mean of ratios.", "share of the stream"),
    "direction": ("Direction", "cosine", "Cosine of what is written and the stream: below 0 erases, near 0 is new, "
                  "above 0 amplifies.", "cosine"),
    "length": ("Length", "norm", "Length of the stream behind each depth, and of what is written.", "length"),
    "answer": ("To the answer", "", "How far what the logit lens reads is from what the model says in the end.", ""),
}
LIMIT = ("Small writes are not useless, and a block that nothing seems to need may be needed by later tokens: look at "
         "skips and at taking away, not at lengths alone.")


def page() -> None:
    """Draw the page."""
    q = replace(Question.now(), clean="", corrupt="")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title("Depth")
        found = _source(q)
    st.caption(f"What {q.model} does at each depth. {LIMIT}")
    if found is None:
        return
    st.caption(f"Looked at {found.what}; intervals are 95 % over prompts.")
    left, right = st.columns(2, gap="medium")
    with left, cards.guarded("the profile"):
        _profile(q, found)
    with right, cards.guarded("the skip effects"):
        _skips(q, found)
    with cards.guarded("taking blocks away"):
        taken_away.show(q, found)
    with cards.guarded("the phases"):
        _phases(q, found)
    if "loops" in found.tables:
        st.subheader("Visit by visit")
        st.caption("Every visit of shared weights: step length over stream length (residual), and over the step before "
                   "(contraction; below 1 it settles).")
        views.table("loops", found.tables["loops"])
        exports.bar("loops", found.tables["loops"], None, _code(q, found) + "print(whole.loops.frame())\n")


def _source(q: Question) -> Depths | None:
    """The run that is shown, or what is measured now; None where neither is there, with what to do."""
    with cards.guarded("the depths"):
        known, now = depth_tables.runs(q.model), depth_tables.fits_now(q)
        run = state.get("run") if state.get("run") in known else ""
        if jobs.show(state.get("run"), command="depth"):
            return None
        if known and (not now or len(known) > 0):
            options = ([""] if now else []) + known
            run = state.choose("run", "Measured", options, width=420,
                               format_func=lambda name: name or "now, on prompts of the task")
        if run:
            return depth_tables.of_run(run)
        if now:
            return depth_tables.measured(q)
        cards.empty(f"The depths of {q.model} were not measured yet.",
                    "Every block is left out in turn, which takes minutes for a model of this size; the result is kept "
                    "as a run.")
        if st.button("Measure its depths", type="primary", icon=":material/stacked_bar_chart:"):
            state.put(run=jobs.start("depth", model=q.model, task=q.task, n=depth_tables.PROMPTS, seed=q.seed))
            st.rerun()
    return None


# -- the profile ----------------------------------------------------------------------------------------------------


def _profile(q: Question, found: Depths) -> None:
    from interp.results import plots

    st.subheader("At each depth")
    modes = [mode for mode in MODES if mode != "answer" or "logit_lens" in found.tables]
    mode = state.choose("mode", "Shows", modes, widget=st.segmented_control, format_func=lambda m: MODES[m][0],
                        label_visibility="collapsed")
    _, measure, about, unit = MODES[mode]
    st.caption(about)
    figure = None
    if mode == "answer":
        frame = found.tables["logit_lens"]
        main = "kl" if "kl" in frame else "distance"
        figure = plots.curve_with_band(frame["depth"], frame[main], frame["low"], frame["high"],
                                       x_title="blocks passed",
                                       y_title="KL (nats)" if main == "kl" else "relative distance")
    else:
        frame = found.tables["profile"]
        frame = frame[(frame["measure"] == measure) & (frame["tokens"] == "all")]
        branches = [part for part in frame["part"].unique() if part not in ("stream", "block")] or ["block"]
        for part in (["stream"] if mode == "length" else []) + branches:
            rows = frame[frame["part"] == part]
            figure = plots.curve_with_band(rows["depth"], rows["mean"], rows["low"], rows["high"], name=part,
                                           figure=figure, x_title="depth", y_title=unit)
        if mode != "direction":
            figure.update_yaxes(type="log", dtick="D2")
        frame = frame.reset_index(drop=True)
    figure.update_xaxes(tickformat="d", dtick=max(1, len(found.tables["influence"]) // 8))
    figure.update_layout(legend={"orientation": "h", "y": -0.28, "yanchor": "top"})
    with st.container(key="profile"):
        views.chart("profile-chart", figure, height=340, alt=f"{MODES[mode][0]} by depth.")
    with st.expander("As a table"):
        views.table("profile-table", frame, height=260)
    exports.bar(f"profile-{mode}", frame, "profile", _code(q, found) +
                ("print(found.lens.frame())\n" if mode == "answer" else "print(found.frame())\n"))


# -- skips ----------------------------------------------------------------------------------------------------------


def _skips(q: Question, found: Depths) -> None:
    st.subheader("Left out one by one")
    modes = [name.removeprefix("skip_") for name in found.tables
             if name.startswith("skip_") and not name.endswith("_output")]
    if not modes:
        cards.empty("This run has no skip effects.", "Run interp depth without --skip none.")
        return
    mode = state.choose("skip", "Skips", modes, widget=st.segmented_control, label_visibility="collapsed",
                        format_func={"current": "Everywhere", "future": "Only before the middle",
                                     "past": "Only behind the middle", "local": "Direct only"}.get)
    frame = found.tables[f"skip_{mode}"]
    table = frame.pivot(index="skipped", columns="measured", values="mean")
    names = list(dict.fromkeys(frame["skipped"]))
    table = table.reindex(index=names, columns=names)
    known = {(row.skipped, row.measured): row for row in frame.itertuples()}
    hover = [[f"without {short(a)}, what {short(b)} writes changes by {known[a, b].mean:.3g} "
              f"[{known[a, b].low:.3g}, {known[a, b].high:.3g}]" if (a, b) in known else "" for b in names]
             for a in names]
    st.caption("Rows are left out, columns measured: how far what a later block writes moves, over its length."
               if mode != "future" else "Rows are left out before the middle token only; columns are measured behind "
               "it: what a block hands on to later tokens.")
    at = min(state.get("lay"), len(names) - 1)
    column = min(st.session_state.get("depth.column", at), len(names) - 1)

    def select(cell: tuple[int, int] | None) -> None:
        st.session_state["depth.column"] = cell[1] if cell else at
        state.put(lay=cell[0] if cell else 0)

    with st.container(key="skip-grid"):
        views.grid("skips", table.to_numpy(), rows=map(short, names), columns=map(short, names), hover=hover,
                   label="Effect of leaving out a block on later ones", unit="or more, relative change",
                   diverging=False, largest=1.0, square=len(names) <= 8, least=12,
                   tall=max(14, min(26, 420 // len(names))), numbers=len(names) <= 12, selected=(at, column),
                   on_select=select, x_title="measured", y_title="left out")
    _block(found, mode, names[at])
    output = found.tables[f"skip_{mode}_output"]
    with st.expander("As a table"):
        views.table("skip-table", output, height=220)
    exports.bar(f"skip-{mode}", frame, "skip-grid", _code(q, found) +
                f"print(interp.depth.skip_effects(model, part.clean, {mode!r}, clusters=part.clusters).frame())\n")


def _block(found: Depths, mode: str, name: str) -> None:
    """The numbers of one block."""
    row = found.tables[f"skip_{mode}_output"].set_index("skipped").loc[name]
    influence = found.tables["influence"].set_index("block")["influence"]
    columns = st.columns(3)
    columns[0].metric(f"output without {short(name)}", f"{row['on_output']:.3g}", delta_color="off", delta_arrow="off",
                      delta=f"[{row['low']:.3g}, {row['high']:.3g}]", help=f"Change of the output, {found.unit}.")
    columns[1].metric("later blocks", f"{row['on_later_blocks']:.3g}", help="Mean relative change of what they write.")
    if name in influence:
        columns[2].metric("turns the stream", f"{influence[name]:.3g}",
                          help="1 - cosine of what enters and what leaves the block.")


# -- phases ---------------------------------------------------------------------------------------------------------


def _phases(q: Question, found: Depths) -> None:
    st.subheader("Stretches of depth")
    if "phases" not in found.tables:
        count = len(found.tables["influence"])
        cards.note(f"Phases are stretches of two depths and more, so at least four are needed; {q.model} has {count}.")
        return
    distances, phases = found.tables["phase_distances"].to_numpy(float), found.tables["phases"]
    curve = found.tables["phase_curve"]
    sure = curve[curve["gain_low"] > 1e-9]
    k = int(phases["phase"].nunique())
    best = int(sure.loc[sure["gain"].idxmax(), "k"]) if len(sure) else 1
    said = (f"The best {best} are surely better than an even pace." if best > 1 else
            "No number of them is surely better than a stream that moves at an even pace: there may be none.")
    st.caption(f"Max-cut gives {k} {'stretch' if k == 1 else 'stretches'}, but it finds some in anything. {said}")
    left, right = st.columns([2, 3], gap="medium")
    with left, st.container(key="phase-grid"):
        names = [f"L{i}" for i in range(len(distances))]
        borders = list(phases["phase"])
        same = [(i, j) for i in range(len(names)) for j in range(len(names)) if borders[i] == borders[j]]
        views.grid("phases", distances, rows=names, columns=names, unit="1 - cosine",
                   label="Distance between the streams behind two depths", diverging=False, square=True, least=10,
                   marks=same if k > 1 and len(names) <= 16 else [])
    with right:
        shown = curve[["k", "within", "even", "shuffled", "gain", "gain_low", "gain_high", "stability"]]
        views.table("phase-curve", shown)
        st.caption("Share of all distance within the best k stretches; at an even pace; with depths shuffled (5 %). "
                   "Gain is even - within, with prompts resampled.")
    exports.bar("phases", pd.DataFrame(distances).add_prefix("L").assign(phase=phases["phase"]), "phase-grid",
                _code(q, found) + "print(whole.phases.frame())\nwhole.phases.figure().show()\n")


def _code(q: Question, found: Depths) -> str:
    if found.run:
        return exports.of_run(found.run) + "print(run.table('profile'))\n\n# measured anew:\n" + _now(q)
    return _now(q)


def _now(q: Question) -> str:
    return (q.code() + f"part = task.part('discover').rows(slice(0, {depth_tables.PROMPTS}))\n"
            "found = interp.depth.profile(model, part.clean, clusters=part.clusters)\n"
            f"whole = interp.depth.structure(model, part.clean, {q.seed})\n")
