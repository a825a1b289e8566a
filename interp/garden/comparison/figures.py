"""Figures of a comparison of architectures."""

from typing import TYPE_CHECKING

import numpy as np

from interp.depth.figures import add_line, panels
from interp.garden.comparison.tasks import token_task
from interp.results import plots

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from interp.garden.comparison.result import Comparison

_BARS = {
    "Heads: looks behind earlier occurrences": ("prefix_matching", "share of attention"),
    "Circuit: share of what can be written": ("circuit_written", "share of dimensions"),
    "Circuit: share of the effect mass": ("circuit_mass", "share of |score|"),
}


def comparison_panels(found: "Comparison") -> "go.Figure":
    """Head scores, circuit shares, and by relative depth what blocks write and what leaving them out changes."""
    curves = {"written": "Written by each block, relative to the stream", "output": "Output without a block (L2)"}
    work = "State behind a whole context against work a token"
    figure = panels([*_BARS, work, *curves.values()], columns=3, height=250, title=f"{found.task}: side by side")
    styles = style(found)
    for panel, (column, unit) in enumerate(_BARS.values()):
        _points(figure, found, panel, column, unit)
    _work(figure, found, len(_BARS), styles)
    for panel, curve in enumerate(curves, len(_BARS) + 1):
        for name in found.architectures:
            rows = [row.measured.curves[curve] for row in found.of(name) if curve in row.measured.curves]
            if rows:
                values = np.array(rows)
                depth = (np.arange(values.shape[1]) + 0.5) / values.shape[1]
                add_line(figure, panel, depth, values.mean(0), name=name, style=styles[name], columns=3,
                         low=values.min(0), high=values.max(0))
        at = {"row": panel // 3 + 1, "col": panel % 3 + 1}
        figure.update_xaxes(title_text="share of the depth", range=[0, 1], **at)
        figure.update_yaxes(title_text="ratio" if curve == "written" else "L2 of probabilities", **at)
    return figure


def style(found: "Comparison") -> dict[str, tuple[str, str]]:
    """(colour, dash) of every architecture, all different while there are fewer than their products."""
    colours, dashes = plots.LINES, plots.DASHES
    return {name: (colours[i % len(colours)], dashes[i // len(colours) % len(dashes)])
            for i, name in enumerate(found.architectures)}


def _points(figure: "go.Figure", found: "Comparison", panel: int, column: str, unit: str) -> None:
    names = [name for name in found.architectures if found.estimate(name, column) is not None]
    estimates = [found.estimate(name, column) for name in names]
    spread = [[e.high - e.value if np.isfinite(e.high) else 0 for e in estimates],
              [e.value - e.low if np.isfinite(e.low) else 0 for e in estimates]]
    at = {"row": panel // 3 + 1, "col": panel % 3 + 1}
    figure.add_scatter(
        x=[e.value for e in estimates], y=names, mode="markers", showlegend=False,
        marker={"size": 8, "color": plots.BLUE},
        error_x={"type": "data", "array": spread[0], "arrayminus": spread[1], "color": plots.BLUE}, **at)
    figure.update_xaxes(title_text=unit, range=[-0.03, 1.03], **at)
    # the same rows in every panel, so that names are needed once
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=found.architectures, showgrid=True,
                        range=[len(found.architectures) - 0.5, -0.5], showticklabels=panel == 0, zeroline=False, **at)


def _work(figure: "go.Figure", found: "Comparison", panel: int, styles: dict[str, tuple[str, str]]) -> None:
    at = {"row": panel // 3 + 1, "col": panel % 3 + 1}
    for name in found.architectures:
        numbers = found.of(name)[0].measured.numbers
        if "state_end" in numbers and "products" in numbers:
            figure.add_scatter(
                x=[numbers["products"] + numbers["elementwise"]], y=[numbers["state_end"]], mode="markers",
                marker={"size": 9, "color": styles[name][0]}, name=plots.label_text(name), legendgroup=name,
                showlegend=False, text=[plots.label_text(name)], hoverinfo="text+x+y", **at)
    figure.update_xaxes(title_text=f"operations a token ({token_task(found.task).n_ctx} tokens)", type="log", **at)
    figure.update_yaxes(title_text="numbers carried", type="log", **at)


def rate_panels(found: "Comparison") -> "go.Figure":
    """Loss on the rows that choose against the learning rate, the chosen one marked."""
    figure = panels(["Loss by which rates were chosen"], columns=1, height=380, title=f"{found.task}: learning rates")
    for name, (colour, dash) in style(found).items():
        curve = {rate: loss for rate, loss in found.of(name)[0].curve.items() if np.isfinite(loss)}
        add_line(figure, 0, curve, list(curve.values()), name=name, style=(colour, dash), columns=1)
        best = found.of(name)[0].rate
        figure.add_scatter(x=[best], y=[curve[best]], mode="markers", showlegend=False, legendgroup=name,
                           marker={"size": 11, "color": colour, "symbol": "circle-open", "line": {"width": 2}},
                           hoverinfo="skip")
    figure.update_xaxes(title_text="learning rate", type="log")
    figure.update_yaxes(title_text="nats a target")
    return figure
