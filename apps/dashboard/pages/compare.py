"""Compare: two circuits, two models or two runs beside each other, with one selection for both."""

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import cards, exports, folders, state, two_models, views

MODES = {"circuits": "Circuits", "models": "Models", "runs": "Runs"}
FIRST = ("induction-2l", "induction-2l-cdt")


def page() -> None:
    """Draw the page."""
    st.title("Compare")
    mode = state.choose("mode", "What", list(MODES), widget=st.segmented_control, format_func=MODES.get,
                        label_visibility="collapsed")
    with cards.guarded(f"these {MODES[mode].lower()}"):
        {"circuits": _circuits, "models": two_models.show, "runs": _runs}[mode]()


def _pair_of_runs(known: list[str], what: str) -> tuple[str, str] | None:
    """The two runs that are chosen; their fields."""
    if len(known) < 2 and not (state.get("run") and state.get("b.run")):
        cards.empty(f"Two {what} are needed, and there {'is one' if known else 'is none'}.",
                    "Find circuits on Explore or Circuit, or with interp discover.")
        return None
    chosen: list[str] = []
    for column, key, first, label in zip(st.columns(2), ("run", "b.run"), FIRST, "AB"):
        left = [name for name in known if name not in chosen]
        now = state.get(key) or (first if first in left else left[0])
        with column:  # what is shown without a choice comes first among the options
            state.choose(key, label, [now, *(name for name in known if name != now)], drop=("h",))
        chosen.append(now)
    return chosen[0], chosen[1]


# -- circuits -------------------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=16, show_spinner="Comparing ...")
def _compared(paths: tuple[str, str], changed: tuple[float, float], seed: int):
    from interp.discovery import compare

    return compare(*paths, seed=seed)


def _circuits() -> None:
    frame = folders.listing()
    known = [name for name in (frame["run"] if len(frame) else ()) if (folders.find(name) / "circuit.json").is_file()]
    pair = _pair_of_runs(known, "circuits")
    if pair is None:
        return
    paths = tuple(str(folders.find(name) / "circuit.json") for name in pair)
    stamps = tuple((folders.find(name) / "circuit.json").stat().st_mtime for name in pair)
    found = _compared(paths, stamps, state.get("seed"))
    code = (f"from interp.discovery import compare\n\nfound = compare({paths[0]!r}, {paths[1]!r}, "
            f"seed={state.get('seed')})\n")
    _overlap(found.frame())
    _side_by_side(found, pair)
    if found.matched():
        with cards.guarded("the selection"):
            _selected(found.nodes(), pair)
    table = _difference(found, code) if found.matched() else _profiles(found, code)

    def chosen(i: int | None) -> None:
        state.put(h="" if i is None else table["label"][i])

    with st.expander("As tables"):
        views.table("nodes-both", table.replace([np.inf, -np.inf], np.nan), height=300,
                    on_select=chosen if found.matched() else None)
        views.table("statistics", found.frame().drop(columns=["a", "b"]))
        views.table("evidence", found.evidence().drop(columns="origin"))


def _difference(found, code: str) -> pd.DataFrame:
    """Score in A minus score in B; as shares of each total where units differ."""
    a, b = (compared.circuit for compared in found.circuits)
    table, unit = found.nodes(), a.provenance.get("unit")
    same = a.task == b.task and unit and unit == b.provenance.get("unit")
    scale = [1.0, 1.0] if same else [table[f"score_{side}"].abs().sum() or 1.0 for side in "ab"]
    table["difference"] = table["score_a"] / scale[0] - table["score_b"] / scale[1]
    st.markdown("**A minus B**" if same else "**A minus B, as shares of each side's total**")
    st.caption("Members of both are outlined; grey: scored on one side only.")
    with st.container(key="difference"):
        views.heads("difference-grid", table.rename(columns={"label": "source"}), value="difference",
                    unit=unit if same else "of the total", label="score in A minus score in B",
                    marks=list(table["label"][table["member"] == "both"]),
                    selected=state.get("h") if state.get("h") in set(table["label"]) else None,
                    on_select=lambda label: state.put(h=label or ""))
    exports.bar("difference", table, "difference", code + "found.figure().show()\nprint(found.nodes())\n")
    return table


def _profiles(found, code: str) -> pd.DataFrame:
    """Where in depth the scores of two models lie whose nodes cannot be matched."""
    st.markdown("**Where their scores lie**")
    cards.note("These models have other nodes, which cannot be matched: only where they lie in depth can be.")
    with st.container(key="difference"):
        views.chart("difference-chart", found.figure(), alt="Share of the scores at each relative depth")
    exports.bar("difference", found.frame(), "difference", code + "found.figure().show()\nprint(found.frame())\n")
    return found.frame()


def _overlap(frame: pd.DataFrame) -> None:
    """What the two have in common, with the chance level of the same size and depths."""
    rows = frame[~frame["null"].fillna("").eq("same size")].drop_duplicates("statistic")
    for column, row in zip(st.columns(max(1, len(rows))), rows.itertuples()):
        low = f"[{row.low:.2f}, {row.high:.2f}]" if pd.notna(row.low) else \
            f"by chance {row.expected:.2f}, p {row.p:.2g}" if pd.notna(row.expected) else ""
        column.metric(row.statistic, "–" if pd.isna(row.value) else f"{row.value:.2f}", delta=low or None,
                      delta_color="off", delta_arrow="off", help=str(row.note) or None)
    st.caption("In common: against every choice of as many at the same depths. Intervals of rank correlations are over "
               "nodes or edges: they say how much the number hangs on single ones.")


def _side_by_side(found, pair: tuple[str, str]) -> None:
    for column, compared, name, side in zip(st.columns(2, gap="medium"), found.circuits, pair, "ab"):
        circuit = compared.circuit
        with column:
            st.caption(f"{compared.name}: {circuit.task} in {circuit.model}, {circuit.method}; its "
                       f"{len(circuit.nodes)} members are outlined")
            frame = circuit.frame(candidates=True).rename(columns={"label": "source"})
            with st.container(key=f"circuit-{side}"):
                views.heads(f"members-{side}", frame, value="score", unit=circuit.provenance.get("unit", ""),
                            label=f"scores of {name}", marks=[node.label for node in circuit.nodes],
                            selected=state.get("h") if state.get("h") in set(frame["source"]) else None,
                            on_select=lambda label: state.put(h=label or ""))
            exports.bar(f"circuit-{side}", frame, f"circuit-{side}", exports.of_run(name) +
                        "\ncircuit = interp.Circuit.load(run.path / 'circuit.json')\nprint(circuit.frame(True))\n")


def _selected(nodes: pd.DataFrame, pair: tuple[str, str]) -> None:
    row = nodes[nodes["label"] == state.get("h")]
    if not len(row):
        st.caption("Click a node: it is chosen on both sides.")
        return
    row = row.iloc[0]
    scores = [f"**{'–' if pd.isna(row[side]) else f'{row[side]:.4g}'}**" for side in ("score_a", "score_b")]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{row['label']}**: {scores[0]} in A, {scores[1]} in B; member of {row['member'] or 'neither'}")
        for name, label in zip(pair, "AB"):
            config = folders.open_run(name).config
            if isinstance(config.get("model"), str) and isinstance(config.get("task"), str):
                state.link("explore", f"Look at it in {label}", icon=":material/grid_on:", m=config["model"],
                           t=config["task"], h=row["label"])


# -- runs -----------------------------------------------------------------------------------------------------------


def _runs() -> None:
    frame = folders.listing()
    pair = _pair_of_runs(list(frame["run"]) if len(frame) else [], "runs")
    if pair is None:
        return
    rows = {}
    for name in pair:
        run = folders.open_run(name)
        rows[name] = {"command": run.command, "status": run.status, "seed": run.seed, **run.config,
                      **{f"found: {key}": _short(value) for key, value in run.info["summary"].items()},
                      "seconds": run.info["timings"].get("total")}
    keys = list(dict.fromkeys([*rows[pair[0]], *rows[pair[1]]]))
    sides = [[str(rows[name].get(key, "")) for key in keys] for name in pair]
    table = pd.DataFrame({"": keys, "A": sides[0], "same": ["=" if x == y else "≠" for x, y in zip(*sides)],
                          "B": sides[1]})
    st.caption(f"{int((table['same'] == '≠').sum())} of {len(table)} settings and findings differ.")
    views.table("runs-beside", table, height=min(700, 36 * (len(table) + 1) + 4))
    code = "".join(f"run = interp.Run.open({str(folders.find(name))!r})\nprint(run.config, run.info['summary'])\n"
                   for name in pair)
    exports.bar("runs-beside", table, None, f"import interp\n\n{code}")


def _short(value) -> str:
    """A finding as text: an estimate with its interval."""
    if isinstance(value, dict) and {"value", "low", "high"} <= set(value):
        return f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"
    return str(value)[:200]
