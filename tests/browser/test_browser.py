"""The dashboard in a real browser: what a person clicks, and what only a browser can get wrong."""

import io
import json
from urllib.parse import quote

import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import expect

from apps.dashboard.pages import PAGES
from apps.dashboard.state import KEYS
from tests.dashboard.test_state import BAD, GOOD

THERE = [page.name for page in PAGES if page.exists]
MOST_NODES = 2500
MOST_BYTES = 100_000


def sound(window) -> None:
    """No error on the page, nothing asked of another machine, no card of an error."""
    assert window.errors == [] and window.outside == []
    assert "Cannot show" not in window.text


@pytest.mark.parametrize("name", THERE)
def test_every_page_opens_without_errors_and_without_a_request_to_elsewhere(open_page, name):
    window = open_page(name)
    sound(window)
    assert window.count() <= MOST_NODES


def test_the_main_flow_by_clicks(open_page, runs_folder):
    window = open_page()
    window.link("Explore")  # 1: the first task
    expect(window.page.locator("h1")).to_contain_text("Explore")
    window.click_cell("heads-grid", 0, 2)  # 2: the strongest head
    window.shows(h="L0H2")
    window.button("Knock out")  # 3
    window.shows("nobody looked at", "shrinkage")
    window.button("Find the circuit")  # 4
    window.page.wait_for_selector(".st-key-circuit-grid canvas")
    window.shows("faithfulness")
    run = window.keys["run"]
    assert (runs_folder / run / "circuit.json").is_file()
    window.button("Save and copy the link")  # 5
    window.page.locator("[data-testid=stPopoverBody]").get_by_role("button", name="Copy the link").click()
    window.page.get_by_text("Copied.").wait_for()
    link = window.page.evaluate("navigator.clipboard.readText()")
    assert f"run={run}" in link
    sound(window)
    window.page.goto(link)
    window.shows("faithfulness", run=run)


def test_grid_clicks_and_arrow_keys_choose_nodes_and_escape_lets_go(open_page):
    window = open_page("explore")
    window.click_cell("heads-grid", 1, 1)
    window.shows(h="L1H1")
    for key, node in (("ArrowRight", "L1H2"), ("ArrowUp", "L0H2"), ("ArrowLeft", "L0H1")):
        window.page.keyboard.press(key)
        window.shows(h=node)
    window.page.keyboard.press("Escape")
    window.shows(h=None)
    sound(window)


def test_a_token_is_chosen_by_click_and_by_keyboard(open_page):
    window = open_page("explore", h="L0H2")
    tokens = window.page.locator(".st-key-clean-strip button")
    tokens.nth(5).click()
    window.shows(pos="5")
    expect(tokens.nth(5)).to_have_attribute("aria-pressed", "true")
    tokens.nth(7).focus()
    window.page.keyboard.press("Enter")
    window.shows(pos="7")
    sound(window)


def test_node_and_edge_clicks_on_the_graph(open_page):
    window = open_page("circuit", run="induction-2l-edges")
    graph = window.page.locator(".st-key-circuit-graph")
    graph.locator("g.node[data-id='node:L1H2']").click()
    window.shows("Knock it out on held-out prompts", h="L1H2")
    graph.locator("path.edge[data-id='edge:L0H2 -> L1H1 (k)']").focus()
    window.page.keyboard.press("Enter")
    window.shows("Cut it on held-out prompts", e="L0H2 -> L1H1 (k)", h=None)
    sound(window)


def test_the_slider_shows_more_edges_and_says_what_they_keep(open_page):
    window = open_page("circuit", run="induction-2l-edges")
    edges = window.page.locator(".st-key-circuit-graph path.edge")
    expect(edges).to_have_count(13)
    window.page.get_by_role("slider").first.focus()
    for _ in range(3):
        window.page.keyboard.press("ArrowRight")
    window.shows("16 keep", thr="16")
    expect(edges).to_have_count(16)
    sound(window)


def test_a_cell_of_the_lens_is_chosen_by_a_click_and_patched(open_page):
    window = open_page("lens")
    window.click_cell("lens-grid", 0, 48)  # the last depth, where the task asks
    window.shows("At L1", lay="2", pos="48")
    window.page.keyboard.press("ArrowDown")
    window.shows("At L0", lay="1", pos="48")
    window.link("Patch there")
    expect(window.page.locator("h1")).to_have_text("Patch")
    window.shows("L0 at “0” (position 48)")
    window.bytes = 0
    window.click_cell("patch-map", 0, 48)
    window.shows("100%", lay="2")
    assert window.bytes <= MOST_BYTES
    sound(window)


@pytest.mark.parametrize(("page", "keys", "grid", "cell", "expected"), [
    ("depth", {}, "skip-grid", (1, 1), {"lay": "1"}),
    ("icl", {"mode": "match"}, "match-grid", (5, 3), {"mode": "match", "pick": "Newton", "lay": "3"}),
    ("icl", {"mode": "probes"}, "probe-grid", (0, 2), {"mode": "probes", "pick": "x at x", "lay": "2"}),
    ("disagreement", {"m": "garden/digits-vit", "t": "digits"}, "methods-grid", (1, 2),
     {"m": "garden/digits-vit", "t": "digits", "h": "MLP1"}),
])
def test_clicks_on_the_grids_of_the_analyses_fire(open_page, page, keys, grid, cell, expected):
    window = open_page(page, **keys)
    window.click_cell(grid, *cell)
    window.shows(**expected)
    assert window.keys == expected
    sound(window)


def test_the_url_becomes_the_state_and_the_state_the_url(open_page):
    window = open_page("help", **{key.replace(".", "_", 1): value for key, value in GOOD.items()})
    expected = {key: str(value) for key, value in GOOD.items()}
    assert window.keys == expected
    window.page.reload()
    window.settle()
    assert window.keys == expected
    sound(window)


def test_bad_values_in_the_url_are_defaults_with_quiet_notices(open_page):
    window = open_page("help", **{key.replace(".", "_", 1): value for key, value in BAD.items() if key != "p"})
    assert not set(window.keys) & set(KEYS)
    assert window.text.count("in the address is") == len(BAD) - 1
    sound(window)


def test_the_state_goes_along_to_another_page_and_stays_out_of_another_window(open_page):
    window = open_page("explore", m="garden/dyck-2l", t="dyck", h="L1H0")
    other = open_page("explore")
    window.go_to("Help")
    state = {"m": "garden/dyck-2l", "t": "dyck", "h": "L1H0"}
    expect(window.page.locator("h1")).to_have_text("Help")
    window.shows(**state)
    assert window.keys == state
    other.page.reload()
    other.shows("induction-2l")
    assert other.keys == {}
    window.go_to("Explore")
    window.shows("dyck-2l")
    expect(window.page.get_by_role("heading", name="L1H0")).to_have_count(1)


FOUR = (("garden/induction-2l", "induction", (0, 2)), ("garden/dyck-2l", "dyck", (1, 0)),
        ("garden/sorting-1l", "sorting", (0, 1)), ("garden/induction-2l", "induction", (1, 3)))


def test_four_sessions_at_once_keep_what_each_of_them_chose(open_page):
    """Two of them on one model, whose module they share; clicks take turns."""
    windows = [open_page("explore", m=model, t=task) for model, task, _ in FOUR]
    for window, (_, _, cell) in zip(windows, FOUR):
        window.click_cell("heads-grid", *cell)
    for window in reversed(windows):
        window.button("Knock out")
    for window, (model, _, (row, column)) in zip(windows, FOUR):
        label = f"L{row}H{column}"
        window.shows(h=label)
        window.page.reload()
        window.shows(model.partition("/")[2], h=label)
        assert window.keys.get("m", FOUR[0][0]) == model
        expect(window.page.get_by_role("heading", name=label)).to_have_count(1)
        sound(window)


def test_a_job_survives_a_reload_and_can_be_cancelled_and_resumed(open_page):
    window = open_page("circuit", n=384)  # half a minute of work
    window.choose("Find it again, with another method or among edges")
    window.choose("edges")
    cancel = window.page.get_by_role("button", name="Cancel")
    window.page.get_by_role("button", name="Find the circuit", exact=True).first.click()
    cancel.wait_for()  # without waiting for a quiet page: the bar of a job redraws itself
    run = window.keys["run"]
    window.page.reload()
    cancel.wait_for()
    assert window.keys["run"] == run
    other = open_page("runs")
    other.shows(run)
    cancel.click()
    window.shows("was cancelled after")
    again = window.page.get_by_role("button", name="Go on with it")
    expect(again).to_have_count(1)
    again.click()
    cancel.wait_for()
    assert window.keys["run"] == run
    cancel.click()
    window.shows("was cancelled after")
    assert window.errors == []


def test_downloads_open_and_hold_what_is_shown(open_page):
    window = open_page("explore")
    name, svg = window.download(".st-key-exports-nodes-effect button:has-text('SVG')")
    assert name.endswith(".svg") and svg.startswith(b"<svg") and svg.count(b"<rect") >= 8
    import xml.etree.ElementTree as ElementTree

    ElementTree.fromstring(svg)
    name, png = window.download(".st-key-exports-nodes-effect button:has-text('PNG')")
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert name.endswith(".png") and len(image.getcolors(image.width * image.height)) > 5
    window.page.locator(".st-key-exports-nodes-effect").get_by_text("Data and script").click()
    _, csv = window.download("[data-testid=stPopoverBody] button:has-text('CSV')")
    frame = pd.read_csv(io.BytesIO(csv))
    assert list(frame["source"]) == [f"L{depth}H{head}" for depth in range(2) for head in range(4)]
    _, text = window.download("[data-testid=stPopoverBody] button:has-text('JSON')")
    rows = json.loads(text)["rows"]
    assert [row["effect"] for row in rows] == pytest.approx(list(frame["effect"]))
    _, script = window.download("[data-testid=stPopoverBody] button:has-text('Script')")
    compile(script, "script", "exec")
    sound(window)


def test_the_circuit_that_is_saved_is_the_circuit_that_opens(open_page, tmp_path):
    window = open_page("circuit", run="dyck-2l-edges", m="garden/dyck-2l", t="dyck")
    window.button("Save and copy the link")
    name, content = window.download("[data-testid=stPopoverBody] button:has-text('Circuit as JSON')")
    (tmp_path / name).write_bytes(content)
    other = open_page("runs")
    other.choose("Open a file")
    other.page.locator("input[type=file]").set_input_files(tmp_path / name)
    other.settle()
    other.page.get_by_role("button", name=f"Keep {name} as a run").click()
    other.page.wait_for_selector(".st-key-circuit-graph svg")
    other.settle()
    assert other.keys["run"].startswith("opened-")
    from apps.dashboard import folders
    from interp.results import Circuit

    assert Circuit.load(tmp_path / name) == Circuit.load(folders.SHIPPED / "dyck-2l-edges" / "circuit.json")
    sound(other)


def test_a_token_cannot_become_markup(open_page):
    attack = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    window = open_page("explore", m="smollm2-135m", p=attack, c=attack) if _fetched() else \
        open_page("explore", p=attack, c=attack)
    assert window.page.locator("img[src=x]").count() == 0
    assert window.page.evaluate("document.body.innerHTML.includes('<script>alert(2)')") is False
    assert window.outside == []
    window = open_page("explore", h=quote(attack))
    assert window.page.locator("img[src=x]").count() == 0


def _fetched() -> bool:
    from interp.garden.fetch import is_fetched

    return is_fetched("smollm2-135m")


@pytest.mark.parametrize("name", THERE)
def test_a_narrow_window_needs_no_sideways_scrolling_of_the_page(open_page, name):
    window = open_page(name, width=420, height=900)
    sound(window)
    wide = window.page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert wide <= 425


@pytest.mark.parametrize("name", THERE)
@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast_in_both_themes(open_page, name, dark):
    window = open_page(name, dark=dark)
    sound(window)
    found = window.page.evaluate(_CONTRAST)
    assert found["count"] >= 2
    assert found["worst"] >= 4.5, found


_CONTRAST = """() => {
  const numbers = (c) => {  // rgb(1, 2, 3), or color(srgb 0.1 0.2 0.3)
    const found = c.replace('srgb', '').match(/[0-9.e-]+/g).map(Number);
    return c.startsWith('color(') ? [...found.slice(0, 3).map((v) => 255 * v), ...found.slice(3)] : found;
  };
  const linear = (v) => v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const over = (top, under) => {
    const a = top.length > 3 ? top[3] : 1;
    return top.slice(0, 3).map((v, i) => v * a + under[i] * (1 - a));
  };
  const above = (e) => { const all = []; for (; e; e = e.parentElement) all.push(getComputedStyle(e)); return all; };
  const ground = (e) => above(e).reverse().reduce((c, s) => over(numbers(s.backgroundColor), c), [255, 255, 255]);
  const opacity = (e) => above(e).reduce((o, s) => o * Number(s.opacity), 1);
  let worst = 99, where = '', count = 0;
  const texts = document.querySelectorAll('[data-testid=stMain] :is(p, h1, h2, h3, li, code, button)');
  for (const e of texts) {
    if (e.closest('[data-testid=stSlider]')) continue;  // its number stands above its coloured thumb, not on it
    if (!e.innerText?.trim() || !e.offsetParent) continue;
    const under = ground(e), c = numbers(getComputedStyle(e).color);
    const ink = over([...c.slice(0, 3), (c.length > 3 ? c[3] : 1) * opacity(e)], under);
    const [a, b] = [light(ink), light(under)], ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    count++;
    if (ratio < worst) { worst = ratio; where = e.innerText.slice(0, 60); }
  }
  return {worst, where, count};
}"""


@pytest.mark.slow
def test_a_real_model_stays_within_the_budgets_of_nodes_and_bytes(open_page):
    if not _fetched():
        pytest.skip("smollm2-135m is not on this machine: interp fetch smollm2-135m")
    window = open_page("explore", m="smollm2-135m", t="ioi")
    window.page.wait_for_selector(".st-key-heads-grid canvas")
    for cell in ((9, 2), (9, 3)):
        window.bytes = 0
        window.click_cell("heads-grid", *cell)
        assert window.bytes <= MOST_BYTES and window.count() <= MOST_NODES
    window.bytes = 0
    window.choose("Patterns")
    assert window.bytes <= 2 * MOST_BYTES  # 270 pictures are sent once
    window.bytes = 0
    window.click_cell("heads-grid", 8, 3)
    assert window.bytes <= MOST_BYTES
    sound(window)
