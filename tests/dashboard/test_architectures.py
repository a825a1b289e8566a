"""The catalog as a page: its shipped table is that of the models, filters choose, two entries stand side by side."""

import re
from pathlib import Path

from apps.dashboard import catalogue
from tests.dashboard.helpers import address, button, open_page, said


def test_the_table_that_ships_is_that_of_the_generated_page_which_is_read_off_the_models():
    text = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text()
    rows = sorted([cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in text.splitlines()
                  if line.startswith("| `"))
    found = catalogue.table().sort_values("name")
    assert [row[:3] for row in rows] == found[["name", "what", "made from"]].to_numpy().tolist()
    assert [row[3:6] for row in rows] == [[row.reads, row.mixers, f"{row.parameters:,}"] for row in found.itertuples()]
    assert [re.sub(r" \(row \d+\)$", "", row[6]) for row in rows] == found["paper"].to_list()


def test_an_entry_is_shown_with_its_paper_its_size_its_equations_and_what_its_parent_has_not():
    test = open_page("architectures", arch="gla", h="blocks.0.mixer.hook_decay")
    assert not test.exception and ":material/error:" not in said(test)
    code = "\n".join(block.value for block in test.main.code)
    assert "d_model=64" in said(test) and "parameters" in said(test) and "Yang et al." in said(test)
    assert "resid_post = x = x + mlp_out" in code and "+ " in code and "- " in code
    assert "what is kept of each row of the state" in said(test)
    test = button(test, "Beside what it was made from: llama").click().run()
    assert address(test)["b.arch"] == "llama" and "rows differ" in said(test)


def test_filters_and_words_choose_and_nothing_left_is_said():
    assert "3 of 72" in said(open_page("architectures", fam="ssm"))
    assert set(catalogue.chosen("rotary", "", "", "")["name"]) >= {"llama", "rotary"}
    assert set(catalogue.chosen("", "", "vision", "implicit")["reads"]) == {"vision"}
    assert "fits" in said(open_page("architectures", q="no such thing"))


def test_a_name_that_is_not_there_is_a_card_with_the_nearest_on_either_side():
    for keys in ({"arch": "mamba9"}, {"b_arch": "mamba9"}):
        test = open_page("architectures", **keys)
        assert not test.exception and ":material/error:" in said(test) and '"mamba"' in said(test)


def test_what_differs_of_two_entries_is_marked_in_the_table_of_equations():
    frame = catalogue.beside("llama", "gpt")
    assert set(frame["same"]) == {"=", "≠"}
    alike = frame[frame["same"] == "="]
    assert (alike["llama"].str.strip() == alike["gpt "].str.strip()).all()
    assert any("R(place)" in row for row in frame[frame["same"] == "≠"]["llama"])
