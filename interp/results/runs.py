"""The runs below a folder, as a table."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.results.errors import BadFile, BadInput
from interp.results.files import read_json
from interp.results.run import Run

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("run", "status", "command", "model", "task", "seed", "started", "seconds", "reason")
_DEEPEST = 4


def list_runs(root: str | Path) -> "pd.DataFrame":
    """One row a run in `root` or up to four folders below it, newest first.

    Columns: run (folder relative to root), status (with "damaged" for a result.json that cannot be read),
    command, model, task (from the configuration, None where it has none), seed, started (UTC), seconds,
    reason.
    Raises: BadInput when `root` is not a folder.
    """
    import pandas as pd

    root = Path(root)
    if not root.is_dir():
        raise BadInput(f"{root} is not a folder, so it holds no runs")
    rows = [_row(folder, root) for folder in _folders(root) if _is_ours(folder)]
    rows.sort(key=lambda row: (row["started"] or "", row["run"]), reverse=True)
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _folders(root: Path) -> Iterator[Path]:
    for where, below, files in os.walk(root):
        depth = len(Path(where).relative_to(root).parts)
        if "result.json" in files:
            below.clear()  # a run holds no runs
            yield Path(where)
        below[:] = [] if depth >= _DEEPEST else sorted(name for name in below if not name.startswith("."))


def _is_ours(folder: Path) -> bool:
    """Whether result.json is ours or beyond telling; a foreign program's own result.json is not listed."""
    try:
        schema = read_json(folder / "result.json").get("schema")
    except BadFile:
        return True
    return isinstance(schema, str) and schema.startswith("interp.run/")


def _row(folder: Path, root: Path) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_COLUMNS) | {"run": folder.relative_to(root).as_posix()}
    try:
        run = Run.open(folder)
        info, config = run.info, run.config
    except BadFile as error:
        return row | {"status": "damaged", "reason": str(error)}
    facts = {key: info[key] for key in ("status", "command", "seed", "started", "reason")}
    names = {key: _name(config.get(key)) for key in ("model", "task")}
    return row | facts | names | {"seconds": info["timings"].get("total")}


def _name(value: Any) -> str | None:
    """A model or task as configured: a name, or a table with one."""
    value = value.get("name") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None
