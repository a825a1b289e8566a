"""Writes docs/api.md, the public names with the text of their docstrings: `python docs/generate_api.py`.

The site fills every `:::` from the source (mkdocstrings); here only the lists are made, from what the packages export.
"""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
sys.path.insert(0, str(ROOT))

PACKAGES = (
    "interp.depth", "interp.lens", "interp.codebook", "interp.programs", "interp.programs.compile", "interp.icl",
    "interp.surgery", "interp.results",
)


def page() -> str:
    """The text of the page."""
    import interp

    lines = ["# Python", "",
             "Every public name. `import interp` loads nothing; a name is imported when it is first used.",
             "", "## interp", ""]
    lines += _entries(interp)
    for package in PACKAGES:
        module = importlib.import_module(package)
        lines += ["", f"## {package}", "", (module.__doc__ or "").strip().split("\n\n")[0], "", *_entries(module)]
    return "\n".join(lines) + "\n"


def _entries(module) -> list[str]:
    """`::: where.it.is.defined` of everything callable that the module exports."""
    rows = []
    if not hasattr(module, "__all__"):  # a package of modules that are imported by their own names
        files = sorted(Path(module.__file__).parent.glob("[a-z]*.py"))
        return [f"::: {module.__name__}.{path.stem}" for path in files]
    for name in sorted(module.__all__, key=str.lower):
        value = getattr(module, name)
        value = getattr(value, "__wrapped__", value)  # a package that is called like a function
        home = getattr(value, "__module__", None)
        if callable(value) and home and home.startswith("interp"):
            rows.append(f"::: {home}.{getattr(value, '__qualname__', name)}")
    return rows


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
