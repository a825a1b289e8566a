"""The picture of a circuit: where in the model its nodes are, and how much each does."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from interp.results.node import Node
from interp.results.plots import DIVERGING, label_text, max_size, styled

if TYPE_CHECKING:
    from interp.results.circuit import Circuit

_TITLES = {"hook_mlp_out": "MLP", "hook_attn_out": "attn", "hook_mixer_out": "mixer"}
_MOST_TEXT = 90
"""Cells up to which each shows its score; above that the numbers would not fit."""
_MOST_LINES = 256

Column = tuple[str, int | None]
"""(mixer, head), or (kind of site, None)."""
Row = tuple[str, int | None]
"""(stack, depth), or (site, None) for a site outside the blocks."""
Cells = dict[tuple[Row, Column], Node]

_MODEL: Column = ("model", None)
"""The column of sites outside the blocks."""


def circuit_figure(circuit: "Circuit") -> go.Figure:
    """Grid of all scores: rows are depths, input on top; columns heads, then MLP and other sites; members
    outlined.

    Where several scored nodes share a cell (positions, or q, k and v of one head) a member goes before a
    candidate, then the one of largest |score|; the hover text names it. Cells without a score are grey.
    """
    cells = _cells(circuit)
    rows, columns = _rows(cells), _columns(cells)
    x, y = _places(columns), {row: i for i, row in enumerate(rows)}
    scores = np.full((len(rows), max(x.values(), default=0) + 1), np.nan)
    hover = np.full(scores.shape, "", dtype=object)
    for (row, column), node in cells.items():
        scores[y[row], x[column]] = circuit.scores[node]
        hover[y[row], x[column]] = _hover(circuit, node)
    members = set(circuit.nodes)
    figure = go.Figure([_empty_cells(x, y, scores.shape), _scored_cells(scores, hover, len(cells))])
    outlines = [(x[column], y[row]) for (row, column), node in cells.items() if node in members]
    figure.add_trace(_outline(outlines))
    title = f"{circuit.task} in {circuit.model}: {len(members)} nodes ({circuit.method})"
    styled(figure, title=title, x_title=_x_title(columns), y_title="depth")
    return _sized(figure, x, y)


def _cells(circuit: "Circuit") -> Cells:
    """The node shown in each cell, the last one written: a member over a candidate, then the stronger."""
    members = set(circuit.nodes)
    weakest_first = sorted(circuit.scores, key=lambda node: (node in members, abs(circuit.scores[node])))
    return {(_row(node), _column(node)): node for node in weakest_first}


def _row(node: Node) -> Row:
    return (node.site, None) if node.depth is None else (node.stack, node.depth)


def _column(node: Node) -> Column:
    if node.depth is None:
        return _MODEL
    return (node.kind.partition(".hook_")[0], node.head) if node.head is not None else (node.kind, None)


def _rows(cells: Cells) -> list[Row]:
    """Embeddings, every depth of each stack (encoder first), then what comes after the blocks."""
    found = {row for row, _ in cells}
    outside = sorted(row for row in found if row[1] is None)
    before = [row for row in outside if "embed" in row[0]]
    inside: list[Row] = []
    for stack in sorted(
        {row[0] for row in found if row[1] is not None}, key=lambda name: ("encoder" not in name, name)
    ):
        inside += [(stack, depth) for depth in _filled({row[1] for row in found if row[0] == stack})]
    return before + inside + [row for row in outside if row not in before]


def _columns(cells: Cells) -> list[Column]:
    """Heads of self-attention, of other mixers, then sites without heads, MLP first; the sites outside the
    blocks last.
    """
    found = {column for _, column in cells}
    columns: list[Column] = []
    for mixer in sorted(
        {name for name, head in found if head is not None}, key=lambda name: (name != "attn", name)
    ):
        columns += [(mixer, head) for head in _filled({head for name, head in found if name == mixer})]
    sites = {column for column in found if column[1] is None and column != _MODEL}
    columns += sorted(
        sites, key=lambda column: (column[0] not in _TITLES, column[0] != "hook_mlp_out", column[0])
    )
    return columns + ([_MODEL] if _MODEL in found else [])


def _filled(numbers: set[int | None]) -> list[int]:
    """0 to the largest, so that the grid is regular; only the numbers themselves where that would be too
    many.
    """
    known = sorted(number for number in numbers if number is not None)
    return list(range(known[-1] + 1)) if known and known[-1] < _MOST_LINES else known


def _places(columns: list[Column]) -> dict[Column, int]:
    """Where each column stands, with one column of space between groups."""
    places: dict[Column, int] = {}
    place = -1
    for i, column in enumerate(columns):
        place += 1 if i == 0 or _group(columns[i - 1]) == _group(column) else 2
        places[column] = place
    return places


def _group(column: Column) -> str:
    return column[0] if column[1] is not None or column == _MODEL else "sites"


def _hover(circuit: "Circuit", node: Node) -> str:
    rank = (
        f"rank {circuit.nodes.index(node) + 1} of {len(circuit.nodes)}"
        if node in circuit.nodes
        else "not a member"
    )
    return (
        f"<b>{label_text(node.label)}</b>  {circuit.scores[node]:+.4g}<br>{rank}<br>{label_text(node.name)}"
    )


def _empty_cells(x: dict[Column, int], y: dict[Row, int], shape: tuple[int, int]) -> go.Heatmap:
    """Grey where a score could stand, so that a gap and a score of zero look different."""
    grey = np.full(shape, np.nan)
    for row, i in y.items():
        for column, j in x.items():
            if (row[1] is None) == (column == _MODEL):
                grey[i, j] = 0.0
    flat = [[0.0, "#e9ecf0"], [1.0, "#e9ecf0"]]
    # No gaps here: the grey between scored cells is what bounds those of score zero.
    return go.Heatmap(z=grey, colorscale=flat, showscale=False, hoverinfo="skip")


def _scored_cells(scores: np.ndarray, hover: np.ndarray, count: int) -> go.Heatmap:
    largest = max_size(scores)
    return go.Heatmap(
        z=scores,
        zmin=-largest,
        zmax=largest,
        colorscale=DIVERGING,
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        text=np.vectorize(_cell_text, otypes=[object])(scores, largest),
        texttemplate="%{text}" if count <= _MOST_TEXT else None,
        xgap=1,
        ygap=1,
        colorbar={"title": {"text": "score"}, "thickness": 14, "outlinewidth": 0},
    )


def _cell_text(score: float, largest: float) -> str:
    """Two digits of the scores that matter; the rest is zero at the scale of the figure."""
    if np.isnan(score):
        return ""
    return f"{score:.2g}" if abs(score) >= 0.005 * largest else "0"


def _outline(places: list[tuple[int, int]]) -> go.Scatter:
    """Squares around the members, one trace whatever their number."""
    across = [value for x, _ in places for value in (x - 0.5, x + 0.5, x + 0.5, x - 0.5, x - 0.5, None)]
    down = [value for _, y in places for value in (y - 0.5, y - 0.5, y + 0.5, y + 0.5, y - 0.5, None)]
    line = {"color": "#111827", "width": 2.5}
    return go.Scatter(
        x=across, y=down, mode="lines", line=line, hoverinfo="skip", name="in the circuit", showlegend=True
    )


def _x_title(columns: list[Column]) -> str:
    heads = any(head is not None for _, head in columns)
    return "head" + (", then other sites" if columns[-1][1] is None else "") if heads else "site"


def _sized(figure: go.Figure, x: dict[Column, int], y: dict[Row, int]) -> go.Figure:
    """Labels on both axes and a height of about one readable line a row."""
    plain = {"showgrid": False, "zeroline": False, "showline": False, "ticks": "", "tickmode": "array"}
    width = max(x.values(), default=0) + 1
    titles = _column_titles(list(x))
    figure.update_xaxes(
        **plain,
        tickvals=list(x.values()),
        ticktext=titles,
        tickangle=-35 if max(map(len, titles), default=0) > 6 else 0,
        range=[-0.6, width - 0.4],
    )
    several = len({row[0] for row in y if row[1] is not None}) > 1
    figure.update_yaxes(
        **plain,
        tickvals=list(y.values()),
        ticktext=[_row_title(row, several) for row in y],
        title_standoff=14,
        range=[len(y) - 0.4, -0.6],
    )
    height = 190 + max(22, min(44, 660 // max(1, len(y)))) * len(y)
    figure.update_layout(
        height=height,
        margin={"t": 100},
        title={"y": 1 - 30 / height, "yanchor": "middle"},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1 - 48 / height,
            "yref": "container",
            "yanchor": "top",
        },
    )
    _name_head_groups(figure, x)
    return figure


def _name_head_groups(figure: go.Figure, x: dict[Column, int]) -> None:
    """The mixer's name above its heads, where it is not plain self-attention alone."""
    groups = list(dict.fromkeys(name for name, head in x if head is not None))
    for name in groups if groups != ["attn"] else []:
        places = [place for column, place in x.items() if column[0] == name and column[1] is not None]
        middle = sum(places) / len(places)
        figure.add_annotation(
            x=middle, y=1, yref="paper", yanchor="bottom", text=label_text(name), showarrow=False
        )


def _column_titles(columns: list[Column]) -> list[str]:
    """Head numbers, every second one where there are many; short names of the other sites."""
    step = 1 if len(columns) <= 24 else 2 if len(columns) <= 48 else 4
    titles = []
    for name, head in columns:
        if head is not None:
            titles.append(str(head) if head % step == 0 else "")
        else:
            titles.append(_TITLES.get(name) or label_text(name.replace("hook_", "")))
    return titles


def _row_title(row: Row, several: bool) -> str:
    name, depth = row
    if depth is None:
        return label_text(name.replace("hook_", ""))
    return label_text(f"{name} {depth}" if several else depth)
