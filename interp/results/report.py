"""One HTML file that opens anywhere: no network, data escaped, a table with every figure."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.results.errors import BadInput
from interp.results.report_style import STYLE

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_MOST_ROWS = 200
# The browser itself then refuses any request, whatever a figure or a text holds.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Section:
    """A part of a report: heading, paragraphs (a blank line starts a new one), and a table, alone or beside a
    figure.

    Raises: BadInput for a figure without its table: not every reader sees a figure.
    """

    heading: str
    text: str = ""
    table: "pd.DataFrame | None" = None
    figure: "go.Figure | None" = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.figure is not None and self.table is None:
            raise BadInput(f'the figure of section "{self.heading}" needs its table, usually result.frame()')


def report_html(title: str, sections: Sequence[Section]) -> str:
    """The whole page.

    Everything from data is escaped; plotly.js (5 MB) is in it once, if there is a figure.
    """
    figures = any(section.figure is not None for section in sections)
    parts = [_section(section, i) for i, section in enumerate(sections)]
    links = "".join(
        f'<li><a href="#section-{i}">{html.escape(section.heading)}</a></li>'
        for i, section in enumerate(sections)
    )
    contents = f'<nav aria-label="Contents"><ol>{links}</ol></nav>' if len(sections) > 2 else ""
    return _page(title, contents + "\n".join(parts), figures)


def figure_page(title: str, figure: "go.Figure") -> str:
    """A page of one figure alone, offline."""
    return _page(title, f'<section><div class="figure">{_figure(figure, "figure")}</div></section>', True)


def _page(title: str, body: str, figures: bool) -> str:
    name = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{STYLE}</style>\n{_plotly() if figures else ''}</head>\n"
        f"<body>\n<main>\n<h1>{name}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script>\n"


def _section(section: Section, number: int) -> str:
    paragraphs = [
        f"<p>{html.escape(part.strip())}</p>" for part in section.text.split("\n\n") if part.strip()
    ]
    heading = html.escape(section.heading)
    note = f'<p class="note">{html.escape(section.note)}</p>' if section.note else ""
    table = "" if section.table is None else _table(section.table, section.heading)
    if section.figure is not None:
        drawn = _figure(section.figure, f"figure-{number}")
        drawn = f'<div class="figure" role="group" aria-label="Figure: {heading}">{drawn}</div>'
        table = f'<div class="pair">{drawn}{table}</div>'
    inside = "\n".join([f"<h2>{heading}</h2>", *paragraphs, table, note])
    return f'<section id="section-{number}">\n{inside}\n</section>'


def _figure(figure: "go.Figure", name: str) -> str:
    from interp.results.plots import FIGURE_CONFIG

    # A copy: the page decides the width, the figure object stays as it was.
    copy = type(figure)(figure).update_layout(width=None, autosize=True)
    height = copy.layout.height or 420
    return copy.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        default_height=f"{height}px",
        config=FIGURE_CONFIG,
    )


def _table(frame: "pd.DataFrame", caption: str) -> str:
    import pandas as pd

    shown = frame.head(_MOST_ROWS)
    numeric = [
        pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) for kind in frame.dtypes
    ]
    classes = [' class="number"' if is_number else "" for is_number in numeric]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(str(column))}</th>'
        for column, kind in zip(frame.columns, classes, strict=True)
    )
    rows = [
        "<tr>"
        + "".join(f"<td{kind}>{_cell(value)}</td>" for value, kind in zip(row, classes, strict=True))
        + "</tr>"
        for row in shown.itertuples(index=False, name=None)
    ]
    more = (
        f'<p class="note">The first {_MOST_ROWS} of {len(frame):,} rows.</p>'
        if len(frame) > len(shown)
        else ""
    )
    label, body = html.escape(f"Table: {caption}"), "\n".join(rows)
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{label}">\n'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n{more}</div>"
    )


def _cell(value: Any) -> str:
    import pandas as pd

    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return '<span class="absent">–</span>'
    return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))
