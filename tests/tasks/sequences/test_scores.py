"""Scores, by hand and by brute force."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from interp.results.errors import BadInput
from interp.tasks.sequences import IGNORE, dataset
from interp.tasks.sequences.scores import binomial, spans

TAGS = ["O", "B-X", "I-X", "B-Y", "I-Y"]


@given(st.lists(st.sampled_from(TAGS), max_size=10))
def test_spans_are_what_a_regular_expression_finds(tags):
    text = "".join(f"<{tag}>" for tag in tags)
    wanted = set()
    for kind in "XY":
        for match in re.finditer(f"<B-{kind}>(<I-{kind}>)*", text):
            start = text[: match.start()].count("<")
            wanted.add((start, start + match[0].count("<"), kind))
    assert set(spans(tags)) == wanted and len(spans(tags)) == len(wanted)


@pytest.mark.parametrize("hits, n", [(0, 5), (5, 5), (3, 7), (1999, 2000)])
def test_binomial_intervals_are_scipys(hits, n):
    found, wanted = binomial(hits, n, "rows"), binomtest(hits, n).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high)) and found.value == hits / n


def test_accuracy_whole_and_answers_by_hand():
    data = dataset("most_freq", n=400)
    labels = data.test.labels
    perfect = data.score(labels.clamp(min=0))
    assert all(score.value == 1 for score in perfect.values()) and perfect["whole"].low < 1
    # fillers only: right exactly where the filler is, no answer right
    fillers = data.score(torch.full_like(labels, data.labels.index("<s>")))
    asked = labels != IGNORE
    assert fillers["accuracy"].value == pytest.approx(float((labels[asked] == 0).double().mean()))
    assert fillers["answers"].value == 0 == fillers["whole"].value
    one_wrong = labels.clamp(min=0).clone()
    one_wrong[3, 1] = (one_wrong[3, 1] + 1) % len(data.labels)
    assert data.score(one_wrong)["whole"].value == pytest.approx(1 - 1 / len(labels))


def test_by_length_counts_short_sequences_as_much_as_long_ones():
    data = dataset("reverse", vocab=6, length=7)
    lengths = data.test.lengths
    predicted = data.test.labels.clamp(min=0).clone()
    longest = lengths == lengths.max()
    predicted[longest] = (predicted[longest] + 1) % len(data.labels)
    found = data.score(predicted)
    assert found["by_length"].value == pytest.approx(1 - 1 / 5)
    assert found["accuracy"].value < 0.5  # most strings are long


def test_f1_by_hand():
    data = dataset("tagger", vocab=100, n=400)
    labels = data.test.labels.clamp(min=0)
    assert data.score(labels)["f1"].value == 1
    # every span loses its continuation: those of one word stay right
    cut = torch.where((labels % 2 == 0) & (labels > 0), 0, labels)
    found = data.score(cut)
    rows = [[data.labels[i] for i, t in zip(row, there) if t != IGNORE]
            for row, there in zip(labels.tolist(), data.test.labels.tolist())]
    every = [span for row in rows for span in spans(row)]
    single = sum(stop - start == 1 for start, stop, _ in every)
    assert 0 < single < len(every)
    assert [found[name].value for name in ("precision", "recall", "f1")] == pytest.approx([single / len(every)] * 3)


def test_addresses_and_not_sentences_are_resampled():
    data = dataset("sotu", n=1500)
    score = data.score(data.test.labels)["accuracy"]
    assert score.n == len(np.unique(data.test.cluster)) and score.unit == "addresses"


def test_predictions_that_are_no_labels_are_refused():
    data = dataset("hist", n=400)
    with pytest.raises(BadInput, match="have shape"):
        data.score(data.test.labels[:3])
    with pytest.raises(BadInput, match="label ids, 0 to 6"):
        data.score(torch.full_like(data.test.labels, 7))
