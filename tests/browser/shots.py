"""Pictures of pages: `python -m tests.browser.shots [PAGE ...] [--out DIR]`, light and dark, to be looked at.

Starts a server of its own; PAGE may carry keys: "circuit?run=dyck-2l-edges".
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from tests.browser.window import ARGUMENTS, Window

PORT = 8671


def main() -> None:
    """Take them."""
    from playwright.sync_api import sync_playwright

    from apps.dashboard.pages import PAGES
    from tests.browser.conftest import chromium

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", default=[page.name for page in PAGES if page.exists])
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1100)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([sys.executable, "-m", "interp", "dashboard", "--port", str(PORT), "--runs",
                                   f"{folder}/runs"], env=os.environ | {"OMP_NUM_THREADS": "1"})
        try:
            _wait()
            with sync_playwright() as driver:
                for scheme in ("light", "dark"):
                    context = driver.chromium.launch_persistent_context(
                        f"{folder}/{scheme}", executable_path=chromium(), headless=True, args=ARGUMENTS,
                        viewport={"width": given.width, "height": given.height}, color_scheme=scheme)
                    for page in given.pages:
                        name = page.partition("?")[0]
                        address = "" if page == "start" else page
                        window = Window(context.new_page(), f"http://127.0.0.1:{PORT}/{address}")
                        window.page.wait_for_timeout(1500)
                        _keep(window.page.screenshot(), given.out / f"{name}-{scheme}.png")
                        for trouble in (*window.errors, *window.outside):
                            print(f"{page}: {trouble}")
                        window.page.close()
                    context.close()
        finally:
            server.terminate()
            server.wait(30)


def _keep(png: bytes, path: Path) -> None:
    """The picture with 256 colours, which is a third of the size; by coverage, or the rare orange turns grey."""
    from PIL import Image

    whole = Image.open(io.BytesIO(png)).convert("RGB")
    whole.quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def _wait() -> None:
    for _ in range(240):
        try:
            with urlopen(f"http://127.0.0.1:{PORT}/_stcore/health", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("the dashboard did not start")


if __name__ == "__main__":
    main()
