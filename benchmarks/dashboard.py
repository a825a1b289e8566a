"""The dashboard in a real browser: seconds, bytes and DOM nodes of SmolLM2's grid, and the memory of four sessions.

The server runs as `interp dashboard` does, with as many threads as there are cores, Chromium beside it on the same
cores. Budgets of the design: the page drawn in 10 s cold (server just started, model not loaded), a click answered in
1.5 s, at most 2,500 DOM nodes and 100 KB a click. "Prompt" is when tokens are there, "all" when effects are drawn too.
Run: python -m benchmarks.dashboard (smollm2-135m fetched, playwright and Chromium there; two minutes); writes
benchmarks/results/dashboard.json.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from benchmarks.record import conditions, write
from benchmarks.timing import recording, show_rows
from tests.browser.conftest import chromium
from tests.browser.window import ARGUMENTS, Window

CLICKS = ((9, 2), (9, 3), (12, 5), (20, 0), (9, 2))  # the last one again: what is known is not computed anew
SESSIONS = (("garden/induction-2l", "induction"), ("garden/dyck-2l", "dyck"), ("garden/digits-vit", "digits"),
            ("smollm2-135m", "ioi"))


def started(folder: Path) -> tuple[subprocess.Popen, str]:
    """A server on a free port that answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "interp", "dashboard", "--port", str(port), "--runs", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            with urlopen(f"{address}/_stcore/health", timeout=2):
                return process, address
        except OSError:
            time.sleep(0.2)


def memory(process: subprocess.Popen) -> float:
    """Resident memory of the server and its children, MiB."""
    family, found = {process.pid}, 0.0
    stats = {int(path.name): (path / "stat").read_text().rpartition(")")[2].split()
             for path in Path("/proc").iterdir() if path.name.isdigit() and (path / "stat").exists()}
    for _ in range(3):
        family |= {pid for pid, stat in stats.items() if int(stat[1]) in family}
    for pid in family & set(stats):
        found += int(stats[pid][21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return found


def main() -> None:
    """Measure, print, and write."""
    from playwright.sync_api import sync_playwright

    before = conditions()
    with recording() as tables, sync_playwright() as playwright, tempfile.TemporaryDirectory() as runs:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        process, address = started(Path(runs))
        try:
            rows = [real_model(browser, address)]
            show_rows("SmolLM2's 30 x 9 heads, cold server", rows)
            rows, windows = [], []
            for model, task in SESSIONS:
                page = browser.new_context().new_page()
                windows.append(Window(page, f"{address}/explore?{urlencode({'m': model, 't': task})}"))
                rows.append({"sessions": len(windows), "opened": model, "server_MiB": round(memory(process))})
            show_rows("Memory of the server", rows)
        finally:
            process.terminate()
            process.wait(30)
    print(write("dashboard", before, tables))


def real_model(browser, address: str) -> dict:
    """Seconds to draw and to answer clicks, with the most bytes and DOM nodes."""
    page, began = browser.new_context().new_page(), time.monotonic()
    page.set_default_timeout(300_000)
    page.goto(f"{address}/explore?m=smollm2-135m&t=ioi")
    page.wait_for_selector(".st-key-clean-strip")
    prompt = time.monotonic() - began
    page.wait_for_selector(".st-key-heads-grid canvas")
    drawn = time.monotonic() - began
    window = Window(page, page.url)  # counts what comes over the wire from now on
    found, most_bytes = [], 0
    for cell in CLICKS:
        window.bytes, began = 0, time.monotonic()
        window.click_cell("heads-grid", *cell)
        found.append(time.monotonic() - began - 0.45)  # the pause by which `settle` tells that nothing follows
        most_bytes = max(most_bytes, window.bytes)
    return {"prompt_s": round(prompt, 1), "all_s": round(drawn, 1), "first_clicks_s": [round(s, 2) for s in found[:-1]],
            "click_again_s": round(found[-1], 2), "most_KB": round(most_bytes / 1000, 1), "dom_nodes": window.count()}


if __name__ == "__main__":
    main()
