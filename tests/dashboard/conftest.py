"""Pages run on the runs of a folder of their own."""

import pytest


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    """Where this test's runs are written."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("INTERP_RUNS", str(folder))
    return folder
