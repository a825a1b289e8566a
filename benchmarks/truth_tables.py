"""The tables of `benchmarks.truth`: means over cases with intervals over programs, on the screen and as a page."""

from collections.abc import Callable, Iterable

import numpy as np

from benchmarks.timing import show_rows
from interp.discovery.truth import over_programs
from interp.results.estimate import Estimate

ORACLES = {"scores": ("ablation", "auto"), "edges": ("auto", "path-patching")}
"""Methods that are, or hold, the intervention by which the compiler checks that its negatives have no effect."""
TRAPS = ("distractor", "reader", "cancel", "duplicate", "backup", "and", "or", "xor")
Row = dict
NODE, EDGE = "scores", "edges"
SUBSETS: dict[str, Callable[[Row], bool]] = {
    "all": lambda row: True,
    **{trap: (lambda row, trap=trap: row["trap"] == trap) for trap in TRAPS},
    "rotated": lambda row: row["rotated"], "not rotated": lambda row: not row["rotated"],
    "no norm": lambda row: row["norm"] == "none", "LayerNorm": lambda row: row["norm"] == "layernorm",
    "RMSNorm": lambda row: row["norm"] == "rmsnorm",
    "library": lambda row: row["kind"] == "library", "random programs": lambda row: row["kind"] == "random",
}
Lines = list[dict]


def mean(rows: Iterable[Row], part: str, method: str, what: str) -> Estimate | None:
    """Mean of one measure of one method over the rows that have it; None where none has."""
    held = [(row[part][method][what], row["base"]) for row in rows if row[part].get(method, {}).get(what) is not None]
    return over_programs(*zip(*held)) if held else None


def lines(rows: list[Row], part: str, columns: dict[str, tuple[str, str]]) -> Lines:
    """One line a method: the oracles, without a rank, then the others from the best; `columns` are heading ->
    (measure, subset of the cases)."""
    known = dict.fromkeys(name for row in rows for name in row[part])
    methods = sorted(known, key=lambda name: (name not in ORACLES[part], -mean(rows, part, name, "AUPRC").value))
    found = []
    for name in methods:
        rank = 1 + sum("oracle" != line["rank"] for line in found)
        line = {"rank": "oracle" if name in ORACLES[part] else rank, "method": name}
        for heading, (what, subset) in columns.items():
            chosen = list(filter(SUBSETS[subset], rows))
            if what == "cases":
                line[heading] = sum(name in row[part] for row in chosen)
            else:
                line[heading] = text(mean(chosen, part, name, what))
        found.append(line)
    return found


def text(e: Estimate | None) -> str:
    """0.991 [0.985, 0.996]; one program has no interval."""
    if e is None:
        return ""
    return f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" if np.isfinite(e.low) else f"{e.value:.3f}"


OVERALL = {"AUPRC": ("AUPRC", "all"), "AUROC": ("AUROC", "all"), "precision at size": ("precision at size", "all")}
CASES = {"cases": ("cases", "all")}
BY_TRAP = {trap: ("AUPRC", trap) for trap in TRAPS}
BY_STREAM = {name: ("AUPRC", name) for name in ("not rotated", "rotated", "no norm", "LayerNorm", "RMSNorm")}
BY_CLASS = {"AUROC against distractors": ("distractor", "all"), "AUROC against readers": ("reader", "all"),
            "AUPRC, library": ("AUPRC", "library"), "AUPRC, random programs": ("AUPRC", "random programs")}


def tables(rows: list[Row], iterated: Lines) -> dict[str, Lines]:
    """Every table by its title."""
    found = {
        "Nodes": lines(rows, NODE, OVERALL), "Nodes: AUPRC by hard case": lines(rows, NODE, BY_TRAP),
        "Nodes: AUPRC by stream": lines(rows, NODE, BY_STREAM),
        "Nodes: by class of the negatives, by kind of program": lines(rows, NODE, BY_CLASS),
    }
    every = max((set(row[EDGE]) for row in rows), key=len)
    found |= {
        "Edges": lines(rows, EDGE, OVERALL | CASES),
        "Edges, on the cases that all methods were run on": lines(
            [row for row in rows if set(row[EDGE]) == every], EDGE, OVERALL | CASES),
        "Edges: AUPRC by hard case": lines(rows, EDGE, BY_TRAP), "Edges: AUPRC by stream": lines(rows, EDGE, BY_STREAM),
    }
    return found | {"One pass of cdt and the iterated search": one_pass(iterated), "Silent members": silent(rows),
                    "Cases": counts(rows), "Seconds": seconds(rows)}


def silent(rows: list[Row]) -> Lines:
    """`auto` and `ablation` on cases with and without members that no single exchange can show."""
    found = []
    for name, chosen in (("none", [r for r in rows if not r["silent"]]), ("some", [r for r in rows if r["silent"]])):
        if chosen:
            perfect = sum(row[NODE]["auto"]["AUPRC"] == 1 for row in chosen)
            found.append({
                "silent members": name, "cases": len(chosen), "silent": sum(row["silent"] for row in chosen),
                "members": sum(row["members"] for row in chosen), "auto at 1": perfect,
                "auto, AUPRC": text(mean(chosen, NODE, "auto", "AUPRC")),
                "lowest": f"{min(row[NODE]['auto']['AUPRC'] for row in chosen):.3f}",
                "ablation, AUPRC": text(mean(chosen, NODE, "ablation", "AUPRC")),
            })
    return found


def one_pass(iterated: Lines) -> Lines:
    """AUPRC and precision at size of each method on each program, mean over draws of distractors and prompts."""
    found = []
    for program, method in dict.fromkeys((row["program"], row["method"]) for row in iterated):
        mine = [row for row in iterated if (row["program"], row["method"]) == (program, method)]
        line = {"program": program, "method": method}
        for what in ("AUPRC", "precision at size", "AUROC"):
            line[what] = text(over_programs([row[what] for row in mine], [row["seed"] for row in mine]))
        found.append(line)
    return found


def counts(rows: list[Row]) -> Lines:
    """What the cases hold, by hard case and in all."""
    found = []
    for name in (*TRAPS, "all"):
        mine = list(filter(SUBSETS[name], rows))
        if mine:
            found.append({
                "cases": name, "n": len(mine), "programs": len({row["base"] for row in mine}),
                "nodes": sum(row["nodes"] for row in mine), "in the truth": sum(row["members"] for row in mine),
                "readers": sum(row["readers"] for row in mine), "idle, in the truth": sum(r["idle"][0] for r in mine),
                "idle, outside": sum(row["idle"][1] for row in mine), "edges": sum(r["edge counts"][1] for r in mine),
                "edges in the truth": sum(row["edge counts"][0] for row in mine),
                "idle edges of the truth": sum(row["edge counts"][2] for row in mine),
            })
    return found


def seconds(rows: list[Row]) -> Lines:
    """Median CPU milliseconds a case takes, by method."""
    known = dict.fromkeys(name for row in rows for name in row["seconds"])
    spent = {name: np.median([row["seconds"][name] for row in rows if name in row["seconds"]]) for name in known}
    return [{"method": name, "median CPU ms a case": round(1e3 * float(time), 1)} for name, time in spent.items()]


def show(rows: list[Row], iterated: Lines) -> None:
    """Print and keep every table."""
    for title, table in tables(rows, iterated).items():
        show_rows(title, table)


def markdown(table: Lines) -> str:
    """A table of rows as Markdown."""
    head = list(table[0])
    body = [[str(cell) for cell in row.values()] for row in table]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body))
