"""A circuit of edges as a graph: rows by depth from the embeddings below to the output above."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apps.dashboard.views import component
from interp.results import Edge, Node

MOST = 600
"""Edges that are drawn; more cannot be told apart."""


def graph(key: str, edges: Sequence[Edge], *, label: str, scores: Mapping[str, float] | None = None,
          selected: str | None = None, on_select: Callable[[str | None], None] | None = None,
          names: Mapping[str, str] | None = None, groups: Mapping[str, str] | None = None,
          off: Sequence[str] = (), unit: str = "") -> None:
    """The nodes that `edges` touch and the edges between them, the strongest first.

    A selection is "node:LABEL" or "edge:LABEL" (as `Edge.label`). `scores` colours nodes by label; `names` renames
    them and `groups` draws nodes of one group as one; `off` are edges or nodes drawn as taken away.
    """
    shown = sorted(edges, key=lambda e: -abs(e.score or 0.0))[:MOST]
    of = {node.label: (groups or {}).get(node.label, node.label) for e in shown for node in (e.source, e.target)}
    places, rows = _places(shown, of)
    largest = max((abs(e.score or 0.0) for e in shown), default=1.0) or 1.0
    known = {name: value for name, value in (scores or {}).items() if name in places}
    component.mount("graph", key=key, selected=selected, on_select=on_select, data={
        "label": label, "rows": rows, "largest": max(map(abs, known.values()), default=1.0) or 1.0,
        "nodes": [_node(name, place, known.get(name), names or {}, of, name in off, unit)
                  for name, place in places.items()],
        "edges": [{"id": f"edge:{e.label}", "source": of[e.source.label], "target": of[e.target.label],
                   "role": e.role or "in", "score": e.score or 0.0, "weight": abs(e.score or 0.0) / largest,
                   "title": e.label + ("" if e.score is None else f"  {e.score:+.4g} {unit}"), "off": e.label in off}
                  for e in shown if of[e.source.label] != of[e.target.label]],
    })


def _node(name: str, place: tuple[float, int, str], value: float | None, names: Mapping[str, str],
          of: Mapping[str, str], off: bool, unit: str) -> dict[str, Any]:
    inside = [label for label, group in of.items() if group == name]
    title = name if inside == [name] else f"{name}: {', '.join(inside)}"
    return {"id": name, "label": names.get(name, _short(name)), "x": place[0], "y": place[1], "kind": place[2],
            "value": value, "off": off, "title": title + ("" if value is None else f"  {value:+.4g} {unit}")}


def _short(name: str) -> str:
    return name.removeprefix("hook_")


def _places(edges: Sequence[Edge], of: Mapping[str, str]) -> tuple[dict[str, tuple[float, int, str]], list[str]]:
    """({node or group: (x in 0..1, row, kind)}, titles of the rows from below)."""
    first = {of[node.label]: node for e in reversed(edges) for node in (e.source, e.target)}
    targets = {of[e.target.label] for e in edges}
    order = {name: _row(node, name in targets) for name, node in first.items()}
    levels = sorted(set(order.values()))
    places: dict[str, tuple[float, int, str]] = {}
    for y, level in enumerate(levels):
        mine = sorted((name for name in first if order[name] == level),
                      key=lambda n: (first[n].kind, first[n].head or 0))
        for i, name in enumerate(mine):
            places[name] = ((i + 0.5) / len(mine), y, _kind(first[name]))
    return places, [_title(level) for level in levels]


def _row(node: Node, is_read: bool) -> tuple[int, str, int, bool]:
    """What orders rows: stacks, depths, mixers before MLPs; sites outside the blocks at either end."""
    if node.depth is not None:
        return (1, node.stack, node.depth, "mlp" in node.kind)
    return (2 if is_read else 0, "", 0, False)


def _title(level: tuple[int, str, int, bool]) -> str:
    at, stack, depth, mlp = level
    return {0: "embeddings", 2: "output"}.get(at) or f"{stack} L{depth}{' MLP' if mlp else ''}".strip()


def _kind(node: Node) -> str:
    return "head" if node.head is not None else "mlp" if "mlp" in node.kind else "other"
