"""docs/codebook_results.md from benchmarks/results: what codebooks reach, as measured, with seeds and intervals.

Run: python -m benchmarks.codebook_page (after any of tokfsm, codebook_text, codebook_architectures and codebook)
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS
from interp.results.files import atomic_write

PAGE = Path(__file__).parents[1] / "docs" / "codebook_results.md"
COLUMNS = ("bits", "live", "live_precision", "live_good", "precision_matched", "precision_0.5", "precision_0.9",
           "one_f1", "union_precision", "union_recall")


def number(value: Any, digits: int = 3) -> str:
    """A number, an estimate with its interval, or a dash for none."""
    if isinstance(value, dict):
        return f"{value['value']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"
    if isinstance(value, float):
        return "-" if value != value else f"{value:.{digits}f}" if abs(value) < 100 else f"{value:,.0f}"
    return "-" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def table(rows: list[dict], columns: list[str] | None = None) -> str:
    """Rows as a Markdown table."""
    columns = columns or list(rows[0])
    lines = [columns, ["---"] * len(columns), *[[number(row.get(name)) for name in columns] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tokfsm(tables: list[dict]) -> Iterator[str]:
    """TokFSM with 25 states: every seed, the rivals over seeds, circuits, patching, stability."""
    cells = [cell for cell in tables if "state accuracy" in cell and "key" in cell]
    if not cells:
        return
    yield "## TokFSM, 25 states: what books cost"
    yield table([{"setting": c["key"]["name"], "seed": c["key"]["seed"], "state accuracy": c["state accuracy"],
                  "of its base": c["of the base"], "loss": c["scores"]["loss"],
                  "without books": c["scores"]["loss without books"]} for c in cells])
    yield "Intervals are over sequences. `heads`: 100 codes a head; `heads and MLPs`: 500 codes a book; k = 1."
    for found in tables:
        if "rivals of" in found:
            yield (f"### Detectors of states, {found['rivals of']}: means over seeds {found['seeds']}, "
                   "least and largest in brackets")
            rows = [{"site": r["site"].removeprefix("blocks."), "detector": r["detector"]} | {
                name: _range(r, name) for name in COLUMNS} for r in found["rows"]]
            yield table(rows)
    if singles := [t for t in tables if "all neurons" in t]:
        yield "### The best single neuron of all layers"
        yield table([{"seed": c["key"]["neurons of seed"]} | row for c in singles for row in c["all neurons"]])
    if patched := [c for c in cells if "patched" in c]:
        yield "### State codes of b put into the run on a: divergence from the run on b, over that of a (0: as b)"
        yield table([{"seed": c["key"]["seed"]} | c["patched"] for c in patched])
        yield "### Code circuits against codes that were suppressed in truth"
        yield table([{"seed": c["key"]["seed"]} | row for c in patched for row in c["circuits"]])
    for found in tables:
        if found.get("stability"):
            yield "### Stability: share of tokens that a code and the code most like it of another seed have in common"
            yield table([row | {"seeds": f"{row['seeds'][0]} in {row['seeds'][1]}"} for row in found["stability"]])


def _range(row: dict, name: str) -> str:
    value, low, high = (row.get(key) for key in (name, f"{name} low", f"{name} high"))
    if value is None:
        return "-"
    return number(value) if name in ("bits", "live") or low == high else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def tokfsm_paper(cells: list[dict]) -> Iterator[str]:
    """TokFSM at the paper's size: after how many steps, what."""
    yield "## TokFSM, 100 states: the paper's machine on a smaller model, seed 0"
    yield table([{"books": c["key"]["books"], "steps": c["key"]["steps"], "state accuracy": c["state accuracy"]} | {
        name: c.get("scores", {}).get(name) for name in ("loss", "loss without books")} for c in cells])
    yield ("Of each state the code that is most precise on one half of 2,048 sequences, scored on the other: means "
           "over states.")
    yield table([{"books": c["key"]["books"], "steps": c["key"]["steps"], "site": site, "live": use["live"]} | found
                 for c in cells if "detectors" in c
                 for use, (site, (found, *_)) in zip(c["books"], c["detectors"].items(), strict=True)],
                ["books", "steps", "site", "live", "selected_precision", "precision", "recall", "f1",
                 "union_precision", "union_recall"])


def text(tables: list[dict]) -> Iterator[str]:
    """Real text: loss, blind reading, steering."""
    begun = {(c["key"]["model"], c["key"]["seed"]): c["scores"] for c in tables if c["key"]["what"] == "k-means"}
    for cell in tables:
        model, what, seed = cell["key"]["model"], cell["key"]["what"], cell["key"]["seed"]
        if what == "k-means":
            continue
        if what == "report":
            yield f"## {model}: 1,024 codes a head, k = 8, seed {seed}"
            yield table([{"score": name, "trained": score, "k-means only": begun[model, seed].get(name)}
                         for name, score in cell["scores"].items()])
            yield table(cell["books"], ["site", "live", "dead", "effective", "unexplained", "cosine"])
            yield (f"Blind reading of 100 random codes of the {cell['eligible']:,} (of {cell['live']:,} live) that are "
                   f"active often enough: mean AUC {number(cell['blind'])}, from random contexts "
                   f"{number(cell['blind, random contexts'])}; {cell['auc of 0.8 or more']:.0%} have 0.8 or more.")
            for name in ("best ten", "worst ten"):
                yield f"### The {name}"
                yield table([{"code": f"{r['site']}:{r['group']}:{r['code']}", "auc": r["auc"],
                              "share": r["share"], "shown": "; ".join(r["shown"][:4])} for r in cell[name]])
        else:
            yield f"## Steering {model} towards {what} (`{cell['pattern']}`), seed {seed}"
            yield table([{"way": r["way"], "topic": {"value": r["topic"], "low": r["low"], "high": r["high"]},
                          "perplexity": r["perplexity"], "addition at this perplexity": r["addition there"]}
                         for r in cell["ways"]])
            yield table(cell["side by side"], ["way", "text", "perplexity"])


def architectures(tables: list[dict]) -> Iterator[str]:
    """Codes beyond the vanilla decoder."""
    yield "## Four architectures, seed 0"
    rows = []
    for cell in tables:
        for site, found in cell["purity"].items():
            best = next((d for d in cell.get("detectors", []) if d["site"] == site), {})
            scores = cell.get("scores", {})
            rows.append({
                "model": cell["key"]["model"], "site": site, "live": found["live"], "purity": found["purity"],
                "shuffled": found["shuffled"], "detector precision": best.get("precision"),
                "recall": best.get("recall"), "with books": cell.get("with books", scores.get("accuracy")),
                "without": cell.get("state accuracy", scores.get("accuracy without books")),
                "loss recovered": scores.get("loss recovered")})
    yield table(rows)
    for cell in tables:
        for name, found in cell.items():
            if name.startswith("regex") and found:
                yield f"{cell['key']['model']}, {name}:"
                yield table(found[:3], ["site", "group", "code", "precision", "recall", "f1", "activations", "matches"])
        if cell.get("examples"):
            yield "Examples: " + "; ".join(number(example) for example in cell["examples"])


def cost(tables: list[dict]) -> Iterator[str]:
    """Speed, each against the first row of its table."""
    yield "## Cost (ratios within one run, one thread)"
    for found in tables:
        yield f"### {found['title']}"
        yield table(found["rows"])


RENDERED = {"tokfsm": tokfsm, "tokfsm_paper": tokfsm_paper, "codebook_text": text,
            "codebook_architectures": architectures, "codebook": cost}


def main() -> None:
    """Write the page from what is there."""
    parts = ["# Codebooks: results", "Generated by `python -m benchmarks.codebook_page`; what it means is in "
             "[codebook.md](codebook.md), what each column is in the docstrings of `interp.codebook.comparison`. The "
             f"numbers were measured by {', '.join(f'`benchmarks.{name}`' for name in RENDERED)}."]
    for name, render in RENDERED.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            parts += list(render(json.loads(path.read_text())["tables"]))
    atomic_write(PAGE, "\n\n".join(parts) + "\n")
    print(f"wrote docs/{PAGE.name}")


if __name__ == "__main__":
    main()
