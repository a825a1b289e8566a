"""Run folders: where they are, which there are, one by its name. Shipped ones are under cached/.

A name is the folder's path below its root, so that it fits in a URL; it is never allowed to lead out of the root.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from interp.results.errors import BadFile, BadInput

if TYPE_CHECKING:
    import pandas as pd

    from interp.results import Run

SHIPPED = Path(__file__).parent / "cached"
VARIABLE = "INTERP_RUNS"
"""The environment variable with which `interp dashboard --runs DIR` says where runs are."""


def root() -> Path:
    """Where runs are written and looked for."""
    return Path(os.environ.get(VARIABLE) or "runs").absolute()


def find(name: str) -> Path:
    """The folder of a run: one of ours, else one that ships. Raises BadFile where there is none."""
    for home in (root(), SHIPPED):
        path = (home / name).resolve()
        if path.is_relative_to(home.resolve()) and (path / "result.json").is_file():
            return path
    raise BadFile(f"there is no run {name!r} in {root()}, and none of that name ships")


def is_shipped(name: str) -> bool:
    """Whether a run comes with the dashboard."""
    return not (root() / name / "result.json").is_file()


def listing() -> "pd.DataFrame":
    """The runs of this machine, newest first, then the shipped ones; columns as of `interp.results.list_runs`."""
    import pandas as pd

    from interp.results import list_runs

    ours = list_runs(root()) if root().is_dir() else pd.DataFrame()
    shipped = list_runs(SHIPPED) if SHIPPED.is_dir() else pd.DataFrame()
    tables = [frame.assign(shipped=flag) for frame, flag in ((ours, False), (shipped, True)) if len(frame)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def new(*words: str) -> str:
    """A free name made of words: discover-induction-induction-2l-1."""
    stem = "-".join(re.sub(r"[^\w.-]+", "-", Path(word).name) for word in words if word)[:80]
    number = 1
    while (root() / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def open_run(name: str) -> "Run":
    """The run of that name. Raises BadFile."""
    from interp.results import Run

    return Run.open(find(name))


@st.cache_data(max_entries=64, show_spinner=False)
def _table(path: str, name: str, changed: float) -> "pd.DataFrame":
    from interp.results import Run

    return Run.open(path).table(name)


def table(run: str, name: str) -> "pd.DataFrame | None":
    """A table of a run, None where it has none of that name."""
    path = find(run)
    file = path / "tables" / f"{name}.csv"
    return _table(str(path), name, file.stat().st_mtime) if file.is_file() else None


def circuit(run: str):
    """The circuit in a run folder. Raises BadFile."""
    from interp.results import Circuit

    return Circuit.load(find(run) / "circuit.json")


def copy(run: str) -> str:
    """A copy of a run among ours, for a run that ships and is to be changed; returns its name."""
    import shutil

    name = new(run)
    shutil.copytree(find(run), root() / name)
    return name


def keep(name: str, content: bytes) -> str:
    """A circuit file from elsewhere, validated and kept as a run folder; returns the run's name.

    Raises BadFile for anything but one of our circuits, BadInput for one that is too large.
    """
    from interp.results import Circuit, Run
    from interp.results.files import JSON_LIMIT, atomic_write

    if len(content) > JSON_LIMIT:
        raise BadInput(f"{name} has {len(content):,} bytes; a circuit of more than {JSON_LIMIT:,} is not read")
    folder = new("opened", Path(name).stem)
    draft = atomic_write(root() / f".{folder}.json", content)
    try:
        found = Circuit.load(draft)
    except BadFile as error:
        raise BadFile(str(error).replace(str(draft), name)) from None
    finally:
        draft.unlink(missing_ok=True)
    with Run.create(root() / folder, "open", {"model": found.model, "task": found.task, "file": name}, 0) as run:
        found.save(run)
    return folder
