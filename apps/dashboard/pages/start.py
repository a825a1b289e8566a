"""Start: what this is, tasks to begin with, what was done last."""

import os
from dataclasses import dataclass

import streamlit as st

from apps.dashboard import access, cards, folders, pages, state


@dataclass(frozen=True)
class Card:
    """A task to begin with: a model, and the shipped run of its circuit where there is one."""

    title: str
    model: str
    task: str
    text: str
    example: str
    run: str = ""


CARDS = (
    Card("Repeat a pattern", "garden/induction-2l", "induction",
         "Two layers of attention continue a random sequence that began to repeat. One head marks each token with the "
         "one before it; the next layer looks for that mark.", "5 9 2 7 ... 5 9 2 → 7", "induction-2l-edges"),
    Card("Sort a list", "garden/sorting-1l", "sorting",
         "One layer reads numbers in any order and writes them sorted. Which head finds the next one?",
         "7 3 9 | 3 7 → 9", "sorting-1l"),
    Card("Close the bracket", "garden/dyck-2l", "dyck",
         "Brackets of two kinds, nested. Which kind closes now depends on the innermost one that is open.",
         "( [ ] ( → )", "dyck-2l-edges"),
    Card("Add mod 29", "garden/mod-add-29", "mod-add",
         "A sum modulo 29, learned from examples until it suddenly held for pairs never seen.", "17 20 = → 8",
         "mod-add-29-edges"),
    Card("Read a digit", "garden/digits-vit", "digits",
         "A small vision transformer tells handwritten digits apart, patch by patch.", "8 × 8 pixels → 3",
         "digits-vit"),
    Card("Who gets the drink?", "smollm2-135m", "ioi",
         "A real language model, 30 layers of 9 heads: the name that was said once is the one who receives.",
         "Mary and John ... John gave it to → Mary"),
    Card("Which atom is it?", "rxnmapper", "atom-mapping",
         "A chemical language model, one block applied twelve times: a hidden atom of the product, and the atom of the "
         "reactants that it came from.", "CC(=O)O . CN ≫ CC(=O)N[MASK]"),
)


def page() -> None:
    """Draw the page."""
    st.title("From a click to a tested claim")
    st.markdown(
        "Pick a task. You see which heads and MLPs of the model matter for it; **click the strongest**, **knock it "
        "out on prompts that were not used to pick it**, **find the whole circuit**, and **keep it as a link**. "
        "Everything runs on this machine.")
    there = access.names()
    shown = [card for card in CARDS if card.model in there]
    for first in range(0, len(shown), 3):  # a row at a time, so that cards beside each other are as high
        for column, card in zip(st.columns(3), shown[first : first + 3]):
            with column:
                _draw(card)
    absent = [card for card in CARDS if card.model not in there]
    for card in absent:
        cards.note(f"{card.title}: needs {card.model}, which is not on this machine; interp fetch {card.model}")
    _recent()
    with st.expander("What is this?"):
        st.markdown(
            "A model is a stack of parts that write into a common stream. *Which parts does a behaviour need, and what "
            "does each do?* A task asks for one behaviour with prompts in pairs, clean and corrupted, that differ only "
            "in what matters. Putting a part at its value on the corrupted prompt, and measuring the answer, tells "
            "what it does. A **circuit** is a small set of parts that suffices; how much of the behaviour it keeps is "
            "measured on prompts that were used neither to find it nor to choose its size.")
    with st.expander("This machine"):
        _machine()


def _draw(card: Card) -> None:
    with st.container(border=True, height="stretch"):
        st.markdown(f"#### {card.title}")
        st.markdown(card.text)
        st.code(card.example, language=None, wrap_lines=True)
        st.caption(f"{card.model} · {card.task}{_headline(card.run)}")
        clear = {"h": "", "row": 0, "p": "", "c": "", "pos": -1, "thr": 0, "run": ""}
        with st.container(horizontal=True):
            state.link("explore", "Explore", icon=":material/grid_on:", m=card.model, t=card.task, **clear)
            if card.run and (folders.SHIPPED / card.run / "result.json").is_file():
                state.link("circuit", "Its circuit", icon=":material/account_tree:", m=card.model, t=card.task,
                           **clear | {"run": card.run})


def _headline(run: str) -> str:
    """What the shipped run found, in a line; empty where there is none."""
    if not run or not (folders.SHIPPED / run / "result.json").is_file():
        return ""
    found = folders.open_run(run).info["summary"].get("faithfulness")
    if not found:
        return ""
    return f" · its circuit keeps {found['value']:.0%} of the behaviour on held-out prompts"


def _recent() -> None:
    frame = folders.listing()
    ours = frame[~frame["shipped"]] if len(frame) else frame
    if not len(ours):
        return
    st.subheader("Done last")
    for row in ours.head(4).itertuples():
        with st.container(horizontal=True, vertical_alignment="center"):
            to = "circuit" if (folders.root() / row.run / "circuit.json").is_file() else "runs"
            state.link(to, row.run, icon=":material/history:", run=row.run)
            st.caption(f"{row.status} · {row.started}")
    if pages.there("runs"):
        state.link("runs", "All runs", icon=":material/folder_open:")


def _machine() -> None:
    from interp.results.environment import versions

    said = ", ".join(f"{name} {number}" for name, number in versions().items())
    st.caption(f"{os.cpu_count()} cores · {said} · {access.memory()} · runs in {folders.root()}")
    for line in access.missing():
        st.caption(f"Not here: {line}")
