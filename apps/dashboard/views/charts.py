"""Plotly figures of the library, tables, and pictures."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from apps.dashboard import theme
from apps.dashboard.views import component
from interp.results.plots import FIGURE_CONFIG

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def chart(key: str, figure: Any, *, alt: str, height: int | None = None) -> None:
    """A figure of the library in the colours of the theme. `alt` says in words what it shows."""
    shown = theme.figure(figure)
    if height is not None:
        shown.update_layout(height=height)
    st.plotly_chart(shown, key=key, theme=None, config=FIGURE_CONFIG, alt=alt)


def table(key: str, frame: "pd.DataFrame", *, on_select: Callable[[int | None], None] | None = None,
          height: int | None = None, digits: int = 4) -> None:
    """A table with numbers of `digits` digits. With `on_select`, a click on a row gives its number."""
    import pandas as pd

    columns = {name: st.column_config.NumberColumn(str(name).replace("_", " "), format=f"%.{digits}g")
               if pd.api.types.is_float_dtype(frame[name]) else st.column_config.Column(str(name).replace("_", " "))
               for name in frame.columns}
    more: dict[str, Any] = {} if height is None else {"height": height}
    if on_select is None:
        st.dataframe(frame, key=key, hide_index=True, column_config=columns, **more)
        return

    def changed() -> None:
        rows = st.session_state[key].selection.rows
        on_select(rows[0] if rows else None)

    st.dataframe(frame, key=key, hide_index=True, column_config=columns, on_select=changed,
                 selection_mode="single-row", **more)


def copy_link(key: str) -> None:
    """A button that copies the address of what is shown."""
    component.mount("copy", key=key, data={}, height=40)


def image(pixels: "np.ndarray", *, caption: str = "", width: int = 200) -> None:
    """Pixels [row, column] or [row, column, 3] in 0..255, enlarged without smoothing."""
    import numpy as np

    times = max(1, width // pixels.shape[1])
    st.image(np.repeat(np.repeat(pixels, times, 0), times, 1), caption=caption or None, width=width)
