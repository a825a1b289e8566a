"""Clicks on the views of Architectures, Programs, Codes and Compare, and on an image, which only a browser can try."""

from tests.browser.test_browser import sound


def test_a_box_of_a_block_diagram_is_chosen_by_click_and_by_keyboard_and_the_drawing_is_kept(open_page):
    window = open_page("architectures", arch="llama")
    box = window.page.locator(".st-key-diagram g.node[data-id='blocks.0.attn.hook_pattern']")
    box.click()
    window.settle()
    assert window.keys["h"] == "blocks.0.attn.hook_pattern" and "attention after the softmax" in window.text
    other = window.page.locator(".st-key-diagram g.node[data-id='blocks.0.hook_mlp_out']")
    other.focus()
    window.page.keyboard.press("Enter")
    window.settle()
    assert window.keys["h"] == "blocks.0.hook_mlp_out" and other.get_attribute("aria-pressed") == "true"
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
    window.settle()
    assert window.keys["pos"] == "1" and "Position 1" in window.text
    after = marks.evaluate_all(grounds)
    assert len(after) == len(before) > 20 and after != before and len(set(after)) == 2
    sound(window)


def test_both_sides_of_a_comparison_share_the_selection(open_page):
    window = open_page("compare")
    window.click_cell("circuit-a", 1, 3)
    assert window.keys == {"h": "L1H3"} and "member of both" in window.text
    for side in "ab":
        grid = window.page.locator(f".st-key-circuit-{side} canvas")
        assert "Selected: L1H3" in grid.get_attribute("aria-label")
    sound(window)


def test_a_search_is_typed_and_its_best_code_is_shown(open_page):
    window = open_page("codes")
    field = window.page.get_by_role("textbox", name="Find codes that are active on")
    field.fill("[0-9]+")
    field.press("Enter")
    window.settle()
    assert window.keys["q"] == "[0-9]+" and "110 tokens are meant" in window.text
    sound(window)


def test_a_patch_is_chosen_on_the_image(open_page):
    window = open_page("explore", m="garden/digits-vit", t="digits", h="L1H2")
    window.click_cell("patch-grid", 2, 1)
    assert window.keys["pos"] == "9" and "looks from patch 2,1" in window.text
    window.click_cell("looks-at", 0, 3)
    assert window.keys["pos"] == "3"
    sound(window)
