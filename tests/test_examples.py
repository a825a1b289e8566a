"""Every block of Python in the README and the documents runs, in the order of its page; the site builds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.M | re.S)
PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if BLOCK.search(page.read_text()))


def run_blocks(page: Path) -> int:
    """Execute the blocks of a page in one namespace; returns how many there were."""
    text, names = page.read_text(), {"__name__": page.stem}
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        above = text[: block.start(1)].count("\n")
        exec(compile("\n" * above + block[1], str(page), "exec"), names)  # so that a traceback has the page's lines
    return len(blocks)


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_blocks(ROOT / "README.md") >= 1


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_blocks(page) >= 1


def test_a_wrong_block_would_fail(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n\n```python\nassert 1 + 1 == 3\n```\n")
    with pytest.raises(AssertionError):
        run_blocks(page)


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=None)
    assert done.returncode == 0, done.stderr[-3000:]
    outside = [page for page in (tmp_path / "site").rglob("*.html")
               if re.search(r'<(?:script|link)[^>]+(?:src|href)="https?://(?!squidfunk)', page.read_text())]
    assert not outside, f"pages that load something from outside: {outside}"
