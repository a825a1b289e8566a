"""What stands around every page: the model and the task in the sidebar, notices, and the guard against errors."""

import hmac
import os
from collections.abc import Callable

import streamlit as st

from apps.dashboard import access, cards, state, theme
from apps.dashboard.pages import Page
from apps.dashboard.views import component

PASSWORD = "INTERP_DASHBOARD_PASSWORD"
"""The environment variable that `interp dashboard --password` sets for the server."""
_DROPPED = ("row", "p", "c", "h", "e", "pos", "lay", "thr", "cut", "run")
"""Keys that mean something else, or nothing, for another model or task."""


def around(page: Page) -> Callable[[], None]:
    """The function that draws a page with its frame."""

    def draw() -> None:
        st.html(f"<style>{theme.css()}</style>")
        if st.session_state.get("page") != page.name:
            st.session_state["page"] = page.name
            component.forget_mounts()
        state.begin()
        sidebar()
        for text in state.notices():
            cards.note(text)
        if refused := state.refused():
            cards.error("That was not taken", refused, "The former value is used; type another one.")
        with cards.guarded(f"the page {page.title}"):
            page.draw()

    draw.__name__ = page.name
    return draw


def sidebar() -> None:
    """Model, task, number of prompts and seed, which every page shares."""
    with st.sidebar:
        names = access.names()
        chosen = state.get("m")
        if chosen not in names:
            names = [chosen, *names]  # a folder, a Hugging Face id, or a mistake: its page says which
        before = state.get("m")
        state.choose("m", "Model", names, drop=("t", *_DROPPED), accept_new_options=True,
                     help="One that ships, a real one that was fetched, or type a folder or a Hugging Face id.")
        with cards.guarded("this model"):
            fit = access.tasks(before)
            if state.get("t") not in fit and "t" not in st.query_params:
                state.put(t=fit[0])
            asked = state.get("t")
            state.choose("t", "Task", fit if asked in fit else [asked, *fit], drop=_DROPPED, accept_new_options=True,
                         help="What the model is asked: prompts, their counterfactuals and a metric. Options may "
                              "follow a colon: ioi:counterfactual=swap.")
        with st.expander("Prompts"):
            state.field("n", "How many", widget=st.number_input, min_value=6, max_value=512, step=6,
                        help="A half is used to find, a quarter to choose the size, a quarter to test.")
            state.field("seed", "Seed", widget=st.number_input, min_value=0, max_value=10**6, step=1)


def admitted() -> bool:
    """Whether this session may see pages: always, unless a password was set and has not been typed yet."""
    wanted = os.environ.get(PASSWORD)
    if not wanted or st.session_state.get("admitted"):
        return True
    typed = st.text_input("Password", type="password", key="password")
    if typed and hmac.compare_digest(typed.encode(), wanted.encode()):
        st.session_state["admitted"] = True
        st.rerun()
    elif typed:
        cards.error("That is not the password", "Pages are shown to those who know it.",
                    "It is what the dashboard was started with: interp dashboard --password.")
    return False
