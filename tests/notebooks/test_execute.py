"""Every notebook runs from its first cell to its last with the solutions in, and its last cell asserts its story."""

import time

import pytest
from nbmake.nb_run import NotebookRun

from tests.notebooks.conftest import TUTORIALS
from tutorials.build import scripts, solved, text

QUICK = ("01_look_inside", "03_train_and_find_induction")
CASES = [pytest.param(script, id=script.stem, marks=() if script.stem in QUICK else pytest.mark.slow)
         for script in scripts()]


@pytest.mark.parametrize("script", CASES)
def test_solved_notebook_runs(script, tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("INTERP_TUTORIALS", "solved")
    monkeypatch.setenv("PYTHONPATH", str(TUTORIALS))
    path = tmp_path / f"{script.stem}.ipynb"
    path.write_text(text(solved(script)))
    start = time.perf_counter()
    result = NotebookRun(path, default_timeout=300).execute()
    record_property(f"notebook {script.stem}", time.perf_counter() - start)
    assert result.error is None, f"cell {result.error.failing_cell_index}: {result.error.summary}\n{result.error.trace}"


def test_a_failing_cell_fails_the_notebook(tmp_path):
    import nbformat

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    (tmp_path / "bad.ipynb").write_text(text(book))
    assert NotebookRun(tmp_path / "bad.ipynb", default_timeout=60).execute().error.failing_cell_index == 0
