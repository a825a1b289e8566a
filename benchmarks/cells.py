"""Measurements of many cells, kept in a JSONL file as each ends, so that a stopped session keeps what is done."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Cell = dict[str, Any]


def measured(path: Path, keys: list[Cell], measure: Callable[..., Cell], most: int | None = None) -> Iterator[Cell]:
    """Every cell of `keys`, its measurement read from `path` or made now by `measure(**key)` and appended there.

    Numbers that are not finite become null: JSON has no others. With `most`, so many are made now at most, and cells
    that are still missing are left out.
    """
    for key in keys:
        # read anew each time: another process may work on the same cells
        cell = next((found for found in read(path) if found["key"] == key), None)
        if cell is None:
            if most == 0:
                continue
            most = None if most is None else most - 1
            cell = {"key": key, **finite(measure(**key))}
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(json.dumps(cell, allow_nan=False) + "\n")
        yield cell


def finite(value: Any) -> Any:
    """The same of plain numbers, None for those that are not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def read(path: Path) -> list[Cell]:
    """The cells in a file, [] where there is none."""
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []
