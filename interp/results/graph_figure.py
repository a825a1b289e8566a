"""The figure of a circuit of edges: nodes by depth, edges coloured by what they are read as."""

from typing import TYPE_CHECKING

from interp.results import plots
from interp.results.node import Edge, Node

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from interp.results.circuit import Circuit

ROLE_COLOURS = {"q": plots.LINES[0], "k": plots.LINES[1], "v": plots.LINES[2], "in": plots.GREY, None: plots.GREY}
ROLE_DASHES = {"q": "dot", "k": "dash", "v": "solid", "in": "solid", None: "solid"}
SIDES = {"q": -0.015, "k": 0.0, "v": 0.015}  # of the figure's width
MOST = 250  # edges; more cannot be told apart
LEAST = 0.75  # width of the weakest line


def graph_figure(circuit: "Circuit", most: int = MOST) -> "go.Figure":
    """Nodes from the embeddings below to the output above, one row a depth, the strongest `most` edges between them.

    A line's width is |score| (linear, to the largest), its colour and dash what the target reads: q, k, v or in.
    """
    import plotly.graph_objects as go

    ranked = sorted(circuit.edges, key=lambda e: -abs(e.score or 0.0))
    shown = ranked[:most]
    place = _places(shown)
    across = max(1.0, 2 * max((abs(x) for x, _ in place.values()), default=1.0))

    def line(edge: Edge) -> dict:
        """Queries enter on the left, values on the right, so that two edges between the same nodes lie apart."""
        return _bent(place[edge.source], place[edge.target], SIDES.get(edge.role, 0.0) * across)

    largest = max((abs(e.score or 0.0) for e in shown), default=1.0) or 1.0
    figure = go.Figure()
    for role in ("q", "k", "v", "in", None):
        mine = [e for e in shown if e.role == role]
        for i, edge in enumerate(mine):
            figure.add_scatter(
                **line(edge), mode="lines", line_shape="spline",
                name={"q": "query", "k": "key", "v": "value"}.get(role, "input"), legendgroup=str(role),
                showlegend=i == 0, hoverinfo="skip",
                line={"color": ROLE_COLOURS[role], "dash": ROLE_DASHES[role],
                      "width": LEAST + 5 * abs(edge.score or 0.0) / largest},
                opacity=0.35 + 0.65 * abs(edge.score or 0.0) / largest,
            )
    middle = [line(e) for e in shown]
    figure.add_scatter(
        x=[m["x"][1] for m in middle], y=[m["y"][1] for m in middle], mode="markers", showlegend=False,
        marker={"size": 9, "opacity": 0}, hovertext=[_hover(e) for e in shown], hoverinfo="text",
    )
    nodes = list(place)
    figure.add_scatter(
        x=[place[n][0] for n in nodes], y=[place[n][1] for n in nodes], mode="markers+text", showlegend=False,
        text=[plots.label_text(n.label.removeprefix("hook_")) for n in nodes], textposition="middle center",
        marker={"size": 38, "symbol": "square", "color": "#ffffff", "line": {"color": plots.GREY, "width": 1}},
        hovertext=[plots.label_text(n.name) for n in nodes], hoverinfo="text", textfont={"size": 11},
    )
    left_out = f"; the strongest {most} of {len(ranked)} edges" if len(ranked) > most else ""
    plots.styled(figure, title=f"{circuit.task}: {len(circuit.edges)} edges{left_out}")
    rows = len({y for _, y in place.values()})
    figure.update_layout(height=max(320, 90 * rows), xaxis_visible=False, yaxis_visible=False)
    return figure


def _hover(edge: Edge) -> str:
    return plots.label_text(edge.label) + ("" if edge.score is None else f"<br>{edge.score:.4g}")


def _places(edges: list[Edge]) -> dict[Node, tuple[float, float]]:
    """(x, y) of every node: rows by depth, embeddings lowest and the output highest, side by side in a row."""
    nodes = list(dict.fromkeys(n for e in edges for n in (e.source, e.target)))
    order = sorted({_row(n, edges) for n in nodes})
    places = {}
    for y, row in enumerate(order):
        mine = sorted((n for n in nodes if _row(n, edges) == row), key=lambda n: (n.kind, n.head or 0, n.name))
        for i, node in enumerate(mine):
            places[node] = (i - (len(mine) - 1) / 2, float(y))
    return places


def _row(node: Node, edges: list[Edge]) -> tuple:
    """What orders the rows: stacks in order of name, depth, mixers before MLPs; sites outside blocks at either end."""
    if node.depth is not None:
        return (1, node.stack, node.depth, "mlp" in node.kind)
    return (2 if any(e.target == node for e in edges) else 0, "", 0, False)


def _bent(start: tuple[float, float], end: tuple[float, float], side: float) -> dict:
    """Three points of a slight curve, so that edges that pass a row do not run through its nodes."""
    (x0, y0), (x1, y1) = start, end
    bend = 0.12 * (y1 - y0) * (1 if x1 >= x0 else -1) if abs(y1 - y0) > 1 else 0.0
    return {"x": [x0 + side, (x0 + x1) / 2 + bend + side, x1 + side], "y": [y0, (y0 + y1) / 2, y1]}
