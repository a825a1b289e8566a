"""Own views: small scripts that draw in the page from data, without a build step, frames or anything from outside.

Each is NAME.js after common.js. Text is only ever set as text, never as HTML, so a token cannot become markup.
`mount` keeps what is sent constant under clicks: the selection lives in the browser and comes back as state.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent
_NAMES = ("grid", "strip", "graph", "diagram", "source", "picture", "copy")


@cache
def _component(name: str) -> Callable[..., Any]:
    read = {path.name: path.read_text() for path in HERE.iterdir() if path.suffix in (".js", ".css")}
    return st.components.v2.component(f"interp.{name}", html='<div class="root"></div>', css=read["views.css"],
                                      js=read["common.js"] + read[f"{name}.js"])


def mount(name: str, *, key: str, data: dict[str, Any], selected: Any = None,
          on_select: Callable[[Any], None] | None = None, width: Any = "stretch", height: Any = "content") -> None:
    """Draw the view `name` of `_NAMES`. `selected` is what is marked; `on_select(value)` runs when that is changed by
    a click or a key, before the script runs again."""
    turn, mine = f"{key}.turn", f"{key}.mine"
    if selected != st.session_state.get(mine):  # changed elsewhere: by a link, a table, another view
        st.session_state[turn] = (st.session_state.get(turn, (0, None))[0] + 1, selected)
        st.session_state[mine] = selected
    count, shown = st.session_state.get(turn, (0, None))

    def changed() -> None:
        found = st.session_state.get(key)
        value = found.get("selected") if found is not None else None
        st.session_state[mine] = value
        if on_select is not None:
            on_select(value)

    _component(name)(key=key, data=data | {"selected": shown, "turn": count}, width=width, height=height,
                     on_selected_change=changed)


def forget_mounts() -> None:
    """After a change of page: what the browser remembered of its selections is gone with the elements."""
    for name in [name for name in st.session_state if isinstance(name, str) and name.endswith(".mine")]:
        del st.session_state[name]
