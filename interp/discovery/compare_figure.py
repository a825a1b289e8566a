"""Figures of a comparison: where two circuits differ, and where in their models their scores lie."""

import numpy as np
import plotly.graph_objects as go

from interp.discovery.depth_mass import BINS, depth_mass
from interp.results import Circuit, Node, plots

_TITLES = {"hook_mlp_out": "MLP", "hook_attn_out": "attn", "hook_mixer_out": "mixer"}


def difference_figure(a: Circuit, b: Circuit, names: tuple[str, str]) -> go.Figure:
    """Score in A minus score in B: rows are depths, columns heads, then sites without heads; members outlined.

    Scores of one task in one unit are subtracted as they are, others as shares of their circuit's total |score|. Where
    several positions share a cell, that of the largest difference is shown. Empty where a side has no score.
    """
    scale, unit = _scales(a, b)
    differences = {
        node: a.scores[node] / scale[0] - b.scores[node] / scale[1] for node in a.scores if node in b.scores
    }
    nodes = {**a.scores, **b.scores}
    rows = sorted({_row(node) for node in nodes}, key=_row_order)
    columns = sorted({_column(node) for node in nodes}, key=_column_order)
    y, x = ({place: i for i, place in enumerate(places)} for places in (rows, columns))
    grid = np.full((len(rows), len(columns)), np.nan)
    for node, value in sorted(differences.items(), key=lambda item: abs(item[1])):
        grid[y[_row(node)], x[_column(node)]] = value
    figure = plots.heatmap(
        grid, [_column_title(column) for column in columns], [_row_title(row) for row in rows], unit=unit,
        title=f"{names[0]} ({_name(a, b)}) minus {names[1]} ({_name(b, a)})", x_title="head, then other sites",
        y_title="depth",
    )
    figure.update_traces(colorbar_title_side="right", selector={"type": "heatmap"})
    members = [{(x[_column(node)], y[_row(node)]) for node in c.nodes} for c in (a, b)]
    for places, name, colour, dash in (
        (members[0] & members[1], "in both", "#111827", "solid"),
        (members[0] - members[1], f"in {names[0]} only", plots.LINES[2], "solid"),
        (members[1] - members[0], f"in {names[1]} only", plots.LINES[3], "dot"),
    ):
        figure.add_trace(_outline(sorted(places), f"{name} ({len(places)})", colour, dash))
    return _with_legend(figure, 190 + max(22, min(44, 660 // len(rows))) * len(rows))


def profile_figure(a: Circuit, b: Circuit, names: tuple[str, str]) -> go.Figure:
    """Share of each circuit's |score| by relative depth, a curve for each kind of node and circuit."""
    figure = go.Figure()
    places = (np.arange(BINS) + 0.5) / BINS
    profiles = [depth_mass(c) for c in (a, b)]
    kinds = list(dict.fromkeys([*profiles[0], *profiles[1]]))
    for circuit, profile, name, dash, symbol in zip(
        (a, b), profiles, names, ("solid", "dash"), ("circle", "square-open")
    ):
        for kind, row in profile.items():
            colour = plots.LINES[kinds.index(kind) % len(plots.LINES)]
            figure.add_scatter(
                x=places, y=row, mode="lines+markers", name=plots.label_text(f"{name} ({circuit.model}): {kind}"),
                line={"color": colour, "dash": dash, "width": 2, "shape": "hvh"}, marker={"symbol": symbol, "size": 7},
            )
    plots.styled(
        figure, title=f"Where the scores of {names[0]} and {names[1]} lie",
        x_title="relative depth (0: first block, 1: last)", y_title=f"share of |score| in each of {BINS} parts",
    )
    figure.update_xaxes(range=[0, 1])
    figure.update_yaxes(rangemode="tozero")
    return _with_legend(figure, 460)


def _scales(a: Circuit, b: Circuit) -> tuple[tuple[float, float], str]:
    units = [c.provenance.get("unit") for c in (a, b)]
    if a.task == b.task and units[0] and units[0] == units[1]:
        return (1.0, 1.0), str(units[0])
    return tuple(sum(map(abs, c.scores.values())) or 1.0 for c in (a, b)), "share of the total |score|"


def _name(circuit: Circuit, other: Circuit) -> str:
    """What tells it from the other: of model, task, method and seed those that differ."""
    words = [mine for mine, its in zip(_words(circuit), _words(other)) if mine != its]
    return ", ".join(words) or circuit.method


def _words(circuit: Circuit) -> tuple[str, ...]:
    return circuit.model, circuit.task, circuit.method, f"seed {circuit.provenance.get('seed')}"


def _row(node: Node) -> tuple[str, int]:
    return (node.site, -1) if node.depth is None else (node.stack, node.depth)


def _row_order(row: tuple[str, int]) -> tuple:
    """Embeddings, the encoder, other stacks, then what comes after the blocks."""
    name, depth = row
    return (0 if "embed" in name else 2, name) if depth < 0 else (1, "encoder" not in name, name, depth)


def _row_title(row: tuple[str, int]) -> str:
    return row[0].replace("hook_", "") if row[1] < 0 else f"{row[0]} {row[1]}".strip()


def _column(node: Node) -> tuple[str, int]:
    if node.depth is None:
        return ("model", -1)
    return (node.kind, -1) if node.head is None else (node.kind.partition(".hook_")[0], node.head)


def _column_order(column: tuple[str, int]) -> tuple:
    name, head = column
    return (head < 0, name == "model", name not in ("attn", "hook_mlp_out"), name, head)


def _column_title(column: tuple[str, int]) -> str:
    name, head = column
    if head < 0:
        return _TITLES.get(name, name.replace("hook_", ""))
    return str(head) if name == "attn" else f"{name} {head}"


def _outline(places: list[tuple[int, int]], name: str, colour: str, dash: str) -> go.Scatter:
    """Squares just inside the cells, so that those of neighbours stay apart."""
    r = 0.45
    across = [value for x, _ in places for value in (x - r, x + r, x + r, x - r, x - r, None)]
    down = [value for _, y in places for value in (y - r, y - r, y + r, y + r, y - r, None)]
    line = {"color": colour, "width": 2.5, "dash": dash}
    return go.Scatter(x=across, y=down, mode="lines", line=line, hoverinfo="skip", name=plots.label_text(name),
                      showlegend=True)


def _with_legend(figure: go.Figure, height: int) -> go.Figure:
    """The legend in a line below the title."""
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1 - 48 / height, "yref": "container",
              "yanchor": "top"}
    return figure.update_layout(height=height, margin={"t": 100}, legend=legend,
                                title={"y": 1 - 30 / height, "yanchor": "middle"})
