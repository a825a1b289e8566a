"""The pages, one line each: name in the address, title, section, icon. The file of that name has `page()`.

A line whose file does not exist yet is left out, so that pages can be added independently.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import streamlit as st


@dataclass(frozen=True)
class Page:
    """One page: `name` is its file in this folder and its address (the first one is at /)."""

    name: str
    title: str
    section: str
    icon: str

    @property
    def exists(self) -> bool:
        return (Path(__file__).parent / f"{self.name}.py").is_file()

    @property
    def draw(self) -> Callable[[], None]:
        """What draws it; imported now, so that a page that is broken does not take others with it."""
        return import_module(f"apps.dashboard.pages.{self.name}").page


PAGES = (
    Page("start", "Start", "Start", ":material/home:"),
    Page("explore", "Explore", "Look", ":material/grid_on:"),
    Page("lens", "Lens", "Look", ":material/layers:"),
    Page("patch", "Patch", "Test", ":material/swap_horiz:"),
    Page("disagreement", "Disagreement", "Test", ":material/call_split:"),
    Page("circuit", "Circuit", "Test", ":material/account_tree:"),
    Page("codes", "Codes", "Analyses", ":material/tag:"),
    Page("programs", "Programs", "Analyses", ":material/code:"),
    Page("icl", "In-context", "Analyses", ":material/school:"),
    Page("depth", "Depth", "Analyses", ":material/stacked_bar_chart:"),
    Page("architectures", "Architectures", "Compare", ":material/category:"),
    Page("compare", "Compare", "Compare", ":material/compare_arrows:"),
    Page("runs", "Runs", "Library", ":material/folder_open:"),
    Page("help", "Help", "Library", ":material/help:"),
)


def navigation() -> dict[str, list["st.Page"]]:
    """The pages by section, as `st.navigation` takes them, remembered for `target`."""
    from apps.dashboard import frame

    made = {page.name: st.Page(frame.around(page), title=page.title, icon=page.icon, url_path=page.name,
                               default=page is PAGES[0]) for page in PAGES if page.exists}
    st.session_state["pages"] = made
    sections: dict[str, list] = {}
    for page in PAGES:
        if page.name in made:
            sections.setdefault(page.section, []).append(made[page.name])
    return sections


def target(name: str) -> "st.Page":
    """A page to link to. Raises KeyError for one that is not there."""
    return st.session_state["pages"][name]


def there(name: str) -> bool:
    """Whether a page exists, for links to pages that may come later."""
    return name in st.session_state.get("pages", {})
