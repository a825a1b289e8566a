"""What holds of every dataset: parts without overlap, labels from the oracle, a seed and nothing else."""

from functools import partial

import numpy as np
import pytest
import torch

from interp.results.errors import BadInput
from interp.tasks.corpus import documents
from interp.tasks.sequences import (
    IGNORE,
    dataset,
    double_hist,
    dyck,
    help_lines,
    hist,
    induction,
    most_freq,
    names,
    reverse,
    sort,
    tagger,
)
from interp.tasks.sequences.baselines import bag_of_words, majority, unigram
from interp.tasks.sequences.build import how_many, parts_of

SMALL = {name: {"n": 400} for name in names()} | {"sotu": {"n": 1500}, "tagger": {"n": 400, "vocab": 100}}
ORACLES = {
    "reverse": reverse.oracle, "sort": sort.oracle, "hist": hist.oracle, "double_hist": double_hist.oracle,
    "most_freq": most_freq.oracle, "dyck1": dyck.oracle, "dyck2": dyck.oracle, "induction": induction.oracle,
    "tagger": partial(tagger.oracle, words=tagger.lexicon(89)),
}
PARTS = ("train", "val", "test")


def _rows(examples):
    return {tuple(row) for row in examples.tokens.tolist()}


@pytest.mark.parametrize("name", names())
def test_parts_share_no_sequence_and_padding_is_silent(name):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    data = dataset(name, **SMALL[name])
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert not any(_rows(data.part(a)) & _rows(data.part(b)) for a, b in (PARTS[:2], PARTS[1:], PARTS[::2]))
    for part in map(data.part, PARTS):
        assert len(part) and part.tokens.dtype == part.labels.dtype == torch.int64
        assert (part.tokens[:, 0] == data.vocab.index("<s>")).all()
        assert (part.mask[:, 1:] <= part.mask[:, :-1]).all() and data.vocab[part.pad] == "<pad>"
        if not data.pooled:
            assert (part.labels[~part.mask] == IGNORE).all() and (part.labels[:, 0] == IGNORE).all()
        asked = part.labels[part.labels != IGNORE]
        assert 0 <= asked.min() and asked.max() < len(data.labels)
    assert help_lines()[name]


@pytest.mark.parametrize("name", ORACLES)
def test_labels_are_the_oracles(name):
    data = dataset(name, **SMALL[name])
    for row, labels in zip(data.test.tokens[:50], data.test.labels[:50].tolist()):
        words = tuple(word for word in data.words(row) if word not in ("<s>", "</s>"))
        wanted = [IGNORE if a is None else data.labels.index(a) for a in ORACLES[name](words)]
        assert labels == [IGNORE, *wanted, *[IGNORE] * (len(labels) - 1 - len(wanted))]


@pytest.mark.parametrize("name", names())
def test_a_seed_gives_the_same_data_and_another_seed_others(name):
    one, again, other = (dataset(name, **SMALL[name], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.train.tokens, again.train.tokens) and torch.equal(one.test.labels, again.test.labels)
    assert _rows(one.test) != _rows(other.test)


def test_a_small_pool_is_used_whole_and_every_length_is_tested():
    data = dataset("reverse", vocab=6, length=7)
    assert how_many(3, 1, 5) == 363 and "all 363" in data.drawn
    assert len(_rows(data.train) | _rows(data.val) | _rows(data.test)) == 363
    assert set(data.test.lengths.tolist()) == {3, 4, 5, 6, 7}
    paper = dataset("sort")
    assert "19,530" in paper.drawn and set(paper.test.lengths.tolist()) == set(range(3, 9))


def test_shares_are_81_9_10_within_every_stratum():
    strata = [1] * 3 + [2] * 1000 + [3]
    parts = parts_of(strata, np.random.default_rng(0))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(1004))
    assert [len(parts[part]) for part in PARTS] == [1 + 810 + 1, 1 + 90, 1 + 100]


def test_dyck_strings_are_of_every_kind():
    data = dataset("dyck2", n=400)
    last = [data.labels[i] for i in data.train.labels[:, -1]]
    assert 0.02 < np.mean([label != "F" for label in last]) < 0.5 and data.causal
    assert {"T", "P", "F"} == {data.labels[i] for i in data.train.labels[:, 1:].unique()}


def test_addresses_of_different_parts_are_different_and_labels_are_their_decades():
    data = dataset("sotu", n=1500)
    speeches = {part: set(data.part(part).cluster.tolist()) for part in PARTS}
    assert not any(speeches[a] & speeches[b] for a, b in (PARTS[:2], PARTS[1:], PARTS[::2]))
    for number, label in zip(data.test.cluster.tolist(), data.test.labels.tolist()):
        assert f"{documents()[number].year:04d}"[:3] + "0s" == data.labels[label]
    assert not any(character.isdigit() for word in data.vocab for character in word)
    assert {documents()[number].year % 10 for number in speeches["test"]} == {7}


def test_baselines_know_less_than_the_task_and_more_than_nothing():
    data = dataset("tagger", n=2000)
    most, words = majority(data), unigram(data)
    assert most["f1"].value == 0 < words["f1"].value < 0.95
    assert most["accuracy"].value < words["accuracy"].value < 0.99
    assert unigram(dataset("hist", n=400))["accuracy"].value < 0.5
    text = dataset("sotu", n=3000)
    assert majority(text)["accuracy"].value < bag_of_words(text, (0.3,), steps=20)["accuracy"].value < 0.6


@pytest.mark.parametrize("call, message", [
    (lambda: dataset("sorted"), 'Did you mean "sort"'),
    (lambda: dataset("dyck1", vocab=8), "has no size 'vocab'; it takes length, n"),
    (lambda: dataset("hist", n=2), "3 or more"),
    (lambda: dataset("hist", length="8"), "whole number"),
    (lambda: dataset("reverse", vocab=4), "vocab=5 or more"),
    (lambda: dataset("reverse", vocab=40), "26"),
    (lambda: dataset("dyck1", length=5), "more than half"),
    (lambda: dataset("induction", vocab=6, length=6, n=400), "about"),
    (lambda: dataset("induction", vocab=9), "even vocab"),
    (lambda: dataset("tagger", vocab=20), "51 to 2011"),
    (lambda: dataset("hist", n=400).part("dev"), "train, val, test"),
    (lambda: bag_of_words(dataset("hist", n=400)), "use unigram"),
    (lambda: unigram(dataset("sotu", n=1500)), "use bag_of_words"),
])
def test_bad_input_says_what_to_do(call, message, monkeypatch):
    monkeypatch.setattr("interp.tasks.sequences.build._PATIENCE", 200)
    with pytest.raises(BadInput, match=message):
        call()
