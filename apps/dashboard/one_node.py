"""One node on Explore: what knocking it out does, where it looks, what it writes, and the likeliest answers."""

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import access, cards, exports, jobs, results, state, views
from apps.dashboard.prompt_pair import position_of
from apps.dashboard.results import Question, Shown

BASELINES = {"counterfactual": "its value on the corrupted prompt", "mean": "its mean", "zero": "zero",
             "resample": "its value on other prompts"}


def knock_out(q: Question, shown: Shown, nodes: tuple[str, ...]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.choose("abl", "Put it at", list(BASELINES), format_func=BASELINES.get, width=260)
        if st.button("Knock out", type="primary", icon=":material/content_cut:", disabled=q.own,
                     help="On prompts that were not used to pick it."):
            st.session_state["knocked"] = (q, nodes)
        if st.button("Find the circuit", icon=":material/account_tree:", disabled=q.own):
            _find(q)
    if q.own:
        cards.note("One prompt has no held-out prompts: go back to the task's to knock out and to find the circuit.")
    with cards.guarded("the knock-out"):
        if st.session_state.get("knocked") == (q, nodes):
            _moved(q, nodes)
            following(q, shown, nodes)
        else:
            following(q, shown, ())


def _moved(q: Question, nodes: tuple[str, ...]) -> None:
    done = results.knocked_out(q, nodes, state.get("abl"))
    held, ratio = done.held, done.shrinkage
    columns = st.columns(3)
    columns[0].metric("metric, held-out", f"{done.clean.value:.3g} → {done.without.value:.3g}",
                      help=f"In {done.unit}, on {held.n} prompts that were used neither to pick nor to size.")
    columns[1].metric("effect, held-out", f"{held.value:.3g}", delta=f"[{held.low:.3g}, {held.high:.3g}]",
                      delta_color="off", delta_arrow="off", help="95 % interval over prompts.")
    columns[2].metric("shrinkage", "–" if ratio is None else f"{ratio.value:.2f}", delta_arrow="off",
                      delta=None if ratio is None else f"[{ratio.low:.2f}, {ratio.high:.2f}]", delta_color="off",
                      help="Effect held-out divided by the effect where it was picked.")
    st.markdown(_sentence(done, nodes))
    with st.expander("As a table"):
        views.table("knock-out-table", done.frame())
    exports.bar("knock-out", done.frame(), None, q.code() + (
        "\nfrom interp.discovery.knock_out import knock_out\n\n"
        f"nodes = [interp.Node.from_label(label) for label in {list(nodes)!r}]\n"
        f"print(knock_out(model, task, nodes, {state.get('abl')!r}, seed={q.seed}).frame())\n"))


def _sentence(done, nodes: tuple[str, ...]) -> str:
    """What the numbers say, in words."""
    name, held, found = " + ".join(nodes), done.held, done.found
    if not held.excludes(0):
        return f"On held-out prompts the effect of {name} cannot be told from none."
    verb = "costs" if held.value > 0 else "adds"
    text = f"Without {name} the metric {'falls' if held.value > 0 else 'rises'}: it {verb} {abs(held.value):.3g} " \
           f"{done.unit} on prompts that nobody looked at, and {abs(found.value):.3g} where it was picked."
    if done.right is not None:
        text += f" Right answers: {done.right.value:.0%} before, {done.still_right.value:.0%} after."
    return text


def _find(q: Question) -> None:
    run = jobs.start("discover", task=q.task, model=q.model, method=state.get("meth"), n=max(q.n, 24), seed=q.seed,
                     draws=100)
    state.go("circuit", run=run, thr=0)


def following(q: Question, shown: Shown, without: tuple[str, ...]) -> None:
    """The likeliest answers: clean, corrupted, and without the nodes, as bars."""
    if shown.clean_next is None:
        cards.note("This model gives features, not tokens: there are no next-token bars.")
        return
    likely = [table[(table["probability"] >= 0.005) | (table.index < 2)]["id"]
              for table in (shown.clean_next, shown.corrupt_next)]
    ids = tuple(dict.fromkeys([*likely[0][:6], *likely[1][:3]]))
    table = shown.clean_next.set_index("id")["probability"]
    frame = pd.DataFrame({"token": _names(shown, ids), "clean": [float(table.get(i, 0)) for i in ids]})
    if without:
        changed = results.next_without(q, state.get("row"), without, state.get("abl"), tuple(int(i) for i in ids))
        by_id = changed.set_index("id")["probability"]
        frame["knocked out"] = [float(by_id[i]) for i in ids]
    other = shown.corrupt_next.set_index("id")["probability"]
    frame["corrupted"] = [float(other.get(i, 0)) for i in ids]
    bars = {name: st.column_config.ProgressColumn(name, width="small", min_value=0.0, max_value=1.0, format="percent")
            for name in frame.columns[1:]}
    st.caption("Likeliest answers on this prompt")
    st.dataframe(frame, key="next-tokens", hide_index=True, column_config=bars, height=35 * (len(frame) + 1) + 3)


def _names(shown: Shown, ids: tuple[int, ...]) -> list[str]:
    known = dict(zip(shown.clean_next["id"], shown.clean_next["token"]))
    known |= dict(zip(shown.corrupt_next["id"], shown.corrupt_next["token"]))
    return [known[i] for i in ids]


def pattern(q: Question, shown: Shown, label: str) -> None:
    """Draw where the node `label` looks, or the matrix that its mixer stands for; a note for models without either."""
    if access.facts(q.model)["mixing"] == "none":
        cards.note("This model mixes positions without a pattern or a mixing matrix; its effects are above.")
        return
    pictures, _ = results.patterns_of(q, state.get("row"))
    weights = pictures.get(label)
    if weights is None:
        cards.note(f"{label} does not mix positions.")
        return
    words = [word.strip() or "·" for word in shown.tokens]
    at = position_of(len(shown.tokens), shown.at)
    if len(weights) != len(words) or weights.shape[0] != weights.shape[1]:
        words = [str(i) for i in range(max(weights.shape))]
    _on_image(shown, weights, label, at)
    st.caption(f"Where {label} looks: a row asks, its columns are looked at")
    with st.container(key="pattern-grid"):
        views.grid("pattern", weights, rows=words[: len(weights)], columns=words[: weights.shape[1]], diverging=False,
                   label=f"pattern of {label}", largest=1.0, square=True, unit="weight", least=9,
                   between=" → ",
                   selected=(at, int(weights[at].argmax())) if 0 <= at < len(weights) else None,
                   on_select=lambda cell: state.put(pos=-1 if cell is None else cell[0]))
    frame = pd.DataFrame(weights, columns=[f"{j} {b}" for j, b in enumerate(words[: weights.shape[1]])])
    frame.insert(0, "query", words[: len(weights)])
    exports.bar("pattern", frame, "pattern-grid", q.code() + (
        "\nfrom interp.lens.look import one, patterns\n\n"
        f"found = {{p.label: p.weights for p in patterns(model, one(task, {state.get('row')}).clean)}}\n"
        f"print(found[{label!r}])\n"))


def _on_image(shown: Shown, weights: np.ndarray, label: str, at: int) -> None:
    """Where a patch looks, drawn on the image."""
    special, side = shown.patches
    if shown.pixels is None or side is None or weights.shape[0] != special + side * side or not 0 <= at < len(weights):
        return
    st.caption(f"Where {label} looks from {shown.tokens[at]}; {weights[at, :special].sum():.0%} of it goes to special "
               "positions" if special else f"Where {label} looks from patch {shown.tokens[at]}")
    with st.container(key="looks-at", width=320):
        views.grid("looks", weights[at, special:].reshape(side, side), rows=range(side), columns=range(side),
                   label=f"where {label} looks", unit="weight", diverging=False, square=True, behind=shown.pixels,
                   selected=None if at < special else divmod(at - special, side),
                   on_select=lambda cell: state.put(pos=-1 if cell is None else special + cell[0] * side + cell[1]))


def writes(q: Question, shown: Shown, label: str) -> None:
    """Draw the tokens that the node `label` writes for and against at the chosen position, in logits."""
    if access.facts(q.model)["says"] != "logits":
        return
    position = position_of(len(shown.tokens), shown.at)
    frame = results.writes_of(q, state.get("row"), label, position)
    at = shown.tokens[position].strip() if position < len(shown.tokens) else position
    st.caption(f"What {label} writes straight to the answer at “{at}”, in logits")
    views.strip("writes", list(frame["token"]), list(frame["logits"]), label=f"tokens that {label} raises and lowers",
                unit="logits", numbers=True, legend=False)
