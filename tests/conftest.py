"""What every test runs under: one thread a process, a fixed seed, and hypothesis without a clock."""

import os
import sys
from pathlib import Path

# before torch: the workers of pytest-xdist share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from interp.adapters._torchvision import mend

if (root := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.insert(0, root)  # tests import each other as `tests.adapters.tiny`

mend()  # before anything imports transformers or timm
torch.set_num_threads(1)

# Shared machines are slow at times, so no example has a deadline; in CI the same examples come every time.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(autouse=True)
def _seeded():
    """Tests that forget a seed still repeat; the package itself never seeds globally."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (for libraries that draw from it)


def pytest_collection_modifyitems(items):
    """A set in `parametrize` gives every xdist worker another order, and the run dies before its first test."""
    for item in items:
        for mark in item.iter_markers("parametrize"):
            if len(mark.args) > 1 and isinstance(mark.args[1], (set, frozenset)):
                raise pytest.UsageError(f"{item.nodeid}: parametrize() was given a set; sort it, its order is random")


def pytest_terminal_summary(terminalreporter):
    """Seconds of every executed notebook; they travel from xdist's workers with the reports."""
    rows = [(name, value) for reports in terminalreporter.stats.values() for report in reports
            for name, value in getattr(report, "user_properties", ())
            if getattr(report, "when", "") == "call" and name.startswith("notebook ")]
    if rows:
        terminalreporter.write_sep("-", "notebooks, seconds")
        for name, seconds in sorted(rows):
            terminalreporter.write_line(f"{name.removeprefix('notebook '):40} {seconds:7.1f}")
