"""`interp compare`: what circuits have in common."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interp.commands.shared import Debug, Json, Out, Seed, print_json, print_table, records, register, stdout

if TYPE_CHECKING:
    from interp.discovery import Comparison
    from interp.results.report import Section

MOST_FIGURES = 15  # pairs that get a figure in the report: six circuits


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    register(
        app, compare, "Say what circuits have in common.", "interp compare runs/auto runs/tangent",
        "interp compare circuits/found/ioi.json runs/ioi-later/circuit.json",
    )


def compare(
    circuits: Annotated[
        list[Path],
        typer.Argument(help="Two or more circuit.json files, or the run folders they are in.", metavar="A B [C ...]"),
    ],
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what circuits have in common, across methods, models, checkpoints and architectures.

    For every pair: members and edges in common, against what chance gives at that size and at the same depths; the
    rank correlation of the scores; and the share of the scores at each relative depth and kind of node, which is all
    that can be compared between models whose nodes differ. Where an evaluation lies beside a circuit, its faithfulness
    is shown. The folder gets tables, a figure for every pair and report.html.
    """
    from interp.commands.opened import open_run
    from interp.discovery import compare as compare_circuits

    found = compare_circuits(*circuits, seed=seed)
    with open_run(out, "compare", {"circuits": [str(path) for path in circuits]}, seed, False) as run:
        found.save(run)
        run.save_report("Circuits compared", _sections(found))
    if as_json:
        print_json({"circuits": records(found.evidence()), "pairs": records(found.frame()), "run": str(run.path)})
        return
    print_table(found.evidence().drop(columns="origin").dropna(axis="columns", how="all"), "circuits")
    for given in found.circuits:
        stdout().print(f"{given.name}: {given.origin}", markup=False, soft_wrap=True)
    stdout().print()
    for (a, b), rows in found.frame().groupby(["a", "b"], sort=False):
        print_table(rows.drop(columns=["a", "b", "note"]).dropna(axis="columns", how="all"), f"{a} and {b}")
        for note in dict.fromkeys(rows["statistic"] + ": " + rows["note"]):
            stdout().print(f"  {note}", markup=False, soft_wrap=True)
        stdout().print()
    stdout().print(f"written to {run.path / 'report.html'}", soft_wrap=True)


def _sections(found: "Comparison") -> "list[Section]":
    from itertools import combinations

    from interp.results.report import Section

    said = (
        "Members in common are compared with every choice of as many nodes, and with every choice that has as many at "
        "each depth: `expected` is what these have in common, p the share of them that have as much. Intervals of rank "
        "correlations are over nodes: they say how much the number hangs on single ones, not what other prompts would "
        "give."
    )
    parts = [
        Section("The circuits", "Faithfulness is from the evaluation that lies beside a circuit.", found.evidence()),
        Section("What they have in common", said, found.frame()),
    ]
    pairs = list(combinations(range(len(found.circuits)), 2))
    for i, j in pairs[:MOST_FIGURES]:
        a, b = found.circuits[i].name, found.circuits[j].name
        matched = found.matched(i, j)
        text = "" if matched else "These models have other nodes, which cannot be matched: only where they lie can."
        table = found.nodes(i, j) if matched else found.frame().query("a == @a and b == @b")
        parts.append(Section(f"{a} and {b}", text, table, found.figure(i, j)))
    if len(pairs) > MOST_FIGURES:
        parts.append(Section("The other pairs", f"{len(pairs) - MOST_FIGURES} more figures are in figures/."))
    return parts
