"""Programs as a page: lines lit by an input, answers explained, counter-examples, compiled circuits."""

import pytest

from apps.dashboard import cards, program_readings
from apps.dashboard.views.source import HERE, LEFT_OUT, PLAIN, USED, runs
from tests.dashboard.helpers import address, button, open_page, said


@pytest.mark.parametrize("name", ["hist", "induction"])
def test_a_program_is_read_on_a_sequence_with_what_decides_the_answer(name):
    test = open_page("programs", prog=name, pos=1)
    assert not test.exception and ":material/error:" not in said(test)
    first = program_readings.FIRST[name]
    assert cards.literal(repr(program_readings.answered(name, first).answers[1])) in said(test)
    frame, whole = program_readings.explained(name, first, 1)
    margin = float(whole.splitlines()[0].rpartition("by ")[2])
    assert frame["adds"].sum() == pytest.approx(margin, rel=1e-4)


def test_the_counter_example_is_wrong_and_is_read_by_one_click():
    test = open_page("programs", mode="wrong")
    assert "`f f f f f` is answered `5 5 4 5 5`" in said(test) and "The shortest there is" in said(test)
    test = button(test, "Read it on this sequence").click().run()
    assert address(test)["tok"] == "f f f f f" and "is not the right one" in said(test)


def test_whether_it_ever_answers_a_label_is_asked_of_any_program():
    found = program_readings.searched("hist", "never", "3")
    assert found.shortest and len(found.found) == 3 and "3" in found.answers


def test_a_library_program_is_compiled_and_answers_what_it_should():
    test = open_page("programs", mode="compile", lib="hist", tok="a b a c", h="L0H0")
    assert not test.exception and ":material/error:" not in said(test)
    shown = {item.label: item.value for item in test.metric}
    assert shown["wrong"] == "0 of 234" and shown["heads"] == "1"
    made = program_readings.compiled("hist", "", 5)
    frame = program_readings.on(made, "a b a c").set_index("variable")
    assert list(frame.loc["answer of the model"]) == list(frame.loc["hist"]) == ["2", "1", "2", "1"]


@pytest.mark.parametrize(("keys", "expected"), [
    ({"prog": "hits"}, "no program 'hits'"), ({"prog": "nowhere"}, "There are: dyck2"),
    ({"tok": "a z"}, "does not know the token 'z'"), ({"tok": "a a a a a a a a a"}, "9"),
    ({"mode": "compile", "lib": "srot"}, "the library has no program 'srot'"),
    ({"mode": "compile", "tok": "z"}, "'z' is no token"), ({"mode": "compile", "voc": "aa"}, "voc"),
])
def test_wrong_input_is_a_card(keys, expected):
    test = open_page("programs", **keys)
    assert not test.exception
    assert ":material/error:" in said(test) and expected in said(test)


def test_source_is_cut_into_runs_of_equal_light_and_long_tables_are_left_out():
    text = "a\nb\nc\nd\ne\nf"
    found = runs(text, {2: (0, 1), 3: (1,), 6: (2,)}, 1, [(4, 6)], ["x", "y", "z"])
    assert [run[0] for run in found] == [PLAIN, HERE, HERE, LEFT_OUT, USED]
    assert found[1][2] == "x [0], y [1]" and "2 lines" in found[3][1]
