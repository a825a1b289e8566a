"""Small plotly helpers: one look for every figure, colours that do not rest on red against green."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from interp.results.errors import BadInput
from interp.results.estimate import Estimate
from interp.results.rows import numbers

BLUE = "#2166ac"
"""Raises the behaviour. On white its contrast is 5.9, the orange's 4.9."""
ORANGE = "#b35806"
"""Lowers the behaviour."""
GREY = "#5f6b7a"
LINES = (BLUE, ORANGE, "#5e3c99", "#1b7f79", "#8c6d1f", GREY)
"""Colours of several curves, told apart also by their dashes."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
DIVERGING = [[0.0, ORANGE], [0.25, "#fdb863"], [0.5, "#ffffff"], [0.75, "#92c5de"], [1.0, BLUE]]
"""Orange below zero, white at zero, blue above."""
SEQUENTIAL = [[0.0, "#f7fbff"], [0.35, "#9ecae1"], [0.7, "#2171b5"], [1.0, "#08306b"]]
FIGURE_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "toImageButtonOptions": {"format": "svg"},
}
"""Give this as `config` wherever a figure is shown: by default plotly 7 has a button that uploads data."""
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_AXIS = {
    "gridcolor": "#e6e9ee",
    "linecolor": "#9aa3af",
    "zerolinecolor": "#9aa3af",
    "ticks": "outside",
    "automargin": True,
}


def label_text(text: Any) -> str:
    """Text from data as plotly shows it literally: it reads tags in labels, so a token <bos> would vanish."""
    return html.escape(str(text), quote=False)


def styled(figure: go.Figure, *, title: str = "", x_title: str = "", y_title: str = "") -> go.Figure:
    """The same figure in the light house look. Nothing global changes. Titles are shown literally."""
    figure.update_layout(
        template="none",
        title={
            "text": label_text(title),
            "x": 0,
            "xref": "container",
            "pad": {"l": 12},
            "font": {"size": 16},
        },
        font={"family": _FONT, "size": 13, "color": "#1f2733"},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        margin={"l": 64, "r": 24, "t": 56 if title else 24, "b": 56 if x_title else 36},
        hoverlabel={"bgcolor": "#ffffff", "font": {"color": "#1f2733"}},
        colorway=list(LINES),
    )
    figure.update_xaxes(**_AXIS, title_text=label_text(x_title))
    figure.update_yaxes(**_AXIS, title_text=label_text(y_title))
    return figure


def curve_with_band(
    x: Any,
    y: Any,
    low: Any = None,
    high: Any = None,
    *,
    name: str = "",
    title: str = "",
    x_title: str = "",
    y_title: str = "",
    figure: go.Figure | None = None,
) -> go.Figure:
    """A curve with the band from low to high, or one more curve in `figure`.

    All [point]; without low and high no band.

    Returns the figure. Raises: BadInput when the lengths differ.
    """
    y = numbers(y)
    x = list(x)
    band = () if low is None or high is None else (numbers(low), numbers(high))
    if any(len(row) != len(x) for row in (y, *band)):
        raise BadInput(f"a curve of {len(x)} x has {[len(row) for row in (y, *band)]} y, low and high")
    new = figure is None
    figure = go.Figure() if figure is None else figure
    i = sum(trace.mode is not None and "markers" in trace.mode for trace in figure.data)
    colour, group = LINES[i % len(LINES)], f"curve {i}"
    if band:
        edges = {"x": [*x, *x[::-1]], "y": np.concatenate([band[1], band[0][::-1]])}
        fill = {"fill": "toself", "fillcolor": _faint(colour), "mode": "none"}
        figure.add_scatter(**edges, **fill, hoverinfo="skip", showlegend=False, legendgroup=group)
    line = {"color": colour, "dash": DASHES[i % len(DASHES)], "width": 2}
    figure.add_scatter(
        x=x,
        y=y,
        name=label_text(name),
        mode="lines+markers",
        line=line,
        marker={"size": 5},
        legendgroup=group,
    )
    figure.update_layout(showlegend=i > 0)
    return styled(figure, title=title, x_title=x_title, y_title=y_title) if new else figure


def heatmap(
    values: Any,
    x: Sequence[Any] | None = None,
    y: Sequence[Any] | None = None,
    *,
    diverging: bool = True,
    largest: float | None = None,
    unit: str = "",
    title: str = "",
    x_title: str = "",
    y_title: str = "",
) -> go.Figure:
    """A grid of values [row, column], first row on top, with the labels of columns x and rows y.

    NaN stays empty.

    Diverging: from -largest to +largest with white at exactly 0; else from 0 (or the least value) up.
    `largest` defaults to the largest |value|; give it to make two figures comparable. Raises: BadInput for
    wrong lengths.
    """
    table = numbers(values)
    x = range(table.shape[-1]) if x is None else x
    y = range(len(table)) if y is None else y
    if table.ndim != 2 or table.shape != (len(y), len(x)):
        raise BadInput(f"a heatmap of {list(table.shape)} values has {len(y)} row and {len(x)} column labels")
    top = largest or max_size(table)
    scale = {"colorscale": DIVERGING, "zmin": -top, "zmax": top}
    if not diverging:
        scale = {
            "colorscale": SEQUENTIAL,
            "zmin": min(0.0, float(np.nanmin(table, initial=0.0))),
            "zmax": top,
        }
    figure = go.Figure(
        go.Heatmap(
            z=table,
            **scale,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            customdata=[[[label_text(row), label_text(column)] for column in x] for row in y],
            hovertemplate="%{customdata[0]}, %{customdata[1]}<br>%{z:.4g} "
            + label_text(unit)
            + "<extra></extra>",
            colorbar={"title": {"text": label_text(unit)}, "thickness": 14, "outlinewidth": 0},
        )
    )
    styled(figure, title=title, x_title=x_title, y_title=y_title)
    # Places are numbers and labels only their text: two equal tokens are then two columns, not one.
    figure.update_xaxes(**ticks([label_text(label) for label in x]), showgrid=False, zeroline=False)
    figure.update_yaxes(
        **ticks([label_text(label) for label in y]), showgrid=False, zeroline=False, autorange="reversed"
    )
    return figure


def forest(estimates: Mapping[str, Estimate], *, title: str = "", x_title: str = "") -> go.Figure:
    """Named estimates as points with their intervals, first on top, and a line at 0."""
    names, values = list(estimates), list(estimates.values())
    finite = [np.isfinite(e.high - e.low) for e in values]
    error = {
        "type": "data",
        "symmetric": False,
        "array": [e.high - e.value if ok else 0 for e, ok in zip(values, finite, strict=True)],
        "arrayminus": [e.value - e.low if ok else 0 for e, ok in zip(values, finite, strict=True)],
        "color": BLUE,
        "thickness": 2,
    }
    figure = go.Figure()
    figure.add_scatter(
        x=[e.value for e in values],
        y=list(range(len(names))),
        error_x=error,
        mode="markers",
        marker={"size": 9, "color": BLUE},
        text=[f"{label_text(name)}<br>{label_text(e)}" for name, e in estimates.items()],
        hoverinfo="text",
        showlegend=False,
    )
    figure.add_vline(x=0, line={"color": "#9aa3af", "width": 1})
    styled(figure, title=title, x_title=x_title)
    figure.update_yaxes(
        **ticks([label_text(name) for name in names]), range=[len(names) - 0.5, -0.5], zeroline=False
    )
    figure.update_layout(height=130 + 34 * len(names))
    return figure


def max_size(values: np.ndarray) -> float:
    """Largest finite |value|, or 1 where all are 0 or absent: half the range of a diverging scale."""
    known = np.abs(values[np.isfinite(values)])
    return float(known.max()) if known.size and known.max() > 0 else 1.0


def ticks(labels: Sequence[str], most: int = 64) -> dict[str, Any]:
    """Axis settings that put labels at 0, 1, ...; every second, third ...

    one where there are more than `most`.
    """
    step = -(-len(labels) // most) if labels else 1
    places = list(range(0, len(labels), step))
    return {"tickmode": "array", "tickvals": places, "ticktext": [labels[i] for i in places]}


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
