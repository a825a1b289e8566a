"""The grid of a model's nodes: depths down, heads across, then MLPs and mixers without heads."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from apps.dashboard.views.grid import Cell, grid
from interp.results import Node

if TYPE_CHECKING:
    import pandas as pd

_SHORT = {"hook_mlp_out": "MLP", "hook_mixer_out": "mixer", "hook_attn_out": "attn", "output": "output"}


class Places:
    """Where nodes stand: `rows` and `columns` are titles, `at[label]` the cell, `label(cell)` what is there."""

    def __init__(self, labels: Sequence[str]):
        nodes = [Node.from_label(label) for label in labels]
        depths = sorted({(node.stack, node.depth) for node in nodes if node.depth is not None},
                        key=lambda row: ("encoder" not in row[0], row))
        outside = [node.name for node in nodes if node.depth is None]
        stacks = {stack for stack, _ in depths}
        self.rows = [f"{stack} {depth}".strip() if len(stacks) > 1 else f"L{depth}" for stack, depth in depths]
        self.rows += outside
        kinds = sorted({(node.kind, node.head) for node in nodes if node.depth is not None},
                       key=lambda k: (k[1] is None, k[0] != "attn.hook_z", k[0], k[1] or 0))
        mixers = {kind for kind, head in kinds if head is not None}
        self.columns = [_title(kind, head, len(mixers) > 1) for kind, head in kinds] or ["site"]
        self.at: dict[str, Cell] = {}
        for label, node in zip(labels, nodes):
            if node.depth is None:
                self.at[label] = (len(depths) + outside.index(node.name), 0)
            else:
                self.at[label] = (depths.index((node.stack, node.depth)), kinds.index((node.kind, node.head)))
        self._label = {cell: label for label, cell in self.at.items()}

    def label(self, cell: Cell | None) -> str | None:
        """The node in a cell; None where there is none."""
        return self._label.get(cell) if cell is not None else None

    def table(self, values: "pd.Series | Sequence[float]", labels: Sequence[str]) -> np.ndarray:
        """Values of labels as a grid, NaN where there is no node."""
        found = np.full((len(self.rows), len(self.columns)), np.nan)
        for label, value in zip(labels, values):
            found[self.at[label]] = value
        return found


def heads(key: str, frame: "pd.DataFrame", *, value: str = "effect", unit: str = "", label: str = "Effect of each node",
          selected: str | None = None, on_select: Callable[[str | None], None] | None = None,
          marks: Sequence[str] = (), pictures: dict[str, np.ndarray] | None = None, diverging: bool = True) -> None:
    """The nodes of `frame["source"]` (labels such as L1H2, MLP0) coloured by the column `value`; `marks` are outlined.

    With `pictures` {label: [h, w] in 0..1} each cell shows its picture, and the strongest outlined is by `value` still.
    """
    labels = list(frame["source"])
    places = Places(labels)
    values = frame[value].to_numpy(dtype=float) if value in frame else np.full(len(labels), np.nan)
    table = places.table(values, labels)
    low, high = (places.table(frame[side], labels) if side in frame else None for side in ("low", "high"))
    hover = [["" for _ in places.columns] for _ in places.rows]
    for name, (r, c) in places.at.items():
        interval = "" if low is None or not np.isfinite(low[r, c]) else f" [{low[r, c]:.3g}, {high[r, c]:.3g}]"
        hover[r][c] = name + ("" if np.isnan(table[r, c]) else f": {table[r, c]:+.4g}{interval} {unit}")
    thumbs = None
    if pictures:
        shape = np.max([picture.shape for picture in pictures.values()], axis=0)
        thumbs = np.zeros((*table.shape, *shape))
        for name, picture in pictures.items():
            if name in places.at:
                thumbs[places.at[name]][: picture.shape[0], : picture.shape[1]] = picture
        table = np.where(np.isfinite(table) & (thumbs.sum((2, 3)) > 0), table, np.nan)
    best = None
    if np.isfinite(table).any():
        best = np.unravel_index(np.nanargmax(np.abs(table)), table.shape)
        best = (int(best[0]), int(best[1]))
    def chosen(cell: Cell | None) -> None:
        if on_select is not None:
            on_select(places.label(cell))

    grid(key, table, rows=places.rows, columns=places.columns, label=label, unit=unit, hover=hover, best=best,
         selected=places.at.get(selected) if selected else None, on_select=chosen, pictures=thumbs,
         marks=[places.at[name] for name in marks if name in places.at], numbers=len(labels) <= 96,
         diverging=diverging, tall=44 if len(places.rows) <= 4 else 26, y_title="depth",
         x_title="head" if any("H" in name for name in labels) else "")


def _title(kind: str, head: int | None, several: bool) -> str:
    if head is None:
        return _SHORT.get(kind, kind.replace("hook_", ""))
    mixer = kind.partition(".")[0]
    return f"{mixer} {head}" if several else str(head)
