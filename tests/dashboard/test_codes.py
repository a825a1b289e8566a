"""Codes as a page: the run that ships opens, search and examples agree, steering is a job, wrong input is a card."""

import time

import pytest

from apps.dashboard import code_readings, folders, jobs
from tests.dashboard.helpers import open_page, said

RUN = "text-small-codes"


def test_it_opens_on_books_that_ship_and_says_what_they_cost():
    test = open_page("codes", m="garden/digits-vit", t="digits")  # whatever model is chosen for other pages
    assert not test.exception and ":material/error:" not in said(test)
    assert "4,096 codes at 4 sites" in said(test) and "loss without books" in said(test)
    frame = code_readings.found(RUN, "the", "f1")
    assert frame["selected_f1"].is_monotonic_decreasing and frame["f1"][0] > 0.3


def test_examples_are_tokens_on_which_the_code_is_active():
    code = code_readings.found(RUN, "the", "f1")["name"][0]
    shown = code_readings.examples(RUN, code)
    assert len(shown) == 30 and shown["slot"].is_monotonic_increasing
    site, group, number = code_readings.split(code)
    ids = code_readings.tokens(RUN).codes[site]
    rows = [(int(i), int(pos), int(slot)) for i, pos, slot in (ids[:, :, group] == number).nonzero()]
    first = {(pos, slot) for _, pos, slot in rows}
    assert all((pos, slot) in first for pos, slot in zip(shown["pos"], shown["slot"]))


def test_a_text_shows_where_a_code_is_active_by_rank():
    frame = code_readings.active(RUN, "The people", "blocks.0.attn.hook_z:1:50")
    for strength, codes in zip(frame["strength"], frame["codes"]):
        ids = [int(code) for code in codes.split()]
        assert strength == (1 - ids.index(50) / 8 if 50 in ids else 0)


@pytest.mark.parametrize(("keys", "expected"), [
    ({"q": "zebra"}, "marks 0 tokens"), ({"q": "("}, "no regular expression"),
    ({"code": "blocks.9.hook_x:0:1"}, "there are no books at"),
    ({"code": "blocks.0.attn.hook_z:7:1"}, "no code 1 of group"),
    ({"run": "nowhere"}, "there is no run"),
])
def test_wrong_input_is_a_card(keys, expected):
    test = open_page("codes", **keys)
    assert not test.exception and ":material/error:" in said(test) and expected in said(test)


def test_a_run_of_something_else_is_said_and_books_are_shown_instead():
    assert "holds no books" in said(open_page("codes", run="induction-2l"))


def test_steering_is_a_job_whose_run_has_the_texts_of_all_three_ways():
    made = jobs.start("steer", folder=folders.find(RUN), prompt="The people", code=["blocks.2.attn.hook_z:0:17"],
                      topic="the", samples=1, length=2, seed=1)
    while jobs.find(made).alive:
        time.sleep(0.05)
    assert jobs.find(made).state == "done", jobs.find(made).reason
    texts, rates = code_readings.steered(made)
    assert list(texts["way"]) == list(rates["way"]) == ["model", "books", "steered"]
    assert (rates["perplexity"] > 1).all()
    assert folders.open_run(made).config["prompt"] == "The people"
