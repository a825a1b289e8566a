"""What is said when something is wrong, missing or to be known: a card with what, why and what to do.

`with cards.guarded("the grid of heads"): ...` turns every error inside into such a card, so that a page never breaks.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from interp.results.errors import (
    BadFile,
    InterpError,
    MissingSite,
    ModelMissing,
    RequiresPattern,
    RequiresResidualStream,
)

_WHY = {
    ModelMissing: ("This model is not here", "Choose another model in the sidebar, or bring this one as it says."),
    RequiresPattern: ("This model has no attention patterns", "Look at what it has instead: effects, or its mixing."),
    RequiresResidualStream: ("This model declares no single residual stream", "Choose another view or model."),
    MissingSite: ("This model does not have that activation", "Choose a node that it has; the grid shows them."),
    BadFile: ("That file cannot be read", "Choose another one, or make it anew with the command on the Runs page."),
}


def error(what: str, why: str, do: str = "", details: str = "") -> None:
    """The error card."""
    with st.container(border=True, key=None):
        st.markdown(f":material/error: **{literal(what)}**")
        st.text(why)
        if do:
            st.caption(f"What to do: {literal(do)}")
        if details:
            with st.expander("Details"):
                st.code(details, language=None)


def empty(what: str, do: str = "") -> None:
    """The card of a view with nothing in it: why, and what would fill it."""
    with st.container(border=True):
        st.markdown(f":material/info: {literal(what)}")
        if do:
            st.caption(literal(do))


def note(text: str) -> None:
    """A quiet line."""
    st.caption(f":material/info: {literal(text)}")


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Errors inside become a card; `what` says what was to be shown."""
    try:
        yield
    except InterpError as caught:
        title, do = next((said for kind, said in _WHY.items() if isinstance(caught, kind)),
                         (f"Cannot show {what}", "Change what is named here, in the sidebar or on this page."))
        error(title, str(caught), do)
    except MemoryError as caught:
        error(f"Out of memory while computing {what}", str(caught), "Use fewer prompts (n), or a smaller model.")
    except Exception as caught:  # noqa: BLE001 (a page must go on; streamlit's own control flow is no Exception)
        logging.getLogger("interp.dashboard").exception("while showing %s", what)
        error(f"Cannot show {what}", f"{type(caught).__name__}: {caught}",
              "This one was not foreseen: the terminal in which the dashboard runs has the whole trace.")


def literal(text: str) -> str:
    """Text that markdown shows as it is."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()<>#$~|:" else c for c in text)
