"""The documents say what the code says."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sorted(page.stem for page in (ROOT / "docs").glob("generate_*.py")))
def test_generated_pages_are_in_step(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), f"run: python docs/{name}.py"


def test_sites_page_names_every_kind_once():
    from interp.hooks.vocabulary import KINDS

    named = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "sites.md").read_text(), flags=re.M)
    assert sorted(named) == sorted(KINDS)


def test_documents_name_files_that_exist():
    for page in (ROOT / "README.md", ROOT / "docs" / "architecture.md"):
        text = page.read_text()
        paths = set(re.findall(r"`((?:interp|docs|tests|tutorials|benchmarks)/[\w/.-]+)`", text))
        paths |= {link for link in re.findall(r"\]\(([\w/.-]+)\)", text)}
        missing = [path for path in paths if not (ROOT / path).exists() and not (page.parent / path).exists()]
        assert not missing, f"{page.name} names {missing}"


def test_commands_of_the_readme_exist():
    from interp.cli import app

    commands = {command.callback.__name__ for command in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    used = set(re.findall(r"^\$? ?interp ([a-z]+)", (ROOT / "README.md").read_text(), flags=re.M))
    assert used and used <= commands
