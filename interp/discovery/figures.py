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
    for control, colour, symbol in zip(evaluation.controls, (plots.ORANGE, plots.GREY), ("diamond", "square")):
        if len(control.faithfulness):
            low, middle, high = np.quantile(control.faithfulness, [0.025, 0.5, 0.975])
            figure.add_scatter(
                x=[k], y=[middle], mode="markers", name=f"random, {control.kind} (n={len(control.faithfulness)})",
                marker={"color": colour, "size": 9, "symbol": symbol},
                error_y={"array": [high - middle], "arrayminus": [middle - low], "color": colour},
            )
    return figure
