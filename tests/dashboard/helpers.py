"""Running a page without a browser."""

from pathlib import Path

from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

APP = Path(__file__).parents[2] / "apps" / "dashboard" / "server" / "app.py"
SECONDS = 120
"""Far above what any page needs: a shared machine may stand still for a while."""


def open_page(name: str, **keys: object) -> AppTest:
    """The app after one run of the page called so, with these keys in the address (`b_run` is `b.run`)."""
    test = AppTest.from_file(str(APP), default_timeout=SECONDS)
    for key, value in keys.items():
        test.query_params[key.replace("b_", "b.", 1) if key.startswith("b_") else key] = str(value)
    if name != "start":
        test._page_hash = calc_hash(name)  # AppTest switches to pages that are files only, and ours are functions
    return test.run()


def said(test: AppTest) -> str:
    """All text of the page."""
    parts = [*test.main.markdown, *test.main.caption, *test.main.text, *test.title, *test.subheader]
    return "\n".join(str(part.value) for part in parts)


def address(test: AppTest) -> dict[str, str]:
    """The keys in the address."""
    return {key: value if isinstance(value, str) else value[0] for key, value in test.query_params.items()}


def button(test: AppTest, label: str):
    """The one button with this label."""
    found = [item for item in test.button if item.label == label]
    assert len(found) == 1, f"{len(found)} buttons are called {label!r}: {[item.label for item in test.button]}"
    return found[0]
