"""One server and one Chromium for all browser tests; skipped, with the reason printed, where there is no Chromium.

`open_page("explore", m="garden/dyck-2l")` gives a `Window`: playwright's page with what went wrong in it collected, and
with helpers for clicks. Windows are wide; `open_page(..., width=420)` and `dark=True` make others.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.browser.window import ARGUMENTS, Window

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items):
    """Everything below this folder drives a browser."""
    for item in items:
        if Path(item.fspath).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


def chromium() -> str | None:
    """Where Chromium is: `$INTERP_CHROMIUM`, else the first of the usual names."""
    given = os.environ.get("INTERP_CHROMIUM")
    return given or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory) -> Path:
    """Where the server's jobs write."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def server(runs_folder) -> Iterator[str]:
    """The address of a dashboard that runs for the session."""
    if chromium() is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium, or set INTERP_CHROMIUM)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = runs_folder.parent / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "interp", "dashboard", "--port", str(port), "--runs", str(runs_folder)], cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=out, stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, log.read_text()
            try:
                with urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail(f"the dashboard did not start: {log.read_text()}")
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def browsers() -> Iterator[dict]:
    """Playwright and the contexts that were opened: {(dark, width): context}."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        contexts: dict = {}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield {"driver": driver, "contexts": contexts, "folder": folder}
            for context in contexts.values():
                context.close()


@pytest.fixture
def open_page(server, browsers) -> Iterator:
    """A function that opens a page of the dashboard in a window of its own and waits until it is drawn."""
    windows: list[Window] = []

    def opened(name: str = "", *, dark: bool = False, width: int = 1400, height: int = 1400, **keys) -> Window:
        contexts = browsers["contexts"]
        if (dark, width, height) not in contexts:
            contexts[dark, width, height] = browsers["driver"].chromium.launch_persistent_context(
                tempfile.mkdtemp(dir=browsers["folder"]), executable_path=chromium(), headless=True, args=ARGUMENTS,
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light",
                accept_downloads=True, permissions=["clipboard-read", "clipboard-write"],
            )
        query = urlencode({key.replace("b_", "b.", 1) if key.startswith("b_") else key: value
                           for key, value in keys.items()})
        name = "" if name == "start" else name
        window = Window(contexts[dark, width, height].new_page(), f"{server}/{name}" + (f"?{query}" if query else ""))
        windows.append(window)
        return window

    yield opened
    for window in windows:
        window.page.close()
