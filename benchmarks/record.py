"""Benchmark results on disk: benchmarks/results/NAME.json, with what one needs to judge the numbers."""

import json
import os
import platform
from pathlib import Path

from interp.results.environment import now, versions
from interp.results.files import atomic_write

RESULTS = Path(__file__).parent / "results"


def conditions() -> dict:
    """When, on what and under which load: date, load over 1, 5 and 15 minutes, cores, machine, versions."""
    return {
        "date": now(), "load": [round(v, 2) for v in os.getloadavg()], "cores": os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}", "versions": versions(),
    }


def write(name: str, before: dict, tables: list[dict], **more) -> Path:
    """Keep `tables` with the conditions before and the load after; returns the path of the file."""
    content = {"schema": "interp.benchmark/1", "name": name, **before, "load_after": conditions()["load"]}
    text = json.dumps(content | more | {"tables": tables}, indent=1, allow_nan=False)
    return atomic_write(RESULTS / f"{name}.json", text + "\n")
