"""Architectures: the catalog as a table, one entry with its diagram and equations, and two of them side by side."""

import pandas as pd
import streamlit as st

from apps.dashboard import access, cards, catalogue, exports, state, views

FILTERS = {"fam": ("Family", "family"), "mod": ("Reads", "reads"), "mix": ("Mixers", "mixers")}
COLUMNS = ["name", "what", "family", "reads", "mixers", "parameters", "made from", "paper"]


def page() -> None:
    """Draw the page."""
    st.title("Architectures")
    with cards.guarded("the catalog"):
        _browse()
    name, other = state.get("arch"), state.get("b.arch")
    with cards.guarded("this architecture"):
        _known(name)
        _header(name, other)
        if other:
            _known(other)
            _two(name, other)
        else:
            _one(name)


def _known(name: str) -> None:
    from interp.results.errors import BadInput, nearest

    names = list(catalogue.table()["name"])
    if name not in names:
        raise BadInput(f"no architecture {name!r}.{nearest(name, names)} There are {len(names)}; the table has them")


# -- the table ------------------------------------------------------------------------------------------------------


def _browse() -> None:
    whole = catalogue.table()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.field("q", "Search", placeholder="rotary, gate, 2023 ...", width=230)
        for key, (label, column) in FILTERS.items():
            every = sorted({kind for cell in whole[column] for kind in cell.split(", ")})
            state.choose(key, label, ["", *every], format_func=lambda kind: kind or "any", width=190)
    frame = catalogue.chosen(state.get("q"), *(state.get(key) for key in FILTERS))
    if not len(frame):
        cards.empty(f"None of {len(whole)} architectures fits.", "Use fewer words or filters.")
        return
    st.caption(f"{len(frame)} of {len(whole)} architectures, each built by interp.build(NAME, seed=0) at any size. "
               "Click a row to see how it computes.")
    views.table("catalog", frame[COLUMNS], height=min(250, 36 * (len(frame) + 1) + 4),
                on_select=lambda i: None if i is None else state.put(arch=frame["name"][i], h=""))
    exports.bar("catalog", frame, None, "from interp.architectures.traits import traits\n"
                "from interp.garden.catalog import catalog\n\nfor entry in catalog():\n"
                "    print(entry.name, entry.title, entry.family, traits(entry), entry.citation)\n")


def _header(name: str, other: str) -> None:
    row = catalogue.table().set_index("name").loc[name]
    st.subheader(f"{name}: {row['what']}")
    st.caption(f"{row['paper']} · {int(row['parameters']):,} parameters at {catalogue.sizes(name)} · mixers: "
               f"{row['mixers']} · reads: {row['reads']}")
    parent = row["made from"]
    names = [entry for entry in catalogue.table()["name"] if entry != name]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.choose("b.arch", "Beside", ["", *names] if not other or other in names else ["", other, *names],
                     format_func=lambda entry: entry or "nothing: this one alone", width=260)
        if parent and other != parent:
            st.button(f"Beside what it was made from: {parent}", on_click=lambda: state.put(b_arch=parent, h=""))
        for task in ("recall", "repeats"):
            if (trained := f"garden/{task}-{name}") in access.names():
                state.link("explore", f"One trained on {task}", icon=":material/grid_on:", m=trained, t="induction",
                           h="")


# -- one ------------------------------------------------------------------------------------------------------------


def _one(name: str) -> None:
    left, right = st.columns([6, 5], gap="medium")
    with left:
        _drawn("diagram", name, set())
    with right:
        _box(name)
        st.markdown("**The forward pass**")
        found = catalogue.equations(name)
        st.code("\n".join(found["equation"]), language=None, wrap_lines=False)
        _changes(name)
    with st.expander("As tables"):
        views.table("boxes", catalogue.boxes(name).drop(columns="id"), height=300,
                    on_select=lambda i: state.put(h="" if i is None else _short(catalogue.boxes(name)["id"][i])))
        views.table("equations", found, height=300)


def _changes(name: str) -> None:
    parent = catalogue.table().set_index("name").loc[name, "made from"]
    if not parent:
        return
    found = catalogue.beside(name, parent)
    changed = found[found["same"] == "≠"]
    st.markdown(f"**Against {parent}, what it was made from**")
    if not len(changed):
        st.caption("No equation differs; the title says what does.")
        return
    lines = [f"- {row.strip()}" for row in changed[f"{parent} "] if row]
    st.code("\n".join(lines + [f"+ {row.strip()}" for row in changed[name] if row]), language=None)


def _drawn(key: str, name: str, marks: set[str]) -> None:
    """The diagram with its exports."""
    found = catalogue.diagram(name)
    selected = next((box.id for _, box in found.boxes() if _short(box.id) == state.get("h")), None)
    with st.container(key=key):
        views.diagram(f"{key}-view", found, label=f"Block diagram of {name}", selected=selected, marks=marks,
                      on_select=lambda box: state.put(h=_short(box or "")),
                      notes={box.id: catalogue.meaning(box.sites[-1]) for _, box in found.boxes()})
    st.caption("Wires are measured on two random inputs, each value held but one; what these switch off has none.")
    exports.bar(f"{name}-{key}", catalogue.boxes(name), key,
                "from interp.architectures.catalog import entry\nfrom interp.architectures.diagram import of_entry\n"
                f"import interp.garden.catalog\n\nfor section, box in of_entry(entry({name!r})).boxes():\n"
                "    print(section.title, box.label, box.axes, box.reads, box.comes)\n")


def _short(box: str) -> str:
    """The id of a box as it stands in the address."""
    return box.replace(" ", "")


def _box(name: str) -> None:
    """The chosen box, in words."""
    frame = catalogue.boxes(name)
    found = frame[frame["id"].map(_short) == state.get("h")]
    if not len(found):
        st.caption("Click a box to read what it holds, what it is made of, and the names of its sites.")
        return
    row = found.iloc[0]
    with st.container(border=True):
        st.markdown(f"**{row['box']}** · {row['section']}")
        st.text(catalogue.meaning(row["sites"].split(", ")[-1]))
        made = ", ".join(part for part in (row["made of"], row["from elsewhere"]) if part)
        st.caption(f"axes {row['axes']}" + (f" · made of {made}" if made else ""))
        st.code(row["sites"], language=None, wrap_lines=True)


# -- two ------------------------------------------------------------------------------------------------------------


def _two(name: str, other: str) -> None:
    frame = catalogue.table().set_index("name")
    rows = ["family", "reads", "mixers", "stream", "parameters", "made from", "paper"]
    facts = pd.DataFrame({"": rows, name: [str(frame.loc[name, row]) for row in rows],
                          f"{other} ": [str(frame.loc[other, row]) for row in rows]})
    facts.insert(2, "same", ["=" if a == b else "≠" for a, b in zip(facts[name], facts[f"{other} "])])
    found = catalogue.beside(name, other)
    alike = int((found["same"] == "=").sum())
    st.caption(f"{alike} equations are alike, {len(found) - alike} rows differ. Marked boxes (≠) are not in the other "
               "one, or are made of something else there.")
    for column, one, two, key in zip(st.columns(2, gap="medium"), (name, other), (other, name), ("diagram", "beside")):
        with column:
            st.markdown(f"**{one}**")
            _drawn(key, one, catalogue.unlike(one, two))
    views.table("facts-beside", facts)
    views.table("equations-beside", found, height=36 * (len(found) + 1) + 4)
    exports.bar("equations-beside", found, None, "from interp.architectures.catalog import entry\n"
                "from interp.architectures.parents import aligned\nimport interp.garden.catalog\n\n"
                f"for alike, ours, theirs in aligned(entry({name!r}), entry({other!r})):\n"
                "    print('=' if alike else '≠', ours, theirs)\n")
