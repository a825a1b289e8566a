"""Patch: one part at one position taken from the other prompt, exactly and as a gradient foretells it."""

import numpy as np
import streamlit as st

from apps.dashboard import access, cards, depth_readings, exports, patch_square, patched, results, state, views
from apps.dashboard.patched import Maps
from apps.dashboard.results import Question, Shown

PARTS = {"stream": "Stream", "attn": "Attention", "mlp": "MLP", "heads": "Heads"}
DIRECTIONS = {"restore": "Restore: clean into corrupted", "remove": "Remove: corrupted into clean"}
LIMIT = ("Restoring finds what suffices, removing what is needed: a part that others back up shows in the first alone. "
         "A patched run mixes two prompts and may be like neither.")


def page() -> None:
    """Draw the page."""
    q = Question.now()
    st.title("Patch")
    st.caption(f"A part of {q.model} at one position is taken from the other prompt. {LIMIT}")
    shown = None
    with cards.guarded("the prompt"):
        shown = results.shown(q, state.get("row"))
        what, metric = _choices(q, shown)
    if shown is None:
        return
    with cards.guarded("the map"):
        found = patched.maps(q, state.get("row"), state.get("on"), what, state.get("dir"), metric)
        _map(q, shown, found, metric)
        left, right = st.columns([3, 2], gap="medium")
        with left, cards.guarded("this patch"):
            _applied(q, shown, found, metric)
        with right, cards.guarded("the comparison"):
            _agreement(q, found, metric)


def _choices(q: Question, shown: Shown) -> tuple[str, str]:
    """Draw what can be chosen; (what is patched, the metric)."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if not q.own and shown.rows > 1:
            state.field("row", "Prompt", widget=st.number_input, min_value=0, max_value=shown.rows - 1, width=130,
                        drop=("pos", "lay"))
        there = _there(q)
        what = state.choose("part", "Part", there, widget=st.segmented_control, format_func=PARTS.get,
                            drop=("lay",))
        state.choose("dir", "Direction", list(DIRECTIONS), format_func=DIRECTIONS.get, width=270)
        state.choose("on", "Over", ["one"] if q.own else ["one", "all"], widget=st.segmented_control,
                     format_func={"one": "This prompt", "all": "Discover prompts"}.get)
        offered = patched.metrics(q.prompts())
        metric = state.choose("met", "Metric", list(offered), format_func=offered.get, width=260)
        state.choose("mode", "Numbers", ["exact", "gradient"], widget=st.segmented_control,
                     format_func={"exact": "Exact", "gradient": "Gradient estimate"}.get)
    st.caption(f"Clean {shown.clean:.3g}, corrupted {shown.corrupt:.3g} {shown.unit} on this prompt · " +
               " · ".join(f"{key}: {value}" for key, value in shown.facts.items())[:200])
    return what, metric


@st.cache_data(max_entries=32, show_spinner=False)
def _parts(name: str) -> list[str]:
    from interp.discovery.patching import parts_of
    from interp.results.errors import RequiresResidualStream

    found = []
    with access.model(name) as model:
        for what in PARTS:
            try:
                parts_of(model, what)
                found.append(what)
            except RequiresResidualStream:
                continue
    return found


def _there(q: Question) -> list[str]:
    from interp.results.errors import RequiresResidualStream

    if not (found := _parts(q.model)):
        raise RequiresResidualStream(f"{q.model} declares neither a stream nor writes of its parts, so nothing can be "
                                     "patched here")
    return found


# -- the map --------------------------------------------------------------------------------------------------------


def _map(q: Question, shown: Shown, found: Maps, metric: str) -> None:
    exact = state.get("mode") != "gradient"
    one = found.exact if exact else found.estimate
    parts, count = one.mean.shape
    names, columns = _rows(found), _columns(shown, count)
    place, strongest = _place(found), _strongest(found)
    chosen = None if state.get("pos") == -1 else place

    def select(cell: tuple[int, int] | None) -> None:
        state.put(lay=parts - 1 - cell[0] if cell else 0, pos=cell[1] if cell else -1)

    done = "gets back" if one.direction == "restore" else "loses"
    st.caption(f"What the metric {done} in {one.unit or 'its unit'}; all there is to "
               f"{'get back' if one.direction == 'restore' else 'lose'} is {one.gap:.3g}, "
               f"{f'mean over {len(one.clean)} prompts' if len(one.clean) > 1 else 'on this prompt'}. "
               "A star marks a token that differs in the corrupted prompt; outlined is the largest effect.")
    frame = one.frame()
    hover = _hover(found, names, columns)
    with st.container(key="patch-map"):
        views.grid("patches", one.mean[::-1], rows=names[::-1], columns=columns, unit=one.unit, hover=hover[::-1],
                   label=f"Effect of patching {PARTS[one.what].lower()} by position", selected=chosen and
                   (parts - 1 - chosen[0], chosen[1]), on_select=select, best=(parts - 1 - strongest[0], strongest[1]),
                   marks=[(parts - 1 - strongest[0], strongest[1])], x_title="position",
                   tall=20 if parts > 16 else 26, least=26 if access.facts(q.model)["tokenizer"] else 12,
                   between=" at ")
    if found.note:
        cards.note(found.note)
    with st.expander("As a table"):
        views.table("patch-table", frame, height=300)
    exports.bar(f"patch-{one.what}", frame, "patch-map", _code(q, found, metric, one.rules))
    if shown.pixels is not None:
        patch_square.show(shown, one.mean[place[0]], unit=one.unit, diverging=True, selected=place[1],
                          what=f"{names[place[0]]}, patch by patch",
                          on_select=lambda at: state.put(lay=place[0], pos=-1 if at is None else at))


def _rows(found: Maps) -> list[str]:
    """Names of the rows: depths for streams, labels of nodes for the rest."""
    if found.exact.what == "stream" and len({node.stack for node in found.exact.parts}) == 1:
        return depth_readings.depth_names(len(found.exact.parts))
    return [node.label for node in found.exact.parts]


def _columns(shown: Shown, count: int) -> list[str]:
    if count != len(shown.tokens):
        return [str(i) for i in range(count)]
    return [depth_readings.shown(a) + ("" if a == b else "*") for a, b in zip(shown.tokens, shown.corrupt_tokens)]


def _hover(found: Maps, names: list[str], columns: list[str]) -> list[list[str]]:
    exact, estimate, unit = found.exact.mean, found.estimate.mean, found.exact.unit
    return [["" if np.isnan(estimate[r, c]) else
             f"{names[r]} at {c} {columns[c]}: " + ("" if np.isnan(exact[r, c]) else f"exact {exact[r, c]:+.4g}, ") +
             f"estimate {estimate[r, c]:+.4g} {unit}" for c in range(exact.shape[1])] for r in range(len(names))]


def _place(found: Maps) -> tuple[int, int]:
    """(row, position) of the chosen cell, else of the largest exact effect."""
    table = found.exact.mean
    if state.get("pos") != -1:
        row, position = min(state.get("lay"), len(table) - 1), state.get("pos") % table.shape[1]
        if not np.isnan(found.estimate.mean[row, position]):
            return row, position
    return _strongest(found)


def _strongest(found: Maps) -> tuple[int, int]:
    """(row, position) of the largest exact effect."""
    table = np.abs(found.exact.mean)
    row, position = np.unravel_index(np.nanargmax(table), table.shape)
    return int(row), int(position)


# -- one patch ------------------------------------------------------------------------------------------------------


def _applied(q: Question, shown: Shown, found: Maps, metric: str) -> None:
    row, position = _place(found)
    node, direction = found.exact.parts[row], found.exact.direction
    token = depth_readings.shown(shown.tokens[position]) if position < len(shown.tokens) else position
    st.subheader(f"{_rows(found)[row]} at “{token}” (position {position})")
    if state.get("pos") == -1:
        st.caption("The largest; click a cell for another one.")
    done = patched.apply(q, state.get("row"), node.site, node.head, position, found.exact.what, direction, metric)
    before = done.corrupt if direction == "restore" else done.clean
    columns = st.columns(3)
    columns[0].metric("metric, this prompt", f"{before:.3g} → {done.patched:.3g}",
                      help=f"In {done.unit}; clean {done.clean:.4g}, corrupted {done.corrupt:.4g}.")
    gap, moved = done.clean - done.corrupt, abs(done.patched - before)
    share = np.sign((done.patched - before) * (gap if direction == "restore" else -gap)) * moved / (abs(gap) or np.nan)
    columns[1].metric("share of the difference", f"{share:.0%}" if np.isfinite(share) else "–",
                      help="Of clean minus corrupted, on this prompt.")
    if done.held is not None:
        columns[2].metric("effect, held-out", f"{done.held.value:.3g}", delta_arrow="off", delta_color="off",
                          delta=f"[{done.held.low:.3g}, {done.held.high:.3g}]",
                          help=f"Mean over {done.held.n} prompts nobody looked at, this part and position; 95 % over "
                          "prompts.")
    else:
        cards.note(f"Not measured on held-out prompts: {done.why}.")
    if done.following is None:
        cards.note("This model gives features, not tokens: there are no next-token bars.")
    else:
        bars = {name: st.column_config.ProgressColumn(name, width="small", min_value=0.0, max_value=1.0,
                                                      format="percent") for name in done.following.columns[1:]}
        st.caption("Likeliest answers on this prompt; patched is the "
                   f"{'corrupted' if direction == 'restore' else 'clean'} prompt with this one part of the other.")
        st.dataframe(done.following, key="patched-tokens", hide_index=True, column_config=bars,
                     height=35 * (len(done.following) + 1) + 3)
        exports.bar("patched-answers", done.following, None, _one_code(q, found, row, position, metric))
    with st.container(horizontal=True):
        if found.exact.what == "stream":
            state.link("lens", "Read it through the lens", icon=":material/layers:", lay=row, pos=position)
        if node.head is not None:
            state.link("explore", f"Look at {node.label} in Explore", icon=":material/grid_on:", h=node.label)


def _agreement(q: Question, found: Maps, metric: str) -> None:
    from interp.discovery.patching import agreement_figure

    st.subheader("Exact and estimated")
    r = found.correlation
    if r is None:
        cards.note("Fewer than three cells, or cells that are all the same: there is no correlation.")
        return
    several = len(found.exact.clean) > 1
    st.caption(f"Correlation {r.value:.2f}" + (f" [{r.low:.2f}, {r.high:.2f}], prompts resampled" if several else "") +
               f", over {len(found.cells)} cells{'' if found.complete else ' with the largest estimates'}. Off the "
               "dotted line the gradient misleads: where attention saturates, and where the whole stream is changed.")
    figure = agreement_figure(found.cells)
    with st.container(key="agreement"):
        views.chart("agreement-chart", figure, height=340, alt="Gradient estimates against exact effects, a point a "
                    f"cell; correlation {r.value:.2f}.")
    with st.expander("As a table"):
        views.table("agreement-table", found.cells, height=260)
    exports.bar("agreement", found.cells, "agreement", _code(q, found, metric, "both"))


# -- scripts --------------------------------------------------------------------------------------------------------


def _before(q: Question, metric: str, on: str) -> str:
    code = q.code() + "from interp.discovery.patching import agreement, patch_map\n"
    if on == "one" or q.own:
        code += f"from interp.lens.look import one\n\npart = one(task, {state.get('row')})\n"
    else:
        code += "\npart = task.part('discover')\n"
    if metric == "log-probability":
        code += ("from dataclasses import replace\n\nfrom interp.tasks.metrics import LogProb\n\n"
                 "part = replace(part, metric=LogProb(part.metric.positions, part.metric.correct))\n")
    return code


def _code(q: Question, found: Maps, metric: str, rules: str) -> str:
    one = found.exact
    call = f"patch_map(model, part, {one.what!r}, {one.direction!r}"
    code = _before(q, metric, state.get("on"))
    if rules == "both":
        return code + f"correlation, cells = agreement({call}), {call}, 'tangent'))\nprint(correlation)\nprint(cells)\n"
    return code + f"found = {call}, {rules!r})\nprint(found.frame())\nfound.figure().show()\n"


def _one_code(q: Question, found: Maps, row: int, position: int, metric: str) -> str:
    node, restore = found.exact.parts[row], found.exact.direction == "restore"
    sides = ("part.corrupt", "part.clean") if restore else ("part.clean", "part.corrupt")
    return _before(q, metric, "one") + (
        "from interp.lens.look import asked_at, next_tokens\n\n"
        f"node = interp.Node({node.site!r}, {node.head!r}, {position})\n"
        f"print(next_tokens(model, {sides[0]}, asked_at(part), without=[node],\n"
        f"                  baseline=interp.Counterfactual({sides[1]})))\n")
