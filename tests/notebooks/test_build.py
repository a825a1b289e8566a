"""The notebooks are their scripts, and every one has what a lesson needs."""

import re

import pytest

from tutorials.build import scripts, shipped, solved, text

NAMES = [script.stem for script in scripts()]


@pytest.mark.parametrize("script", scripts(), ids=NAMES)
def test_notebooks_are_in_step(script):
    assert script.with_suffix(".ipynb").read_text() == text(shipped(script)), "run: python -m tutorials.build"


@pytest.mark.parametrize("script", scripts(), ids=NAMES)
def test_a_lesson_has_its_parts(script):
    cells = shipped(script).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    sections = re.split(r"^## (?=\d)", prose, flags=re.M)[1:]
    assert prose.startswith(f"# {script.stem[:2]} · ") and "**Goal.**" in prose
    assert len(sections) >= 3
    assert all("**Predict.**" in section for section in sections), "a prediction in every section"
    exercises = re.findall(r"^### Exercise \d+: .+\(difficulty [1-5] of 5, \d+ minutes\)$", prose, flags=re.M)
    assert len(exercises) >= 2 and len(exercises) == prose.count("<details><summary>Solution</summary>")
    assert sum("raise NotImplementedError" in cell for cell in code) == len(exercises)
    assert sum(bool(re.match(r"checks\.\w+\(", cell)) for cell in code) == len(exercises), "every exercise is checked"
    assert prose.count("## What could fool you") == 1 and any("dashboard(" in cell for cell in code)
    assert len(re.findall(r"^\d\. ", prose.split("## Take away")[1], flags=re.M)) == 3
    assert code[-1].count("assert ") >= 2, "the last cell asserts the story"


@pytest.mark.parametrize("script", scripts(), ids=NAMES)
def test_every_section_has_a_picture(script):
    pictures, section = {}, None
    for cell in solved(script).cells:
        if cell.cell_type == "markdown" and (found := re.match(r"## (\d+)\.", cell.source)):
            section = found[1]
            pictures[section] = 0
        elif section and cell.cell_type == "code":
            pictures[section] += cell.source.count(".show(") + cell.source.count("display(")
    missing = [section for section, count in pictures.items() if not count]
    assert not missing, f"sections without a picture: {missing}"
