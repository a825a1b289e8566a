"""`interp runs`: what was computed, where, and how it ended."""

from pathlib import Path
from typing import Annotated

import typer

from interp.commands.shared import Debug, Json, print_json, print_table, records, register, stdout


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    register(app, runs, "List what was computed.", "interp runs", "interp runs ~/experiments")


def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look, up to four folders deep.", metavar="[DIR]")] = Path(
        "runs"
    ),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the run folders below a folder, newest first: what they are, whether they are done, how long they took."""
    from interp.results import list_runs

    if folder == Path("runs") and not folder.exists():
        found = None
    else:
        found = list_runs(folder)
    if as_json:
        print_json({"folder": str(folder), "runs": [] if found is None else records(found)})
    elif found is None or found.empty:
        stdout().print(f"no runs in {folder}/ yet; `interp discover` makes one", markup=False)
    else:
        empty = [column for column in found.columns if found[column].isna().all()]
        print_table(found.drop(columns=empty), f"runs in {folder}", rows=200)
