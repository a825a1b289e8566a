"""Writes docs/tutorials.md, the list of notebooks with their goals: `python docs/generate_tutorials.py`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorials.md"
sys.path.insert(0, str(ROOT))

HEAD = """# Notebooks

Each takes at most two minutes on two cores. Before every result there is a prediction to make; exercises check
themselves, with solutions folded. Open them with `jupyter lab tutorials/` (`pip install jupyterlab`), or run a script
as it is: `python tutorials/01_look_inside.py`. The scripts are
the source; `python -m tutorials.build` makes the notebooks.

| notebook | goal, in the reader's words |
|---|---|
"""


def page() -> str:
    """The text of the page."""
    from tutorials.build import scripts, shipped

    rows = []
    for script in scripts():
        prose = "\n".join(cell.source for cell in shipped(script).cells[:2] if cell.cell_type == "markdown")
        title = re.search(r"^# (.+)$", prose, flags=re.M)[1]
        goal = re.search(r'\*\*Goal\.\*\* \*"(.+?)"\*', prose, flags=re.S)[1]
        rows.append(f"| [{title}](tutorials/{script.stem}.ipynb) | {' '.join(goal.split())} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
