"""The catalog of architectures as tables, equations and diagrams.

`python -m apps.dashboard.catalogue` writes the table that ships: mixers and sizes are read off every model once, which
takes ten seconds and transformers, and the page opens on them at once.
"""

from pathlib import Path

import pandas as pd
import streamlit as st

TABLE = Path(__file__).parent / "cached" / "catalog.csv"


def rows() -> pd.DataFrame:
    """One row an entry, read off its model."""
    from interp.architectures.parents import parent_of
    from interp.architectures.traits import traits
    from interp.garden.catalog import catalog

    found = []
    for entry in catalog():
        own = traits(entry)
        found.append({"name": entry.name, "what": entry.title, "family": entry.family, "reads": entry.kind,
                      "mixers": ", ".join(own.patterns), "stream": "yes" if own.stream else "no",
                      "parameters": own.parameters, "made from": parent_of(entry.name) or "",
                      "paper": entry.citation})
    return pd.DataFrame(found)


@st.cache_data(show_spinner=False)
def table() -> pd.DataFrame:
    """The same as it ships."""
    return pd.read_csv(TABLE, keep_default_na=False)


def chosen(search: str, family: str, reads: str, mixers: str) -> pd.DataFrame:
    """The rows in which every word of `search` occurs, of a family, a modality and a kind of mixer ("": any)."""
    frame = table()
    keep = pd.Series(True, frame.index)
    text = frame.astype(str).agg(" ".join, axis=1).str.lower()
    for word in search.lower().split():
        keep &= text.str.contains(word, regex=False)
    for column, value in (("family", family), ("reads", reads)):
        if value:
            keep &= frame[column] == value
    if mixers:
        keep &= frame["mixers"].str.split(", ").map(lambda kinds: mixers in kinds)
    return frame[keep].reset_index(drop=True)


@st.cache_data(max_entries=80, show_spinner="Running it once, to see its wires ...")
def diagram(name: str):
    """The `interp.architectures.diagram.Diagram` of an entry. Raises BadInput for a name that is not there."""
    from interp.architectures.catalog import entry
    from interp.architectures.diagram import of_entry

    _all()
    return of_entry(entry(name))


@st.cache_data(max_entries=80, show_spinner=False)
def equations(name: str) -> pd.DataFrame:
    """The forward pass: columns equation and sites."""
    from interp.architectures.catalog import build, entry

    _all()
    return pd.DataFrame(entry(name).equations(build(name, seed=0)), columns=["equation", "sites"])


@st.cache_data(max_entries=80, show_spinner=False)
def sizes(name: str) -> str:
    """The default sizes, as `interp.build` takes them."""
    from interp.architectures.catalog import entry

    _all()
    return ", ".join(f"{size}={value}" for size, value in entry(name).sizes.items() if value is not None)


@st.cache_data(max_entries=80, show_spinner=False)
def beside(one: str, two: str) -> pd.DataFrame:
    """The equations of two entries beside each other: columns `one`, `same` ("" where they differ) and `two`."""
    from interp.architectures.catalog import entry
    from interp.architectures.parents import aligned

    _all()
    found = []
    for alike, ours, theirs in aligned(entry(one), entry(two)):
        for i in range(max(len(ours), len(theirs))):
            found.append({one: ours[i] if i < len(ours) else "", "same": "=" if alike else "≠",
                          f"{two} ": theirs[i] if i < len(theirs) else ""})
    return pd.DataFrame(found)


@st.cache_data(max_entries=80, show_spinner=False)
def unlike(one: str, two: str) -> set[str]:
    """Boxes of the diagram of `one` that the other has not, or makes of something else."""
    from interp.architectures.diagram import unlike as found

    return found(diagram(one), diagram(two))


def boxes(name: str) -> pd.DataFrame:
    """The boxes of a diagram as a table: what the drawing says, in words."""
    called = {box.id: box.label for _, box in diagram(name).boxes()}
    return pd.DataFrame([{
        "section": section.title or "outside", "box": box.label, "axes": " × ".join(box.axes), "role": box.role,
        "made of": ", ".join(called[read] for read in box.reads),
        "from elsewhere": ", ".join(called[read] for read in box.comes), "sites": ", ".join(box.sites),
        "id": box.id} for section, box in diagram(name).boxes()])


def meaning(site: str) -> str:
    """What a site holds, in the words of the vocabulary; "" for a name that it does not have."""
    from interp.hooks.site import split_name
    from interp.hooks.vocabulary import KINDS

    kind = KINDS.get(split_name(site)[2])
    return kind.meaning if kind else ""


def _all() -> None:
    """Every entry is registered once the garden's catalog is imported."""
    import interp.garden.catalog  # noqa: F401


if __name__ == "__main__":
    rows().to_csv(TABLE, index=False)
