"""Figures of an evaluation."""

from typing import TYPE_CHECKING

import numpy as np

from interp.results import plots

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from interp.discovery.evaluate import Evaluation


def curve_figure(evaluation: "Evaluation") -> "go.Figure":
    """Held-out faithfulness against circuit size, the chosen size, and where random circuits of that size lie."""
    curve, k = evaluation.curve, len(evaluation.circuit.nodes)
    figure = plots.curve_with_band(
        curve["k"], curve["faithfulness"], curve["low"], curve["high"], name="nodes by score",
        title="Faithfulness on held-out prompts", x_title="nodes kept", y_title="faithfulness",
    )
    figure.add_hline(y=1.0, line={"color": plots.GREY, "width": 1, "dash": "dot"})
    figure.add_vline(x=k, line={"color": plots.GREY, "width": 1}, annotation_text=f"circuit: {k} nodes")
    if len(evaluation.random):
        low, middle, high = np.quantile(evaluation.random, [0.025, 0.5, 0.975])
        figure.add_scatter(
            x=[k], y=[middle], mode="markers", name=f"random, same size and depths (n={len(evaluation.random)})",
            marker={"color": plots.ORANGE, "size": 9, "symbol": "diamond"},
            error_y={"array": [high - middle], "arrayminus": [middle - low], "color": plots.ORANGE},
        )
    return figure
