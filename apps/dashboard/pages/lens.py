"""Lens: what every depth would answer at every position of one prompt, and how tokens fare on the way."""

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import access, cards, depth_readings, exports, jobs, patch_square, results, state, views
from apps.dashboard.depth_readings import Read
from apps.dashboard.prompt_pair import position_of
from apps.dashboard.results import Question, Shown

MODES = {
    "rank": ("Rank", "Place of the followed token among all, as log10: blank is the first choice, dark far from it."),
    "probability": ("Probability", "What each depth gives the followed token."),
    "entropy": ("Entropy", "How undecided each depth is: blank is sure."),
    "kl": ("To the end", "KL from what the model says in the end: blank is the same."),
    "distance": ("To the end", "Distance of what each depth would say to what the model says in the end."),
    "value": ("What it says", "The number that each depth would say: blue above zero, orange below."),
    "cosine": ("Direction", "Cosine of what each depth would say and what the model says in the end."),
}
OF = {"answer": "what it says in the end", "next": "the token that comes next", "task": "the task's right answer"}
LIMIT = ("An early depth is not written in the last one's coordinates: that the lens reads nothing there does not say "
         "that nothing is known. The tuned lens corrects what is affine of that; what is used, patching shows.")


def page() -> None:
    """Draw the page."""
    q = Question.now()
    st.title("Lens")
    st.caption(f"Every depth of {q.model} is read as if it were the last. {LIMIT}")
    shown, of = None, "answer"
    with cards.guarded("the prompt"):
        shown = results.shown(q, state.get("row"))
        of = _choices(q, shown)
    if shown is None:
        return
    kind = state.get("lens")
    if kind == "tuned" and not _tuned_there(q):
        return
    with cards.guarded("the lens"):
        found = depth_readings.read(q, state.get("row"), of, kind)
        if kind == "tuned":
            _against(q, of, found)
        _grid(q, shown, found, kind, of)
        left, right = st.columns([3, 2], gap="medium")
        with left, cards.guarded("the way of these tokens"):
            _trajectory(q, shown, found, kind)
        with right, cards.guarded("this cell"):
            _cell(shown, found)


def _choices(q: Question, shown: Shown) -> str:
    """Draw what can be chosen; the followed token."""
    of = "answer"
    tokens, numbers = _says(q, shown)
    modes = (["rank", "probability", "entropy", "kl"] if tokens else ["value", "distance"] if numbers else
             ["distance", "cosine"])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if not q.own and shown.rows > 1:
            state.field("row", "Prompt", widget=st.number_input, min_value=0, max_value=shown.rows - 1, width=130,
                        drop=("pos", "lay"))
        state.choose("lens", "Lens", ["logit", "tuned"], widget=st.segmented_control,
                     format_func={"logit": "Logit lens", "tuned": "Tuned lens"}.get)
        state.choose("mode", "Shows", modes, widget=st.segmented_control, format_func=lambda m: MODES[m][0])
        if tokens:
            following = list(OF) if access.facts(q.model)["causal"] else ["answer", "task"]
            of = state.choose("of", "Followed token", following, format_func=OF.get, width=240)
    st.caption(" · ".join(f"{key}: {value}" for key, value in shown.facts.items())[:240])
    return of


def _says(q: Question, shown: Shown) -> tuple[bool, bool]:
    """Whether the model answers with tokens (or classes), and whether with a number."""
    numbers = depth_readings.says_numbers(q.model)
    return shown.clean_next is not None and not numbers, numbers


def _mode(found: Read) -> str:
    """The measure that is shown; the first one for a mode of another page."""
    return state.get("mode") if state.get("mode") in found.values else next(iter(found.values))


# -- the grid -------------------------------------------------------------------------------------------------------


def _grid(q: Question, shown: Shown, found: Read, kind: str, of: str) -> None:
    mode = _mode(found)
    values, unit = found.values[mode], found.units[mode]
    if mode == "rank":
        values, unit = np.log10(values), "log10 of its place"
    st.caption(f"{MODES[mode][1]}" + (" Cells hold the first choice there; hover for five."
               if found.first else "") + " Outlined: where the task asks.")
    count, depths = values.shape[1], len(found.depths)
    columns = _columns(shown, count)
    chosen = _chosen(found)

    def select(cell: tuple[int, int] | None) -> None:
        state.put(lay=depths - 1 - cell[0] if cell else 0, pos=cell[1] if cell else -1)

    text = access.facts(q.model)["tokenizer"]
    with st.container(key="lens-grid"):
        views.grid("lens", values[::-1], rows=found.depths[::-1], columns=columns, unit=unit,
                   diverging=mode in ("cosine", "value"), label=f"{MODES[mode][0]} of each depth at each position",
                   text=found.first and found.first[::-1],
                   hover=found.hover and found.hover[::-1], between=" at ", least=38 if text else 16.5,
                   largest=1.0 if mode in ("probability", "cosine") else None, x_title="position", y_title="depth",
                   tall=22 if depths > 16 else 26, best=(0, min(shown.at, count - 1)), on_select=select,
                   marks=[(0, min(shown.at, count - 1))],
                   selected=chosen and (depths - 1 - chosen[0], chosen[1]))
    with st.expander("As a table"):
        views.table("lens-table", found.frame, height=300)
    exports.bar(f"lens-{mode}", found.frame, "lens-grid", _code(q, kind, of))
    _patches(shown, found, mode)


def _patches(shown: Shown, found: Read, mode: str) -> None:
    """One depth of an image model as a square of patches."""
    depths = len(found.depths)
    depth, position = _chosen(found) or (depths // 2, None)
    patch_square.show(shown, found.values[mode][depth], unit=found.units[mode], diverging=mode in ("cosine", "value"),
                      what=f"{MODES[mode][0]} of each patch at depth {found.depths[depth]}", selected=position,
                      on_select=lambda at: state.put(lay=depth, pos=-1 if at is None else at))


def _columns(shown: Shown, count: int) -> list[str]:
    """What stands at each position."""
    if count == len(shown.tokens):
        return [depth_readings.shown(token) for token in shown.tokens]
    return ["answer"] if count == 1 else [str(i) for i in range(count)]


def _chosen(found: Read) -> tuple[int, int] | None:
    """(depth, position) that was clicked; None where nothing was."""
    depths, count = next(iter(found.values.values())).shape
    if state.get("pos") == -1:
        return None
    return min(state.get("lay"), depths - 1), position_of(count, count - 1)


def _place(shown: Shown, found: Read) -> tuple[int, int]:
    """The clicked cell, else the last depth where the task asks."""
    depths, count = next(iter(found.values.values())).shape
    return _chosen(found) or (depths - 1, min(shown.at, count - 1))


# -- one token over depth, one cell ---------------------------------------------------------------------------------


def _trajectory(q: Question, shown: Shown, found: Read, kind: str) -> None:
    from interp.results import plots

    depth, position = _place(shown, found)
    where = _columns(shown, next(iter(found.values.values())).shape[1])[position]
    st.subheader(f"Over depth, at “{where}” (position {position})")
    if found.top is None:
        measure = "value" if _mode(found) == "value" else "distance"
        values = found.values[measure][:, position]
        frame = pd.DataFrame({"depth": range(len(values)), measure: values})
        figure = plots.curve_with_band(frame["depth"], values, x_title="blocks passed",
                                       y_title="what it says" if measure == "value" else "distance to the end")
        figure.update_xaxes(tickformat="d", dtick=max(1, len(values) // 6))
    else:
        state.field("fol", "Follow another token", placeholder="a token with its space, or an id", width=300)
        ids = _followed(q, found, depth, position)
        frame = depth_readings.follow(q, state.get("row"), kind, position, tuple(ids))
        figure = _lines(frame, ids, "rank" if _mode(found) == "rank" else "probability")
    with st.container(key="trajectory"):
        views.chart("trajectory-chart", figure, height=380, alt=f"How tokens fare over depth at position {position}.")
    with st.expander("As a table"):
        views.table("trajectory-table", frame, height=260)
    exports.bar("trajectory", frame, "trajectory", _code(q, kind, "", position, frame))


def _followed(q: Question, found: Read, depth: int, position: int) -> dict[int, str]:
    """{id: why} of the tokens that are followed."""
    said = {found.top[-1][position][0][0]: "said in the end"}
    if depth < len(found.depths) - 1:
        said.setdefault(found.top[depth][position][0][0], f"first at {found.depths[depth]}")
    with cards.guarded("that token"):
        for i, what in depth_readings.asked(q, state.get("row"), state.get("fol")).items():
            said[i] = f"{said[i]}, {what}" if i in said else what
    return dict(list(said.items())[:5])


def _lines(frame: pd.DataFrame, ids: dict[int, str], measure: str):
    """A line a token."""
    from interp.results import plots

    figure = None
    for i, what in ids.items():
        rows = frame[frame["id"] == i]
        name = f"{depth_readings.shown(rows['token'].iloc[0])} ({what})"
        figure = plots.curve_with_band(rows["depth"], rows[measure], name=name, figure=figure, x_title="blocks passed",
                                       y_title="place among all" if measure == "rank" else "probability")
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.24, "yanchor": "top"})
    figure.update_xaxes(tickformat="d", dtick=max(1, int(frame["depth"].max()) // 6))
    return figure.update_yaxes(type="log", autorange="reversed", dtick=1) if measure == "rank" else figure


def _cell(shown: Shown, found: Read) -> None:
    depth, position = _place(shown, found)
    st.subheader(f"At {found.depths[depth]}")
    if found.top is None:
        words = {"value": "what it says", "distance": "distance to the end", "cosine": "cosine to the end"}
        for measure, values in found.values.items():
            st.metric(words[measure], f"{values[depth, position]:.3g}")
    else:
        frame = pd.DataFrame(found.top[depth][position], columns=["id", "token", "probability"])
        st.dataframe(frame, key="top-tokens", hide_index=True, height=35 * (len(frame) + 1) + 3, column_config={
            "probability": st.column_config.ProgressColumn("probability", min_value=0.0, max_value=1.0,
                                                           format="percent")})
        st.caption(f"Entropy {found.values['entropy'][depth, position]:.3g} nats, KL to the end "
                   f"{found.values['kl'][depth, position]:.3g} nats.")
    state.link("patch", "Patch there", icon=":material/swap_horiz:", part="stream", lay=depth, pos=position,
               help="Put the stream of the corrupted prompt there, and see what it does.")


# -- the tuned lens -------------------------------------------------------------------------------------------------


def _tuned_there(q: Question) -> bool:
    """Whether the tuned lens can be shown; says where it is from, or offers the job that makes it."""
    with cards.guarded("the tuned lens"):
        if depth_readings.tuned_run(q.model) or depth_readings.fits_now(q):
            found = depth_readings.tuned(q)
            with st.expander(f"The tuned lens. {found.about}"):
                frame = found.lens.frame()
                st.caption("What remains of the last stream on held-out prompts, as a share of its squared length.")
                with st.container(key="tuned-error"):
                    views.chart("tuned-chart", found.lens.figure(), height=260, alt="Held-out error by depth.")
                exports.bar("tuned", frame, "tuned-error", q.code() + found.code + "print(lens.frame())\n")
            return True
        if jobs.show(state.get("run"), command="depth"):
            return False
        cards.empty(f"There is no tuned lens of {q.model} yet.",
                    "Fit one on 64 windows of text that are not those shown: minutes for a model of this size.")
        if st.button("Fit a tuned lens", type="primary", icon=":material/tune:"):
            state.put(run=jobs.start("depth", model=q.model, tuned=64, skip=["none"], seed=q.seed))
            st.rerun()
    return False


def _against(q: Question, of: str, found: Read) -> None:
    """Whether the tuned lens reads this prompt better than the plain one."""
    measure = next(name for name in ("kl", "distance") if name in found.values)
    plain = depth_readings.read(q, state.get("row"), of, "logit").values[measure]
    cards.note("Distance to the end on this prompt, mean before the last depth: "
               f"{found.values[measure][:-1].mean():.3g}, by the plain lens {plain[:-1].mean():.3g} "
               f"({found.units[measure]}). The maps are fitted to streams, not answers: where an answer is not there "
               "yet, the tuned lens can be farther off.")


def _code(q: Question, kind: str, of: str, position: int | None = None, frame: pd.DataFrame | None = None) -> str:
    lens = depth_readings.tuned(q).code if kind == "tuned" else ""
    through = ", through=lens" if kind == "tuned" else ""
    before = q.code() + lens + f"from interp.lens.look import one\n\nprompt = one(task, {state.get('row')})\n"
    if depth_readings.says_numbers(q.model):
        return before + (f"from interp.lens import spoken\n\nprint(spoken(model, prompt.clean{through})[..., 0])\n")
    if access.facts(q.model)["says"] != "logits":
        return before + (f"from interp.lens import logit_lens\n\nfound = logit_lens(model, prompt.clean{through})\n"
                         "print(found.values['distance'][:, 0])\nfound.figure().show()\n")
    if position is not None:
        ids = list(dict.fromkeys(int(i) for i in frame["id"]))
        return before + ("from interp.lens import trajectory\n\n"
                         f"print(trajectory(model, prompt.clean, {ids}, {position}{through}))\n")
    target = "int(prompt.metric.answer_ids()[0])" if of == "task" else repr(of)
    return before + ("from interp.lens import readings\n\n"
                     f"found = readings(model, prompt.clean, {target}{through})\nprint(found.frame())\n"
                     "found.figure('rank').show()\n")
