"""Grids of cells and strips of tokens."""

import base64
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from apps.dashboard.views import component

MOST_BYTES = 64 * 1024
"""Of small pictures in one grid; larger ones are pooled, so that a click stays cheap."""
MOST_PIXELS = 112
"""Rows or columns of a picture that cells lie on."""

Cell = tuple[int, int]


def grid(key: str, values: Any = None, *, rows: Sequence[Any], columns: Sequence[Any], label: str, unit: str = "",
         selected: Cell | None = None, on_select: Callable[[Cell | None], None] | None = None,
         text: Sequence[Sequence[str]] | None = None, hover: Sequence[Sequence[str]] | None = None, between: str = ", ",
         pictures: np.ndarray | None = None, behind: np.ndarray | None = None, marks: Sequence[Cell] = (),
         best: Cell | None = None, diverging: bool = True, largest: float | None = None, numbers: bool = False,
         square: bool = False, x_title: str = "", y_title: str = "", tall: int = 26, least: float = 16,
         legend: bool = True) -> None:
    """Rows x columns of values (blue above zero, orange below, NaN grey) or of `pictures` [row, column, h, w] in 0..1.

    `text` is written in the cells, `hover` shown on them (else row, `between`, column); `marks` are outlined; the arrow
    keys begin at `best`. Cells are `tall` high (`square`: as wide) and at least `least` wide; a grid that is wider than
    its place scrolls. `label` says what the grid is, for those who do not see it. `largest` fixes the range, to make
    two grids comparable. `behind` is a picture, bytes [row, column(, 3)], on which the values lie as layers of colour.
    """
    data: dict[str, Any] = {
        "rows": [str(row) for row in rows], "cols": [str(column) for column in columns], "label": label, "unit": unit,
        "text": text, "hover": hover, "between": between, "marks": [list(cell) for cell in marks],
        "best": None if best is None else list(best), "diverging": diverging, "numbers": numbers, "square": square,
        "xTitle": x_title, "yTitle": y_title, "tall": tall, "least": least, "legend": legend, "values": None,
    }
    if values is not None:
        table = np.asarray(values, dtype=float)
        data |= {"values": [[_plain(value) for value in row] for row in table],
                 "largest": largest or _largest(table)}
    if pictures is not None:
        small = _pooled(pictures)
        data |= {"thumbs": base64.b64encode(np.round(small.clip(0, 1) * 255).astype(np.uint8).tobytes()).decode(),
                 "size": list(small.shape[2:]), "legend": legend and values is not None, "largest": 1.0}
    if behind is not None:
        step = -(-max(behind.shape[:2]) // MOST_PIXELS)
        colours = (np.repeat(behind[..., None], 3, -1) if behind.ndim == 2 else behind)[::step, ::step]
        data |= {"behind": base64.b64encode(colours.astype(np.uint8).tobytes()).decode(),
                 "behindSize": list(colours.shape[:2])}
    component.mount("grid", key=key, data=data, selected=None if selected is None else list(selected),
                    on_select=None if on_select is None else lambda cell: on_select(tuple(cell) if cell else None))


def strip(key: str, tokens: Sequence[str], values: Sequence[float] | None = None, *, label: str, unit: str = "",
          selected: int | None = None, on_select: Callable[[int | None], None] | None = None,
          numbers: bool = False, largest: float | None = None, legend: bool = True) -> None:
    """Tokens in a row, coloured by a value each (none: plain); a click selects one and a second click lets it go."""
    found = None if values is None else np.asarray(values, dtype=float)
    component.mount("strip", key=key, selected=selected, on_select=on_select, data={
        "tokens": [str(token) for token in tokens], "values": None if found is None else [_plain(v) for v in found],
        "largest": largest or (_largest(found) if found is not None else 1.0), "label": label, "unit": unit,
        "numbers": numbers, "legend": legend})


def _plain(value: float) -> float | None:
    """A number of five digits, which is all that a cell shows; None for NaN and infinity."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _largest(values: np.ndarray) -> float:
    from interp.results.plots import max_size

    return max_size(values)


def _pooled(pictures: np.ndarray) -> np.ndarray:
    """The pictures, each cell of the smaller ones the largest value of what it stands for."""
    table = np.asarray(pictures, dtype=float)
    count = table.shape[0] * table.shape[1]
    while count * table.shape[2] * table.shape[3] > MOST_BYTES and min(table.shape[2:]) > 4:
        h, w = (-(-size // 2) for size in table.shape[2:])
        padded = np.zeros((*table.shape[:2], 2 * h, 2 * w))
        padded[:, :, : table.shape[2], : table.shape[3]] = table
        table = padded.reshape(*table.shape[:2], h, 2, w, 2).max(axis=(3, 5))
    return table
