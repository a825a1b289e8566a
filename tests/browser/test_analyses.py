"""Clicks on the views of Architectures, Programs, Codes and Compare, and on an image, which only a browser can try."""

import re

from playwright.sync_api import expect

from tests.browser.test_browser import sound


def test_a_box_of_a_block_diagram_is_chosen_by_click_and_by_keyboard_and_the_drawing_is_kept(open_page):
    window = open_page("architectures", arch="llama")
    box = window.page.locator(".st-key-diagram g.node[data-id='blocks.0.attn.hook_pattern']")
    box.click()
    window.shows("attention after the softmax", h="blocks.0.attn.hook_pattern")
    other = window.page.locator(".st-key-diagram g.node[data-id='blocks.0.hook_mlp_out']")
    other.focus()
    window.page.keyboard.press("Enter")
    window.shows(h="blocks.0.hook_mlp_out")
    expect(other).to_have_attribute("aria-pressed", "true")
    name, svg = window.download(".st-key-exports-llama-diagram button:has-text('SVG')")
    import xml.etree.ElementTree as ElementTree

    tree = ElementTree.fromstring(svg)
    words = {text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert name.endswith(".svg") and {"pattern", "rot_q", "ln_final", "blocks 0, 1"} <= words
    sound(window)


def test_a_word_of_a_program_is_chosen_and_its_lines_stand_out(open_page):
    window = open_page("programs")
    marks = window.page.locator(".st-key-program-source mark")
    grounds = "marks => marks.map((mark) => mark.style.background)"
    before = marks.evaluate_all(grounds)
    window.page.locator(".st-key-program-words button").nth(1).click()
    window.shows("Position 1", pos="1")
    after = marks.evaluate_all(grounds)
    assert len(after) == len(before) > 20 and after != before and len(set(after)) == 2
    sound(window)


def test_both_sides_of_a_comparison_share_the_selection(open_page):
    window = open_page("compare")
    window.click_cell("circuit-a", 1, 3)
    window.shows("member of both", h="L1H3")
    assert window.keys == {"h": "L1H3"}
    for side in "ab":
        grid = window.page.locator(f".st-key-circuit-{side} canvas")
        expect(grid).to_have_attribute("aria-label", re.compile("Selected: L1H3"))
    sound(window)


def test_a_search_is_typed_and_its_best_code_is_shown(open_page):
    window = open_page("codes")
    field = window.page.get_by_role("textbox", name="Find codes that are active on")
    field.fill("[0-9]+")
    field.press("Enter")
    window.shows("110 tokens are meant", q="[0-9]+")
    sound(window)


def test_a_patch_is_chosen_on_the_image(open_page):
    window = open_page("explore", m="garden/digits-vit", t="digits", h="L1H2")
    window.click_cell("patch-grid", 2, 1)
    window.shows("looks from patch 2,1", pos="9")
    window.click_cell("looks-at", 0, 3)
    window.shows(pos="3")
    sound(window)
