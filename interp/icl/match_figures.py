"""Figures and tables of a matching."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp.icl.match import HOME, Matching
from interp.results import plots
from interp.results.errors import BadInput, nearest
from interp.results.estimate import bootstrap_statistic

if TYPE_CHECKING:
    import plotly.graph_objects as go


def heatmaps(found: Matching, condition: str | None = None) -> "go.Figure":
    """SimE by depth and step, a panel a family; the step chosen in distribution is marked."""
    from plotly.subplots import make_subplots

    names = [HOME, *found.conditions]
    condition = condition or HOME
    if condition not in names:
        raise BadInput(f"there is no condition {condition!r}.{nearest(condition, names)} There are: {', '.join(names)}")
    row = names.index(condition)
    figure = make_subplots(1, len(found.mean), subplot_titles=list(found.mean), horizontal_spacing=0.045)
    for i, (family, table) in enumerate(found.mean.items(), 1):
        steps = found.families[family].steps
        figure.add_heatmap(z=table[row].T, zmin=0, zmax=1, colorscale=plots.SEQUENTIAL, row=1, col=i, xgap=1, ygap=1,
                           showscale=i == len(found.mean), colorbar={"thickness": 14, "outlinewidth": 0,
                                                                     "title": {"text": "SimE"}})
        figure.add_scatter(x=list(range(found.depths)), y=found.step[family].tolist(), mode="markers", row=1, col=i,
                           marker={"symbol": "square-open", "size": 11, "color": plots.ORANGE, "line": {"width": 2}},
                           showlegend=False, hoverinfo="skip")
        figure.update_yaxes(**plots.ticks([str(s) for s in steps], 12), row=1, col=i, showgrid=False)
    plots.styled(figure, title=f"{found.model}, {condition}: depths against iterates (squares: steps chosen "
                 f"{HOME})", x_title="depth")
    figure.update_yaxes(title_text="step", col=1)
    figure.update_xaxes(showgrid=False, dtick=1)
    return figure.update_layout(height=480, margin={"t": 90, "b": 76})


def curves(found: Matching) -> "go.Figure":
    """The error of every read-out by depth, a line a condition (k above d)."""
    table, figure = found.error_frame(), None
    for condition in dict.fromkeys(found.conditions):
        if condition.endswith("k > d"):
            part = table[table["condition"] == condition]
            figure = plots.curve_with_band(part["depth"], part["error"], part["low"], part["high"], figure=figure,
                                           name=condition.removesuffix(", k > d"), x_title="depth",
                                           y_title="squared error / that of 0",
                                           title=f"{found.model}: what each depth would answer, k > d")
    return figure.update_yaxes(type="log")


def rates_frame(found: Matching) -> pd.DataFrame:
    """One row a condition: by how much a depth divides the error, from the first active depth to the last, in nats a
    depth, with its interval over prompts."""
    active = [d.depth for d in found.verdict().depths if d.active]
    rows = []
    for i, condition in enumerate(found.conditions):
        if len(active) < 2:
            break
        table = found.errors[i][active]

        def rate(sample: np.ndarray, places=tuple(active)) -> float:
            logs = np.log(np.maximum(sample.mean(0), 1e-12))
            return float(-np.polyfit(places, logs, 1)[0])

        e = bootstrap_statistic(rate, [table.T], seed=found.seed, draws=300, unit="prompts")
        rows.append({"condition": condition, "rate": e.value, "low": e.low, "high": e.high})
    return pd.DataFrame(rows, columns=["condition", "rate", "low", "high"])
