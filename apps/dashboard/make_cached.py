"""Makes the runs that ship: `python -m apps.dashboard.make_cached [NAME ...]`. They are ordinary runs, without report
and figures: those are drawn by the dashboard itself, and are what a run folder's size is made of.
"""

import shutil
import sys
from typing import Any

from apps.dashboard.folders import SHIPPED

RUNS: dict[str, dict[str, Any]] = {
    "induction-2l-edges": {"task": "induction", "model": "garden/induction-2l", "edges": True, "n": 48},
    "induction-2l": {"task": "induction", "model": "garden/induction-2l", "n": 48},
    "sorting-1l": {"task": "sorting", "model": "garden/sorting-1l", "n": 48},
    "mod-add-29-edges": {"task": "mod-add", "model": "garden/mod-add-29", "edges": True, "n": 48},
    "dyck-2l-edges": {"task": "dyck", "model": "garden/dyck-2l", "edges": True, "n": 48},
    "digits-vit": {"task": "digits", "model": "garden/digits-vit", "n": 48},
}
"""Name of the folder -> arguments of `interp.commands.circuits.discover`."""


def make(name: str) -> None:
    """Make one anew. Raises what `interp discover` raises."""
    from interp.commands.circuits import discover

    folder = SHIPPED / name
    shutil.rmtree(folder, ignore_errors=True)
    discover(**RUNS[name], out=folder, draws=100)
    for left in ("figures", "parts"):
        shutil.rmtree(folder / left, ignore_errors=True)
    (folder / "report.html").unlink(missing_ok=True)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RUNS:
        make(wanted)
