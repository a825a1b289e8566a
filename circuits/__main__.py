"""`python -m circuits`: the circuits in `found/`, a line each; with `--readme` README.md gets the table too."""

import sys
from pathlib import Path

from circuits._run import FOUND
from interp.results import Circuit, Estimate
from interp.results.files import atomic_write

README = Path(__file__).parent / "README.md"
HEAD = ("circuit", "task", "model", "nodes kept", "held-out faithfulness", "clusters", "random, p", "seconds")
_BEGIN, _END = "<!-- begin: python -m circuits --readme -->\n", "<!-- end -->\n"


def row(name: str, circuit: Circuit) -> tuple[str, ...]:
    """What is said of one circuit, in the order of `HEAD`, from its file alone."""
    known = circuit.provenance
    tested = known["evaluation"]
    kept = f"{len(circuit.nodes)} of {len(circuit.scores)}"
    if "truth" in known:
        right = len({node.name for node in circuit.nodes} & set(known["truth"]))
        kept += f" ({right} of {len(known['truth'])} true)"
    # of the kinds of random circuits, the last is the one of which there are enough
    p = list(tested["random_p"].values())[-1]
    seconds = sum(known["timings"][step] for step in ("discover", "evaluate"))
    faithfulness = Estimate.from_dict(tested["faithfulness"])
    value, _, _ = str(faithfulness).partition(" (n=")
    model = str(known["model"]).partition(":")[0]
    return name, circuit.task, model, kept, value, str(faithfulness.n), f"{p:.2g}", f"{seconds:.0f}"


def table(found: Path = FOUND) -> list[tuple[str, ...]]:
    """A row for every circuit below `found`, by name."""
    return [row(path.stem, Circuit.load(path)) for path in sorted(found.glob("*.json"))]


def readme(text: str, rows: list[tuple[str, ...]]) -> str:
    """The text of README.md with its table made of these rows."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    lines = [HEAD, tuple("---" for _ in HEAD), *rows]
    return before + _BEGIN + "".join(f"| {' | '.join(line)} |\n" for line in lines) + _END + after


def main(arguments: list[str] | None = None) -> None:
    """Print the table; with --readme, write it into README.md."""
    from interp.commands.shared import stdout

    rows = table()
    if "--readme" in (sys.argv[1:] if arguments is None else arguments):
        atomic_write(README, readme(README.read_text("utf-8"), rows))
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    for line in (HEAD, *rows):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        stdout().print("  ".join(cells).rstrip(), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
