"""Values of an image model's positions, drawn as the square of patches that they are, beside the image."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from apps.dashboard import cards, views
from apps.dashboard.results import Shown


def show(shown: Shown, values: np.ndarray, *, what: str, unit: str, diverging: bool, selected: int | None,
         on_select: Callable[[int | None], None]) -> None:
    """Draw `values` [position] patch by patch with what they are; a click gives the position. Nothing for a model that
    sees no image, a note where positions are no patches."""
    if shown.pixels is None:
        return
    special, side = shown.patches
    if side is None or len(values) != special + side * side:
        cards.note("This model answers once, whatever it has read: there is one position, its answer."
                   if len(values) == 1 else "The positions of this model are no square of patches.")
        return
    left, right = st.columns([1, 2])
    with left:
        views.image(shown.pixels, caption="the image")
    with right:
        st.caption(what)
        with st.container(key="patch-square", width=340):
            views.grid("patch-values", values[special:].reshape(side, side), rows=range(side), columns=range(side),
                       unit=unit, diverging=diverging, square=True, label=what, behind=shown.pixels,
                       selected=divmod(selected - special, side) if selected is not None and selected >= special
                       else None,
                       on_select=lambda cell: on_select(special + cell[0] * side + cell[1] if cell else None))
