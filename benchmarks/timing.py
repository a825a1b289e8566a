"""Interleaved timing: every candidate once a round, medians of ratios to the first, CPU seconds on one thread."""

import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table


def ratios(candidates: dict[str, Callable[[], object]], rounds: int = 15) -> dict[str, tuple[float, float, float]]:
    """{name: (median CPU ms, median ratio to the first, its interquartile range)}, measured in interleaved rounds."""
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for function in candidates.values():
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


def show(title: str, found: dict[str, tuple[float, float, float]], goals: dict[str, float] | None = None) -> None:
    """Print a table: milliseconds, ratio, spread, goal."""
    table = Table("what", "CPU ms", "ratio", "IQR", "goal", title=title, title_justify="left")
    for name, (ms, ratio, spread) in found.items():
        goal = (goals or {}).get(name)
        table.add_row(name, f"{ms:.2f}", f"{ratio:.3f}", f"{spread:.3f}", "" if goal is None else f"<= {goal}")
    Console().print(table)
