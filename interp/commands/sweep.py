"""`interp sweep`: tasks x models x methods x seeds, each cell a run folder."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interp.commands.shared import (
    Debug,
    Json,
    Prompts,
    Seed,
    going_on,
    print_json,
    print_table,
    records,
    register,
    stdout,
)
from interp.commands.sweep_cells import CELLS, COLUMNS, Cell

if TYPE_CHECKING:
    import pandas as pd

    from interp.commands.sweep_engines import Ended

ENGINES = ("local", "ray")
_OURS = {CELLS, "tables", "figures", "report.html"}


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    register(
        app, sweep, "Find circuits over tasks x models x methods x seeds.",
        "interp sweep --task induction --model garden/induction-2l --method auto --method tangent --seeds 3 "
        "--out runs/sweep",
    )


def sweep(
    task: Annotated[
        list[str], typer.Option("--task", metavar="TASK", show_default=False, help="A task; repeat for more.")
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "--model", "-m", metavar="MODEL", show_default=False, help="A model, as in discover; repeat for more."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", show_default=False, help="Folder of the sweep; cells done in it are kept."
        ),
    ],
    method: Annotated[
        list[str], typer.Option("--method", metavar="NAME", help="A method, as in discover; repeat for more.")
    ] = ["auto"],  # noqa: B006 (typer reads it and changes nothing)
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="How many seeds, from --seed on.")] = 1,
    seed: Seed = 0,
    n: Prompts = 96,
    edges: Annotated[bool, typer.Option("--edges/--nodes", help="Circuits among edges instead of nodes.")] = False,
    budget: Annotated[
        int | None,
        typer.Option("--budget", metavar="N", min=1, show_default=False, help="What auto scores exactly."),
    ] = None,
    evaluate: Annotated[bool, typer.Option("--evaluate/--no-evaluate", help="Test them on held-out prompts.")] = True,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=0, help="Random circuits to compare with.")] = 200,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="local: this machine. ray: a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            "--address", metavar="HOST:PORT", show_default=False,
            help="Of a running Ray cluster, or auto; by default one is started on this machine.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, show_default=False,
            help="Cells at once: processes (local, by default none besides this one) or Ray tasks.",
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find and test circuits over tasks x models x methods x seeds.

    Each cell is the run folder that `interp discover` makes, below DIR/cells. A finished cell is never computed again,
    and a cell that was killed goes on where its files end: the same command takes a sweep up, a longer one extends it.
    A cell that fails is noted with its reason and the others go on; the exit code is then 1. DIR gets a table of these
    cells, a summary over seeds and report.html. With Ray on several machines, DIR must be a folder that they share.
    """
    from interp.commands.sweep_cells import cells, is_done, row
    from interp.results.errors import BadInput
    from interp.results.progress import progress

    _check(task, method, edges, engine, address)
    wanted = cells(
        task, model, method, range(seed, seed + seeds), n=n, edges=edges, budget=budget, evaluate=evaluate, draws=draws
    )
    if out.exists() and not (out.is_dir() and {item.name for item in out.iterdir()} <= _OURS):
        raise BadInput(f"{out} holds other things than a sweep: choose another folder")
    done = [cell for cell in wanted if is_done(cell, out)]
    left = [cell for cell in wanted if cell not in set(done)]
    rows = {cell: row(cell, out) for cell in done}
    with going_on(), redirect_stdout(sys.stderr):  # Ray prints there when a worker dies, and stdout is for results
        for cell, reason in progress(_ended(left, out, engine, address, workers), "cells", total=len(left)):
            if reason is None and not is_done(cell, out):
                reason = f"its folder is not in {out}: the machines of the cluster must share it"
            rows[cell] = row(cell, out, reason)
            _save_cells(wanted, rows, out)
    table, over_seeds = _save(wanted, rows, out)
    failed = int((table["status"] == "failed").sum())
    if as_json:
        print_json({"cells": records(table), "summary": records(over_seeds), "computed": len(left), "failed": failed,
                    "folder": str(out)})
    else:
        _print(table, over_seeds, len(left), failed, out)
    if failed:
        raise typer.Exit(1)


def _check(task: list[str], method: list[str], edges: bool, engine: str, address: str | None) -> None:
    """Raise BadInput for what would fail in every cell."""
    from interp.discovery.edges import check_edge_method
    from interp.discovery.methods import check_method
    from interp.results.errors import BadInput, nearest
    from interp.tasks import tasks

    known = [entry.name for entry in tasks()]
    for name in (text.partition(":")[0] for text in task):
        if name not in known:
            raise BadInput(f"there is no task {name!r}.{nearest(name, known)} There are: {', '.join(known)}")
    for name in method:
        (check_edge_method if edges else check_method)(name)
    if engine not in ENGINES:
        raise BadInput(f"there is no engine {engine!r}.{nearest(engine, ENGINES)} There are: {', '.join(ENGINES)}")
    if address is not None and engine != "ray":
        raise BadInput("--address is of a Ray cluster: add --engine ray")


def _ended(left: list[Cell], out: Path, engine: str, address: str | None, workers: int | None) -> "Ended":
    from interp.commands import sweep_engines

    if not left:
        return iter(())
    if engine == "ray":
        return sweep_engines.on_ray(left, out, address, workers)
    if (workers or 1) > 1:
        return sweep_engines.in_processes(left, out, workers)
    return sweep_engines.in_turn(left, out)


def _save_cells(wanted: Sequence[Cell], rows: dict[Cell, dict[str, Any]], out: Path) -> "pd.DataFrame":
    """The table of the cells that have ended, in the order in which they were asked for."""
    import pandas as pd

    from interp.results.folder import Folder

    table = pd.DataFrame([rows[cell] for cell in wanted if cell in rows], columns=COLUMNS)
    Folder(out).save_table("cells", table)
    return table


def _save(
    wanted: Sequence[Cell], rows: dict[Cell, dict[str, Any]], out: Path
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Both tables, the figure and the report, once all cells have ended."""
    from interp.commands.sweep_cells import summary
    from interp.results.folder import Folder
    from interp.results.report import Section

    table = _save_cells(wanted, rows, out)
    over_seeds = summary(table, out)
    folder, figure = Folder(out), _figure(over_seeds)
    folder.save_table("summary", over_seeds)
    folder.save_figure("faithfulness", figure)
    folder.save_report("Sweep", [
        Section("Over seeds", "Intervals are over seeds: other prompts, other splits.", over_seeds, figure),
        Section("Cells", "A folder each, as `interp discover` makes it.", table),
    ])
    return table, over_seeds


def _figure(over_seeds: "pd.DataFrame") -> Any:
    """Mean faithfulness of every task, model and method, with its interval over seeds."""
    import math

    from interp.results import Estimate
    from interp.results.plots import forest

    several = [key for key in ("task", "model", "method") if over_seeds[key].nunique() > 1] or ["method"]
    known = over_seeds.dropna(subset="faithfulness")
    estimates = {}
    for line in known.to_dict("records"):
        low, high = (-math.inf, math.inf) if math.isnan(line["low"]) else (line["low"], line["high"])
        name = ", ".join(str(line[key]) for key in several)
        estimates[name] = Estimate(line["faithfulness"], low, high, line["done"], "seeds", "bootstrap")
    figure = forest(estimates, title="Faithfulness on held-out prompts, mean over seeds", x_title="faithfulness")
    return figure.add_vline(x=1, line={"color": "#9aa3af", "width": 1, "dash": "dot"})


def _print(table: "pd.DataFrame", over_seeds: "pd.DataFrame", computed: int, failed: int, out: Path) -> None:
    shown = table.drop(columns=["cell", "reason"]).dropna(axis="columns", how="all")
    print_table(shown, "cells", rows=200)
    stdout().print()
    print_table(over_seeds.dropna(axis="columns", how="all"), "over seeds", rows=200)
    stdout().print()
    for line in table[table["status"] == "failed"].to_dict("records"):
        stdout().print(f"failed: {line['cell']}: {line['reason']}", markup=False, soft_wrap=True)
    stdout().print(f"{computed} cells computed now, {len(table) - computed} were there, {failed} failed")
    stdout().print(f"written to {out / 'report.html'}", soft_wrap=True)
