"""The shipped text and word lists."""

import hashlib

import pytest

from interp.tasks.corpus import DOCUMENT_BREAK, corpus, documents, words

SPLITS = ("train", "validation", "test")


def test_documents_are_the_addresses_in_order_and_then_the_novel():
    *addresses, novel = documents()
    assert len(addresses) == 233
    assert [d.year for d in addresses] == sorted(d.year for d in addresses)
    assert (addresses[0].year, addresses[-1].year) == (1790, 2021)
    assert addresses[0].text.startswith("Fellow-Citizens of the Senate and House of Representatives")
    assert novel.text.startswith("CHAPTER 1. Loomings.\n\nCall me Ishmael.")
    assert novel.text.endswith("five thousand years ago.\n")


def test_documents_hold_no_boundary_and_no_control_character():
    for document in documents():
        assert document.text.endswith("\n") and not document.text.startswith((" ", "\n"))
        assert not [c for c in set(document.text) if ord(c) < 32 and c != "\n"], document.title


def test_splits_partition_the_documents_by_year():
    years = {split: {d.year for d in documents() if d.split == split and d.party} for split in SPLITS}
    assert not years["train"] & years["validation"]
    assert not years["train"] & years["test"]
    assert not years["validation"] & years["test"]
    assert all(len(years[split]) >= 20 for split in SPLITS)
    pieces = sum(len(corpus(split).split(DOCUMENT_BREAK)) for split in SPLITS)
    assert pieces == len(documents())


def test_corpus_is_the_text_that_was_shipped():
    digest = hashlib.sha256("".join(corpus(split) for split in SPLITS).encode()).hexdigest()
    assert digest == "ce18e8a5f4e3dc32a4e4b74a460dbacaff25bf0721abdcb871714c1c160dd888"


def test_corpus_of_an_unknown_split_names_the_splits():
    with pytest.raises(ValueError, match="no split 'dev'.*train, validation, test"):
        corpus("dev")


def test_names_belong_to_one_gender():
    female, male = words("female_names"), words("male_names")
    assert len(female) > 100 and len(male) > 100
    assert not set(female) & set(male)
    assert {"Mary", "Susan"} <= set(female) and {"John", "Thomas"} <= set(male)


@pytest.mark.parametrize(("name", "least"), [("places", 20), ("objects", 20), ("events", 30), ("nouns", 100)])
def test_word_lists_are_long_enough_and_without_repeats(name, least):
    entries = words(name)
    assert len(entries) >= least
    assert len(set(entries)) == len(entries)


def test_objects_follow_the_article_a():
    assert not [noun for noun in words("objects") if noun[0] in "aeiou"]


def test_plurals_include_the_irregular_ones():
    plural = dict(words("nouns"))
    irregular = {"child": "children", "foot": "feet", "wolf": "wolves", "city": "cities", "crisis": "crises"}
    assert {noun: plural[noun] for noun in irregular} == irregular
    assert all(one != many for one, many in plural.items())


def test_states_have_their_capitals():
    capital = dict(words("us_states"))
    assert len(capital) == 50
    assert capital["New York"] == "Albany" and capital["California"] == "Sacramento"


def test_words_returns_a_list_of_its_own():
    words("places").clear()
    assert words("places")


def test_words_of_an_unknown_name_names_the_lists():
    with pytest.raises(ValueError, match="no word list 'verbs'.*us_states"):
        words("verbs")
