"""mkdocs: the notebooks of `tutorials/` as pages of the site, and links to files of the repository left as text.

The notebooks are shown without outputs: they are made to be run.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)]+|[\w/]*\.(?:py|json))\)")


def on_files(files: Any, config: Any) -> Any:
    """Every built notebook under tutorials/."""
    for path in sorted((ROOT / "tutorials").glob("[0-9]*.ipynb")):
        files.append(File.generated(config, f"tutorials/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links that leave the documents say where the file is instead: the site has no copy of it."""
    return _LINK.sub(lambda found: f"{found[1]} (`{found[2].removeprefix('../')}`)", markdown)
