"""A window of the dashboard: playwright's page, what went wrong in it, and how our views are clicked.

A click is answered when the server gets to it, and streamlit marks its page as busy only then: no pause after a click
is long enough on a machine that stands still. So tests do not read once what a click should bring, they wait for it:

    window.shows("16 keep", thr="16")                         these texts, these keys of the address; all drawn then
    expect(window.page.locator("path.edge")).to_have_count(16)          playwright's own waiting, for anything else
"""

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import expect

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update"]
PATIENCE = 300_000
"""Milliseconds: far above any budget, since a shared machine may stand still; budgets are counts."""
expect.set_options(timeout=PATIENCE)
_IDLE = """document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'
  && !document.querySelector('[data-testid=stSkeleton]')"""
_HARMLESS = ("_stcore/health", "_stcore/host-config")  # streamlit asks below each page's own address first
_CELL = """([key, row, column]) => {
  const host = [...document.querySelectorAll(`.st-key-${key} *`)].find((e) => e.shadowRoot?.querySelector('.root'));
  const root = host.shadowRoot.querySelector('.root');
  root.scrollIntoView({block: 'center'});
  return root.cellAt(row, column);
}"""


class Window:
    """`page` is playwright's. `errors` are page and console errors, `outside` requests that left this machine."""

    def __init__(self, page: Any, address: str):
        self.page, self.errors, self.outside, self.bytes = page, [], [], 0
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)
        page.on("request", self._asked)
        page.on("websocket", lambda socket: socket.on("framereceived", self._received))
        page.goto(address)
        self.settle()

    def _heard(self, message: Any) -> None:
        place = message.location.get("url", "")
        if message.type == "error" and not place.endswith(_HARMLESS):
            self.errors.append(f"{message.text} {place}")

    def _asked(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.outside.append(request.url)

    def _received(self, content: Any) -> None:
        self.bytes += len(content)

    def settle(self) -> None:
        """Wait until the script has run and what it sent is drawn."""
        self.page.wait_for_selector("h1")
        quiet = 0
        while quiet < 3:  # a rerun may follow a rerun
            self.page.wait_for_function(_IDLE)
            self.page.wait_for_timeout(150)
            quiet = quiet + 1 if self.page.evaluate(_IDLE) else 0

    def shows(self, *texts: str, **keys: str | None) -> None:
        """Wait until the page has all these texts and the address these keys (None: not there), and all is drawn.

        Raises AssertionError with what is there instead when that never happens.
        """
        end = time.monotonic() + PATIENCE / 1000
        while missing := [text for text in texts if text not in self.text] + [
                f"{key}={value}" for key, value in keys.items() if self.keys.get(key) != value]:
            assert time.monotonic() < end, f"{missing} not on {self.page.url}, which shows: {self.text}"
            self.page.wait_for_timeout(100)
        self.settle()

    @property
    def keys(self) -> dict[str, str]:
        """The keys in the address."""
        return {key: values[0] for key, values in parse_qs(urlsplit(self.page.url).query).items()}

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return self.page.inner_text("[data-testid=stMain]")

    def count(self) -> int:
        """DOM nodes, those of our views' shadow roots too."""
        return self.page.evaluate("""() => {
            const walk = (root) => [...root.querySelectorAll('*')].reduce(
                (n, e) => n + 1 + (e.shadowRoot ? walk(e.shadowRoot) : 0), 0);
            return walk(document);
        }""")

    def click_cell(self, key: str, row: int, column: int) -> None:
        """Click a cell of the grid in the container with this key."""
        self.page.wait_for_selector(f".st-key-{key} canvas")
        self.page.wait_for_timeout(200)
        x, y = self.page.evaluate(_CELL, [key, row, column])
        self.page.mouse.click(x, y)
        self.settle()

    def click(self, what: str) -> None:
        """Click what a selector names, and wait."""
        self.page.locator(what).first.click()
        self.settle()

    def button(self, name: str) -> None:
        """Click the first button of this name, and wait."""
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.settle()

    def choose(self, name: str) -> None:
        """Click an option of a segmented control, a tab or an expander, and wait."""
        self.page.locator("[data-testid=stMain]").get_by_text(name, exact=True).first.click()
        self.settle()

    def go_to(self, title: str) -> None:
        """Go to a page by the navigation in the sidebar."""
        self.page.locator("[data-testid=stSidebarNav]").get_by_role("link", name=title).click()
        self.settle()

    def link(self, name: str, nth: int = 0) -> None:
        """Click a link of this name in the page itself, and wait."""
        self.page.locator("[data-testid=stMain]").get_by_role("link", name=name).nth(nth).click()
        self.settle()

    def download(self, selector: str) -> tuple[str, bytes]:
        """(name, content) of what a click saves."""
        with self.page.expect_download() as waited:
            self.page.locator(selector).first.click()
        found = waited.value
        with open(found.path(), "rb") as file:
            return found.suggested_filename, file.read()
