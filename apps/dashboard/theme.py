"""Colours and the little CSS there is. Blue raises, orange lowers; never red against green.

On the light background the strong colours are those of `interp.results.plots`; the dark one has lighter ones, whose
contrast is 5.3 and 6.4. Own views read them from CSS variables, plotly figures through `figure`.
"""

import streamlit as st

from interp.results import plots

LIGHT = {"up": plots.BLUE, "down": plots.ORANGE, "ink": "#1f2733", "ground": "#ffffff", "grid": "#e6e9ee",
         "line": "#5f6b7a"}
DARK = {"up": "#4393c3", "down": "#e08214", "ink": "#e6eaf0", "ground": "#12161c", "grid": "#2b333e",
        "line": "#9aa7b6"}

CSS = """
.block-container { padding-top: 3.2rem; padding-bottom: 3rem; max-width: 1500px; }
@media (min-width: 700px) { .block-container { padding-left: 2.5rem; padding-right: 2.5rem; } }
[data-testid="stSidebarHeader"] { height: 2.6rem; }
[data-testid="stMetricValue"] { font-size: 1.35rem; }
[data-testid="stCaptionContainer"] { color: var(--st-text-color); opacity: .82; }
"""


def css() -> str:
    """The rules for the theme that is shown. No blue is both readable on the dark page and dark enough for white."""
    return CSS + ('[data-testid="stBaseButton-primary"] { color: #10151b; }\n' if is_dark() else "")


def is_dark() -> bool:
    """Whether this session's browser shows the dark theme."""
    return getattr(st.context.theme, "type", "light") == "dark"


def colours() -> dict[str, str]:
    """The colours of the theme that is shown: up, down, ink, ground, grid, line."""
    return DARK if is_dark() else LIGHT


def figure(made):
    """A copy of a plotly figure of the library in the colours of the theme that is shown."""
    import plotly.graph_objects as go

    c = colours()
    shown = go.Figure(made)
    shown.update_layout(paper_bgcolor=c["ground"], plot_bgcolor=c["ground"], font_color=c["ink"], title_text="",
                        hoverlabel={"bgcolor": c["ground"], "font": {"color": c["ink"]}},
                        margin_t=min(shown.layout.margin.t or 56, 32))
    shown.update_xaxes(gridcolor=c["grid"], linecolor=c["line"], zerolinecolor=c["line"])
    shown.update_yaxes(gridcolor=c["grid"], linecolor=c["line"], zerolinecolor=c["line"])
    for note in shown.layout.annotations:
        if note.bgcolor in ("white", "#fff", "#ffffff"):  # boxes with words: the words are in the theme's ink
            note.bgcolor = c["ground"]
    if is_dark():
        swap = {plots.BLUE: DARK["up"], plots.ORANGE: DARK["down"], plots.GREY: DARK["line"], "#5e3c99": "#b39ddb",
                "#1b7f79": "#4fbdb5", "#8c6d1f": "#d0ad55", "#111827": "#e6eaf0", "#e9ecf0": "#2b333e"}
        shown = go.Figure(_swapped(shown.to_dict(), swap))
    return shown


def _swapped(value, swap: dict[str, str]):
    """The same plain structure with colours exchanged wherever they stand."""
    if isinstance(value, str):
        return swap.get(value, value)
    if isinstance(value, dict):
        return {key: _swapped(item, swap) for key, item in value.items()}
    return [_swapped(item, swap) for item in value] if isinstance(value, list | tuple) else value
