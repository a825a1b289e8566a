import io
import re
import sys

import numpy as np
import pandas as pd
import plotly.io
import pytest

from interp.results import BadInput, Circuit, Estimate, Result
from interp.results.plots import curve_with_band, forest, heatmap
from interp.results.progress import progress, use_progress
from interp.results.report import Section, report_html

HOSTILE = '</script><img src=x onerror=alert(1)><bos> & "q"'


def page():
    figure = heatmap([[1.0, -2.0]], x=[HOSTILE, "a"], y=["<b>row</b>"], title=HOSTILE, unit="logits")
    table = pd.DataFrame({HOSTILE: [HOSTILE], "n": pd.array([None], dtype="Int64"), "v": [np.nan]})
    return report_html(
        HOSTILE, [Section(HOSTILE, HOSTILE, table, figure, HOSTILE), Section("two", "", table)]
    )


def test_report_escapes_data_and_holds_plotly_once():
    html = page()
    assert html.count("plotly.js v") == 1
    outside = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert "<img" not in outside and "<bos>" not in outside
    assert "&lt;bos&gt;" in outside


def test_report_asks_nothing_of_the_network():
    html = page()
    assert "default-src 'none'" in html
    outside = re.sub(r"<script>.*?</script>", "", html, flags=re.S)
    assert not re.search(r"https?://|<link|src=(?!x)|@import|url\(", outside)
    assert '"showSendToCloud": false' in html


def test_report_without_figures_is_small_and_deterministic():
    sections = [Section("a", "one\n\ntwo", pd.DataFrame({"x": range(500)}))]
    html = report_html("t", sections)
    assert len(html) < 100_000 and "first 200 of 500 rows" in html and html.count("<p>") == 2
    assert html == report_html("t", sections) and page() == page()


def test_figure_without_its_table_is_refused():
    with pytest.raises(BadInput, match="table"):
        Section("a", figure=heatmap([[1.0]]))


def test_plots_leave_the_global_template_alone():
    before = plotly.io.templates.default
    figure = curve_with_band([0, 1], [1, 2], [0, 1], [2, 3], name="a", x_title="depth")
    figure = curve_with_band([0, 1], [2, 2], [1, 1], [3, 3], name="b", figure=figure)
    assert plotly.io.templates.default == before
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [line.name for line in lines] == ["a", "b"] and len({line.line.dash for line in lines}) == 2
    assert len(figure.data) == 4
    with pytest.raises(BadInput):
        curve_with_band([0, 1], [1])


def test_heatmap_has_white_at_zero_and_keeps_equal_labels_apart():
    figure = heatmap([[1.0, np.nan, -4.0]], x=["Mary", "and", "Mary"], y=["a"])
    grid = figure.data[0]
    assert (grid.zmin, grid.zmax) == (-4, 4) and grid.colorscale[2] == (0.5, "#ffffff")
    assert figure.layout.xaxis.ticktext == ("Mary", "and", "Mary")
    assert heatmap(np.zeros((2, 2))).data[0].zmax == 1
    assert heatmap([[1.0, 2.0]], diverging=False).data[0].zmin == 0
    with pytest.raises(BadInput):
        heatmap([[1.0]], x=["a", "b"])


def test_forest_draws_estimates_without_intervals_too():
    shown = forest(
        {"a": Estimate(1, 0, 2, 9, "seeds", "bootstrap"), "b": Estimate(1, -np.inf, np.inf, 1, "seeds", "x")}
    )
    assert shown.data[0].error_x.array == (1, 0)


def test_circuit_is_a_result():
    assert isinstance(Circuit("m", "t", "a", (), {}), Result)


def test_progress_reports_to_a_sink_and_is_silent_otherwise(capsys):
    seen = []
    with use_progress(lambda *report: seen.append(report)):
        assert list(progress([5, 6], "heads")) == [5, 6]
        assert list(progress(iter("a"), "stream")) == ["a"]
    assert seen == [
        ("heads", 0, 2),
        ("heads", 1, 2),
        ("heads", 2, 2),
        ("stream", 0, None),
        ("stream", 1, None),
    ]
    assert list(progress(range(2), "quiet")) == [0, 1]
    assert capsys.readouterr() == ("", "")


def test_a_sink_cancels_by_raising():
    def cancel(_, done, __):
        if done == 2:
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt), use_progress(cancel):
        seen.extend(progress(range(9), "heads"))
    with use_progress(lambda *_: None):
        pass
    assert list(progress([1], "after")) == [1]


def test_progress_on_a_terminal_nests_stops_early_and_shows_brackets(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    for outer in progress(range(3), "outer z[head=1]"):
        for _ in progress(range(2), "inner"):
            pass
        if outer == 1:
            break
    drawn = sys.stderr.getvalue()
    assert "z[head=1]" in drawn and "inner" in drawn
    assert list(progress([1, 2], "again")) == [1, 2]
