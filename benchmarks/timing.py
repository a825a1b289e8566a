"""Interleaved timing: every candidate once a round, medians of ratios to the first, CPU seconds on one thread."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from rich.console import Console
from rich.table import Table

Found = dict[str, tuple[float, float, float]]

_record: ContextVar[list[dict] | None] = ContextVar("benchmarks_record", default=None)


def ratios(candidates: dict[str, Callable[[], object]], rounds: int = 15, *, warm: bool = True) -> Found:
    """{name: (median CPU ms, median ratio to the first, its interquartile range)}, measured in interleaved rounds.

    A ratio is taken within a round, so that what slows the machine down slows both sides. `warm` runs everything
    once before the clock starts.
    """
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for function in candidates.values() if warm else ():
        function()
    for _ in range(rounds):
        for name, function in candidates.items():
            start = time.process_time()
            function()
            times[name].append(time.process_time() - start)
    base = next(iter(times.values()))
    found = {}
    for name, values in times.items():
        relative = sorted(v / b for v, b in zip(values, base))
        quarter = len(relative) // 4
        spread = relative[-1 - quarter] - relative[quarter]
        found[name] = (1e3 * statistics.median(values), statistics.median(relative), spread)
    return found


def against(found: Found, name: str, other: str) -> Found:
    """One more row: the ratio of two candidates' medians, where the first of the run is not the base."""
    return {f"{name} / {other}": (found[name][0], found[name][0] / found[other][0], 0.0)}


def show(title: str, found: Found, goals: dict[str, float] | None = None) -> None:
    """Print a table: milliseconds, ratio, spread, goal; and keep it, inside `recording`."""
    goals = goals or {}
    table = Table("what", "CPU ms", "ratio", "IQR", "goal", title=title, title_justify="left")
    for name, (ms, ratio, spread) in found.items():
        table.add_row(name, f"{ms:.2f}", f"{ratio:.3f}", f"{spread:.3f}", f"<= {goals[name]}" if name in goals else "")
    Console().print(table)
    keep(title, rows(found, goals))


def show_rows(title: str, lines: list[dict]) -> None:
    """Print and keep a table of other numbers: one column per key of the rows."""
    table = Table(*lines[0], title=title, title_justify="left")
    for line in lines:
        table.add_row(*(str(cell) for cell in line.values()))
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)
    keep(title, lines)


def keep(title: str, lines: list[dict]) -> None:
    """Put a table into the record of the `recording` around this call, if there is one."""
    if (kept := _record.get()) is not None:
        kept.append({"title": title, "rows": lines})


def rows(found: Found, goals: dict[str, float]) -> list[dict]:
    """The table as JSON: what, cpu_ms, ratio, iqr and, where there is one, goal."""
    return [
        {"what": name, "cpu_ms": round(ms, 4), "ratio": round(ratio, 4), "iqr": round(spread, 4)}
        | ({"goal": goals[name]} if name in goals else {})
        for name, (ms, ratio, spread) in found.items()
    ]


@contextmanager
def recording() -> Iterator[list[dict]]:
    """Every table shown inside the block: {"title", "rows"}."""
    kept: list[dict] = []
    token = _record.set(kept)
    try:
        yield kept
    finally:
        _record.reset(token)
