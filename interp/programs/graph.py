"""What reads what in a `Program`: a networkx graph, and its picture."""

from collections import defaultdict

import networkx as nx
import plotly.graph_objects as go

from interp.programs.program import Head, Lookup, Operator, Program
from interp.results.plots import DASHES, LINES, label_text, styled

ANSWER = "(answer)"
"""The node of the readout, a name that no step has unless one asks for trouble."""
ROLES = ("query", "key", "value", "first", "second", "readout")
_DOES = {"ClosestHead": "copies the closest", "CountingHead": "sums", "Lookup": "looks up"}


def to_graph(program: Program) -> nx.DiGraph:
    """Variables, and ANSWER, as nodes; an edge for each reading, with the tuple of its `roles`.

    Nodes have `kind` (of step), `layer` (0 for inputs, the number of layers + 1 for ANSWER) and `size` (number of
    values; of labels at ANSWER).
    """
    graph = nx.DiGraph(name=program.name)
    layers = {step.out.name: number for number, layer in enumerate(program.layers, 1) for step in layer}
    for step in program.steps:
        name = step.out.name
        graph.add_node(name, kind=type(step).__name__, layer=layers.get(name, 0), size=step.out.size)
        for role, read in roles(step) if isinstance(step, Operator) else ():
            _add(graph, read, name, role)
    graph.add_node(ANSWER, kind="Readout", layer=len(program.layers) + 1, size=len(program.labels))
    for name in program.readout:
        _add(graph, name, ANSWER, "readout")
    return graph


def roles(step: Operator) -> tuple[tuple[str, str], ...]:
    """(role, variable) for each reading of an operator."""
    names = ("first", "second") if isinstance(step, Lookup) else ("query", "key", "value")
    return tuple(zip(names, step.reads, strict=True))


def _add(graph: nx.DiGraph, source: str, target: str, role: str) -> None:
    before = graph.edges[source, target]["roles"] if graph.has_edge(source, target) else ()
    graph.add_edge(source, target, roles=(*before, role))


def graph_figure(program: Program) -> go.Figure:
    """The graph from left to right: inputs, heads and lookups of each layer, the answer; one colour a role."""
    graph = to_graph(program)
    columns = _columns(program, graph)
    places = {name: (x, _height(i, len(column))) for x, column in enumerate(columns) for i, name in enumerate(column)}
    figure = go.Figure()
    for number, role in enumerate(ROLES):
        x: list[float | None] = []
        y: list[float | None] = []
        for source, target, held in graph.edges(data="roles"):
            if role in held:
                # a fan at the target, so that two roles between the same variables are two lines
                end = places[target][1] + (0 if target == ANSWER else 0.12 * (1 - ROLES.index(role) % 3))
                x += [places[source][0], places[target][0], None]
                y += [places[source][1], end, None]
        line = {"color": LINES[number], "dash": DASHES[number], "width": 1.2}
        if x:
            figure.add_scatter(x=x, y=y, mode="lines", line=line, name=role, hoverinfo="skip", opacity=0.75)
    _boxes(figure, graph, places)
    rows = max(map(len, columns))
    styled(figure, title=f"{program.name}: what reads what")
    figure.update_xaxes(visible=False, range=[-0.6, len(columns) - 0.4])
    figure.update_yaxes(visible=False, range=[-rows / 2 - 0.3, rows / 2 + 0.3])
    legend = {"orientation": "h", "y": -0.02, "yanchor": "top"}
    figure.update_layout(width=max(640, 170 * len(columns)), height=150 + 48 * rows, legend=legend)
    return figure


def _boxes(figure: go.Figure, graph: nx.DiGraph, places: dict[str, tuple[float, float]]) -> None:
    hover = []
    for name, (x, y) in places.items():
        node = graph.nodes[name]
        hover.append(f"{label_text(name)}<br>{_DOES.get(node['kind'], node['kind'])}, {node['size']} values")
        border = LINES[list(_DOES).index(node["kind"])] if node["kind"] in _DOES else "#9aa3af"
        text = label_text(name if len(name) <= 20 else f"{name[:19]}…")
        figure.add_annotation(
            x=x, y=y, text=text, showarrow=False, bgcolor="#ffffff", bordercolor=border, borderwidth=1.5, borderpad=3,
            font={"size": 12}, hovertext=hover[-1],
        )
    x, y = zip(*places.values())
    figure.add_scatter(
        x=x, y=y, mode="markers", marker={"size": 22, "opacity": 0}, text=hover, hoverinfo="text", showlegend=False
    )


def _columns(program: Program, graph: nx.DiGraph) -> list[list[str]]:
    """Names by column, each sorted by the mean height of what it reads, so that fewer lines cross."""
    columns = [[step.out.name for step in program.inputs]]
    for layer in program.layers:
        heads = [step.out.name for step in layer if isinstance(step, Head)]
        columns += [heads, [step.out.name for step in layer if isinstance(step, Lookup)]]
    columns = [column for column in columns if column] + [[ANSWER]]
    heights: dict[str, float] = defaultdict(float)
    for column in columns:
        mean = {}
        for name in column:
            reads = list(graph.predecessors(name))
            mean[name] = sum(heights[read] for read in reads) / len(reads) if reads else 0.0
        column.sort(key=lambda name: -mean[name])
        heights |= {name: _height(i, len(column)) for i, name in enumerate(column)}
    return columns


def _height(place: int, among: int) -> float:
    return (among - 1) / 2 - place
