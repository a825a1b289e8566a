"""What every figure can be taken away as: PNG, SVG, CSV, JSON, and a script that makes it again.

    exports.bar("heads-effect", frame, figure_key, code)

PNG and SVG are made in the browser from what is drawn in the container `st.container(key=figure_key)`; the others here.
"""

import json
from typing import TYPE_CHECKING, Any

import streamlit as st

from apps.dashboard import folders, state
from apps.dashboard.views import component

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "interp.view/1"


def bar(view: str, frame: "pd.DataFrame", figure: str | None, code: str) -> None:
    """A menu of the five downloads. `view` names the files and must be unique on the page; `figure` is the key of the
    container that holds what is drawn (None for a table); `code` reproduces `frame` through the library."""
    name = file_name(view)
    with st.container(horizontal=True, gap="small", key=f"exports-{view}"):
        if figure is not None:
            component.mount("picture", key=f"picture-{view}", data={"target": figure, "name": name}, height=34,
                            width=150)
        with st.popover("Data and script", icon=":material/download:", type="tertiary"):
            same: dict[str, Any] = {"on_click": "ignore", "width": "stretch"}
            st.download_button("CSV", frame.to_csv(index=False), f"{name}.csv", "text/csv", key=f"csv-{view}", **same)
            st.download_button("JSON", as_json(view, frame), f"{name}.json", "application/json", key=f"json-{view}",
                               **same)
            st.download_button("Script", script(code), f"{name}.py", "text/x-python", key=f"script-{view}", **same)
            st.code(code.strip(), language="python")


def as_json(view: str, frame: "pd.DataFrame") -> str:
    """One JSON object: schema, view, state, unit, and the rows with their columns named; what is absent is null."""
    from interp.commands.shared import records
    from interp.results.plain import to_plain

    facts = {"schema": SCHEMA, "view": view, "state": state.query(), "unit": str(frame.attrs.get("unit", "")),
             "rows": _finite(records(frame))}
    return json.dumps(to_plain(facts, "view"), indent=1, ensure_ascii=False, allow_nan=False)


def script(code: str) -> str:
    """The code as a jupytext script in the percent format."""
    return f"# %% [markdown]\n# Made by `interp dashboard`; the view: {_address()}\n\n# %%\n{code.strip()}\n"


def file_name(view: str) -> str:
    """model-view-selection, from letters that every file system takes."""
    words = [state.get("m"), state.get("t"), view, state.get("h")]
    return "-".join("".join(c if c.isalnum() or c in "._" else "-" for c in w).strip("-") for w in words if w)[:120]


def preamble() -> str:
    """The first lines of most scripts: the model and the task as they are in the URL."""
    return (f"import interp\n\nmodel = interp.load({state.get('m')!r})\n"
            f"task = interp.task({state.get('t')!r}, model=model, n={state.get('n')}, seed={state.get('seed')})\n")


def of_run(run: str) -> str:
    """The first lines of a script that reads a run folder."""
    return f"import interp\n\nrun = interp.Run.open({str(folders.find(run))!r})\n"


def _address() -> str:
    from urllib.parse import urlencode

    return "?" + urlencode(state.query())


def _finite(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """NaN and infinity as None, which is what JSON has for them."""
    return [{key: None if isinstance(value, float) and value - value != 0 else value for key, value in row.items()}
            for row in rows]
