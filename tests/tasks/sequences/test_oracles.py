"""Every oracle against a second one written another way, or cases solved by hand."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.tasks.sequences import double_hist, dyck, hist, induction, most_freq, reverse, sort, tagger

letters = st.lists(st.sampled_from("abcd"), min_size=1, max_size=8).map(tuple)
numbers = st.lists(st.sampled_from("0 1 2 3 10 11".split()), min_size=1, max_size=8).map(tuple)


@given(letters)
def test_reverse_is_the_string_read_from_its_end(string):
    assert reverse.oracle(string) == list(reversed(string))


@given(numbers)
def test_sort_orders_numbers_and_not_their_spelling(string):
    assert sort.oracle(string) == [str(number) for number in sorted(map(int, string))]


@given(letters)
def test_hist_and_double_hist_count(string):
    counts = Counter(string)
    alike = Counter(counts.values())
    assert hist.oracle(string) == [str(counts[token]) for token in string]
    assert double_hist.oracle(string) == [str(alike[counts[token]]) for token in string]


@given(letters)
def test_most_freq_lists_each_token_once_by_count_then_place(string):
    found = most_freq.oracle(string)
    # Counter keeps first occurrences in order, and most_common sorts stably
    wanted = [token for token, _ in Counter(string).most_common()]
    assert found == wanted + ["<s>"] * (len(string) - len(wanted))


def _by_deleting_pairs(prefix: str) -> str:
    """T, P or F without a stack: balanced pairs vanish; what is left must be nothing, or opening brackets."""
    while (shorter := prefix.replace("()", "").replace("{}", "")) != prefix:
        prefix = shorter
    return "T" if not prefix else "F" if set(prefix) & set(")}") else "P"


@given(st.text("(){}", min_size=1, max_size=12))
def test_dyck_prefixes_are_what_deleting_pairs_says_and_failure_is_final(text):
    answers = dyck.oracle(tuple(text))
    assert answers == [_by_deleting_pairs(text[: i + 1]) for i in range(len(text))]
    assert "F" not in answers or set(answers[answers.index("F"):]) == {"F"}


@given(st.booleans(), st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("012")), min_size=1, max_size=6))
def test_induction_remembers_the_last_digit_of_each_letter(stray, pairs):
    string = (*("0" if stray else ""), *(token for pair in pairs for token in pair))
    memory, wanted = {}, [None] * stray
    for letter, digit in pairs:
        wanted += [memory.get(letter, "<unk>"), None]
        memory[letter] = digit
    assert induction.oracle(string) == wanted


WORDS = {"first": ("ana",), "last": ("doe",), "place": ("oslo",), "either": ("york",), "plain": ("the", "ran")}


@pytest.mark.parametrize("sentence, tags", [
    ("the ran", "O O"),
    ("ana doe ran", "B-PER I-PER O"),
    ("ana york ran", "B-PER I-PER O"),
    ("doe ran in york", "B-PER O O B-LOC"),
    ("york ran in oslo", "B-PER O O B-LOC"),
    ("mr the ran", "O B-PER O"),
    ("mr york ran near doe", "O B-PER O O B-PER"),
    ("in york bank", "O B-ORG I-ORG"),
    ("the bank ran", "O O O"),
    ("ana bank doe", "B-ORG I-ORG B-PER"),
    ("in ana york", "O B-PER I-PER"),
])
def test_tagger_rules(sentence, tags):
    assert tagger.oracle(tuple(sentence.split()), WORDS) == tags.split()


def test_the_word_list_has_no_word_twice_and_an_either_name_changes_with_the_word_before():
    words = tagger.lexicon(389)
    every = [word for listed in words.values() for word in listed]
    assert len(every) == len(set(every)) == 389 and all(words.values())
    name = words["either"][0]
    tags = {before: tagger.oracle((before, name), words)[1] for before in ("in", "mr", words["plain"][0])}
    assert tags == {"in": "B-LOC", "mr": "B-PER", words["plain"][0]: "B-PER"}
