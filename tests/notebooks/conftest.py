"""The notebooks' own imports (`lesson`, `checks`), and a table of how long each took."""

import sys
from pathlib import Path

TUTORIALS = Path(__file__).parents[2] / "tutorials"
if str(TUTORIALS) not in sys.path:
    sys.path.insert(0, str(TUTORIALS))


def pytest_terminal_summary(terminalreporter):
    """Seconds of every executed notebook; they travel from xdist's workers with the reports."""
    rows = [(name, value) for reports in terminalreporter.stats.values() for report in reports
            for name, value in getattr(report, "user_properties", ())
            if getattr(report, "when", "") == "call" and name.startswith("notebook ")]
    if rows:
        terminalreporter.write_sep("-", "notebooks, seconds")
        for name, seconds in sorted(rows):
            terminalreporter.write_line(f"{name.removeprefix('notebook '):40} {seconds:7.1f}")
