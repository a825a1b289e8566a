"""`python -m tutorials.build`: the notebooks of the percent scripts.

A script `NN_name.py` is the source (jupytext's percent format). Two kinds of cells are special: one tagged "exercise"
has a hole for the reader, the one tagged "solution" right behind it fills the hole. The notebook that ships,
`NN_name.ipynb`, shows the solution folded and does not run it; the solved notebook, which tests execute, runs it in the
exercise's place. As a plain script both run, the solution last.
"""

import argparse
from hashlib import sha256
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

HERE = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def scripts() -> list[Path]:
    """The sources in reading order."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def shipped(script: Path) -> NotebookNode:
    """The notebook for the reader: exercises with holes, solutions folded, no outputs."""
    return _with_ids([_folded(cell) if _is(cell, "solution") else cell for cell in _cells(script)])


def solved(script: Path) -> NotebookNode:
    """The notebook for the tests: solutions in the place of exercises."""
    return _with_ids([cell for cell in _cells(script) if not _is(cell, "exercise")])


def text(notebook: NotebookNode) -> str:
    """As a file; the same notebook gives the same text."""
    return nbformat.writes(notebook, version=4) + "\n"


def _cells(script: Path) -> list[NotebookNode]:
    cells = jupytext.read(script, fmt="py:percent").cells
    for before, cell in zip([None, *cells], cells):
        if _is(cell, "solution") and not (before is not None and _is(before, "exercise")):
            raise ValueError(f"{script.name}: a solution stands behind no exercise:\n{cell.source[:200]}")
    return cells


def _is(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _folded(cell: NotebookNode) -> NotebookNode:
    body = f"<details><summary>Solution</summary>\n\n```python\n{cell.source}\n```\n\n</details>"
    return nbformat.v4.new_markdown_cell(body)


def _with_ids(cells: list[NotebookNode]) -> NotebookNode:
    """Cell ids from place and content: the builder is a function, and a diff shows what changed."""
    for place, cell in enumerate(cells):
        cell.id = f"{place:02d}-{sha256(cell.source.encode()).hexdigest()[:8]}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})


def main() -> None:
    """Write the notebooks beside their scripts, or with --solved the solved ones into a folder."""
    parser = argparse.ArgumentParser(prog="python -m tutorials.build", description=__doc__.splitlines()[0])
    parser.add_argument("--solved", type=Path, metavar="FOLDER", help="write solved notebooks there instead")
    folder = parser.parse_args().solved
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    for script in scripts():
        path = (folder or HERE) / f"{script.stem}.ipynb"
        path.write_text(text(shipped(script) if folder is None else solved(script)))
        print(path)


if __name__ == "__main__":
    main()
