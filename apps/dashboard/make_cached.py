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
    "induction-2l-cdt": {"task": "induction", "model": "garden/induction-2l", "method": "cdt", "n": 48},
    "sorting-1l": {"task": "sorting", "model": "garden/sorting-1l", "n": 48},
    "mod-add-29-edges": {"task": "mod-add", "model": "garden/mod-add-29", "edges": True, "n": 48},
    "dyck-2l-edges": {"task": "dyck", "model": "garden/dyck-2l", "edges": True, "n": 48},
    "digits-vit": {"task": "digits", "model": "garden/digits-vit", "n": 48},
}
"""Name of the folder -> arguments of `interp.commands.circuits.discover`."""
BOOKS: dict[str, dict[str, Any]] = {
    "text-small-codes": {"model": "garden/text-small", "n_codes": 256, "steps": 400},
}
"""Name of the folder -> arguments of `interp.commands.codebook.train`."""
LEARNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "icl-match-linear-d5": ("match", {"model": "garden/icl-linear-d5", "prompts": 200}),
    "icl-probe-linear-d5": ("probe", {"model": "garden/icl-linear-d5"}),
    "icl-probe-representation": ("probe", {"model": "garden/icl-representation"}),
}
"""Name of the folder -> function of `interp.commands.icl_analyses`, its arguments. Figures are kept: they hold every
step of every algorithm, tensors are not."""


def make(name: str) -> None:
    """Make one anew. Raises what `interp discover`, `interp codebook train` and `interp icl` raise."""
    from interp.commands import icl_analyses
    from interp.commands.circuits import discover
    from interp.commands.codebook import train

    folder = SHIPPED / name
    shutil.rmtree(folder, ignore_errors=True)
    if name in BOOKS:
        train(**BOOKS[name], out=folder)
    elif name in LEARNERS:
        command, arguments = LEARNERS[name]
        getattr(icl_analyses, command)(**arguments, out=folder)
        (folder / "tensors.safetensors").unlink(missing_ok=True)
    else:
        discover(**RUNS[name], out=folder, draws=100)
    for left in ("parts",) if name in LEARNERS else ("figures", "parts"):
        shutil.rmtree(folder / left, ignore_errors=True)
    (folder / "report.html").unlink(missing_ok=True)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or [*RUNS, *BOOKS, *LEARNERS]:
        make(wanted)
