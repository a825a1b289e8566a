"""Writes the table of trained programs into docs/programs.md, from what stands beside them.

Run: python docs/generate_programs.py
"""

import json
from pathlib import Path

PAGE = Path(__file__).with_name("programs.md")
TRAINED = Path(__file__).parents[1] / "interp" / "garden" / "programs"
START, END = "<!-- trained programs -->", "<!-- end -->"
PAPER = {"reverse": "99.79", "hist": "100.0", "double_hist": "98.40", "sort": "99.83 (3 layers)", "most_freq": "75.69",
         "dyck1": "99.30", "dyck2": "99.09", "induction": "100"}
"""Table 1 of the paper: best of 5 seeds and 8 sizes, on its own sequences."""


def table() -> str:
    """One row a shipped program."""
    rows = ["| task | size | steps, seed | labels right, % | whole sequences right, % | paper |",
            "|---|---|---|---|---|---|"]
    for path in sorted(TRAINED.glob("*/metrics.json")):
        record = json.loads(path.read_text())
        c, scores = record["config"], record["scores"]
        size = (f"{c['n_layers']} layers, {c['cat_heads']}+{c['num_heads']} heads, "
                f"{c['cat_mlps']}+{c['num_mlps']} MLPs, {c['cardinality']} values")
        size += "" if c.get("published") else ", unit start"
        main = scores.get("f1") or scores["accuracy"]
        what = " (F1 of spans)" if "f1" in scores else ""
        whole = _percent(scores["whole"]) if "whole" in scores else ""
        rows.append(f"| {record['task']} | {size} | {c['steps']:,}, seed {record['seed']} | {_percent(main)}{what} "
                    f"| {whole} | {PAPER.get(record['task'], '')} |")
    shipped = {path.parent.name for path in TRAINED.glob("*/metrics.json")}
    missing = [task for task in PAPER if task not in shipped]
    rows += [f"| {task} | recipe only | not run | | | {PAPER[task]} |" for task in missing]
    return "\n".join(rows)


def _percent(score: dict) -> str:
    return f"{100 * score['value']:.2f} [{100 * score['low']:.2f}, {100 * score['high']:.2f}]"


def page() -> str:
    """The page with the table as it should be."""
    before, _, rest = PAGE.read_text().partition(START)
    return f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page())
