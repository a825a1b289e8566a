"""Figures of depth, for 2 layers and for 80: points where there are few, lines where there are many."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.depth.collect import BLOCK, STREAM
from interp.results import plots

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from interp.depth.profiles import Profile


def panels(titles: Sequence[str], columns: int = 2, title: str = "", height: int = 260) -> "go.Figure":
    """An empty grid of panels with these titles, legend below, in the house look."""
    from plotly.subplots import make_subplots

    rows = -(-len(titles) // columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=[plots.label_text(t) for t in titles],
                           horizontal_spacing=0.3 / (columns + 1), vertical_spacing=0.28 / rows if rows > 1 else 0)
    plots.styled(figure, title=title)
    figure.update_annotations(font_size=12)
    below = 70
    total = 80 + (height + 40) * rows + below
    return figure.update_layout(
        height=total, margin={"t": 80, "b": 60 + below, "l": 60, "r": 16}, font_size=12,
        legend={"orientation": "h", "yref": "container", "y": 0.0, "yanchor": "bottom", "x": 0, "xref": "container"},
    )


def add_line(figure: "go.Figure", panel: int, x: Any, y: Any, *, name: str, style: tuple[str, str], columns: int = 2,
             low: Any = None, high: Any = None) -> None:
    """One curve with its band in a panel, counted from 0 row by row. `style` is (colour, dash); a name that is in the
    legend already is not put there again."""
    at = {"row": panel // columns + 1, "col": panel % columns + 1}
    colour, dash = style
    x, y = list(x), np.asarray(y, dtype=float)
    if low is not None and np.isfinite(low).all() and np.isfinite(high).all():
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        band = {"x": [*x, *x[::-1]], "y": np.concatenate([high, np.asarray(low)[::-1]]), "fill": "toself"}
        figure.add_scatter(**band, mode="none", fillcolor=f"rgba({red},{green},{blue},0.15)", hoverinfo="skip",
                           showlegend=False, legendgroup=name, **at)
    known = any(trace.legendgroup == name and trace.showlegend for trace in figure.data)
    figure.add_scatter(x=x, y=y, name=plots.label_text(name), legendgroup=name, showlegend=not known,
                       mode="lines+markers" if len(x) <= 40 else "lines",
                       line={"color": colour, "dash": dash, "width": 2}, marker={"size": 5}, **at)


def axes(figure: "go.Figure", panel: int, x_title: str, y_title: str, columns: int = 2, **y_axis: Any) -> None:
    """Titles of one panel's axes; whole numbers on the depth axis."""
    at = {"row": panel // columns + 1, "col": panel % columns + 1}
    figure.update_xaxes(title_text=x_title, tickformat="d", **at)
    figure.update_yaxes(title_text=y_title, **y_axis, **at)


def profile_figure(profile: "Profile", masked: bool = False) -> "go.Figure":
    """Norms, relative contributions, cosines and the lens of a profile by depth, side by side."""
    lens = profile.lens
    titles = ["Length of stream and writes", "Written, relative to the stream", "Direction of what is written",
              *(["Distance to the answer"] if lens else [])]
    title = f"{profile.model}: depth profile" + (", massive tokens left out" if masked else "")
    figure = panels(titles, title=title)
    kinds = profile.parts[2:] if len(profile.parts) > 3 else [BLOCK]
    depths = np.arange(profile.n_layers)
    for reduce, dash in (("mean", "solid"), ("median", "dot")):
        stream = profile.curve(STREAM, "norm", reduce, masked=masked)
        add_line(figure, 0, range(len(stream)), stream, name=f"stream, {reduce}", style=(plots.GREY, dash))
    for kind, colour, dash in zip(kinds, plots.LINES, plots.DASHES):
        style = (colour, dash)
        add_line(figure, 0, depths + 0.5, profile.curve(kind, "norm", masked=masked), name=kind, style=style)
        for panel, measure in ((1, "relative"), (2, "cosine")):
            found = profile.estimates(kind, measure, masked=masked)
            low, high = ([np.nan if e is None else getattr(e, side) for e in found] for side in ("low", "high"))
            add_line(figure, panel, depths, profile.curve(kind, measure, masked=masked), name=kind, style=style,
                     low=low, high=high)
        add_line(figure, 2, depths, profile.curve(kind, "cosine_centred", masked=masked), name=f"{kind}, centred",
                 style=(colour, "dot"))
    axes(figure, 0, "blocks passed", "norm", type="log")
    axes(figure, 1, "block", "mean of ratios", type="log")  # a first block can write ten times its stream
    axes(figure, 2, "block", "cosine", zeroline=True)
    if lens:
        for colour, dash, one in zip((plots.LINES[2], plots.LINES[3]), ("solid", "dash"), (lens, profile.tuned)):
            if one is not None:
                frame = one.frame()
                add_line(figure, 3, frame["depth"], frame[one.main], name=one.kind, style=(colour, dash),
                         low=frame["low"], high=frame["high"])
        axes(figure, 3, "blocks passed", "KL to the answer (nats)" if lens.main == "kl" else "relative distance",
             rangemode="tozero")
    return figure


def matrix_figure(
    values: np.ndarray, *, title: str, x_title: str, y_title: str, unit: str, largest: float | None = None,
    x: Sequence[Any] | None = None, y: Sequence[Any] | None = None, diverging: bool = False,
) -> "go.Figure":
    """A heatmap of depth against depth (or token), square cells where they are few."""
    figure = plots.heatmap(values, x, y, diverging=diverging, largest=largest, unit=unit, title=title, x_title=x_title,
                           y_title=y_title)
    rows, columns = values.shape
    figure.update_layout(height=int(np.clip(170 + 16 * rows, 300, 760)))
    if max(rows, columns) > 40:
        figure.update_traces(xgap=0, ygap=0)
    return figure
