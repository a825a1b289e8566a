"""A plotly figure as a PNG file for the docs, drawn by a Chromium on the path; nothing is fetched."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from interp.results import plots

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def picture(figure, path: Path, width: int = 1200, height: int = 520) -> None:
    """Write `figure` to `path`. Raises RuntimeError where no browser is on the path."""
    browser = next((name for name in BROWSERS if shutil.which(name)), None)
    if browser is None:
        raise RuntimeError(f"a picture needs one of {', '.join(BROWSERS)} on the path")
    figure.update_layout(width=width, height=height)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "figure.html"
        config = plots.FIGURE_CONFIG | {"displayModeBar": False}
        drawn = figure.to_html(full_html=False, include_plotlyjs=True, config=config)
        page.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin: 0">{drawn}</body>')  # nothing cut
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=8000",
             f"--window-size={width},{height}", f"--screenshot={path}", page.as_uri()],
            check=True, capture_output=True, timeout=120,
        )
