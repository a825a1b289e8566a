"""Codes as detectors, against a count by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.codebook import detectors, purity
from interp.codebook.classify import PADDING, count, neurons
from interp.results.errors import BadInput


def drawn(seed, rows=8, pos=5, groups=2, k=2, n_codes=6, n_labels=3):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.rand(rows, pos, groups, n_codes, generator=generator).topk(k)[1]
    labels = torch.randint(-1, n_labels, (rows, pos), generator=generator)
    labels[labels == -1] = -100
    labels[0, 0] = PADDING
    labels[1:4, 1] = torch.tensor([0, 1, 2])
    return ids, labels


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_counts_are_a_loop_over_tokens(seed):
    ids, labels = drawn(seed)
    found = count(ids, labels, 3, 6)
    for group in range(2):
        for code in range(6):
            on = [(r, p) for r in range(8) for p in range(5)
                  if labels[r, p] != PADDING and code in ids[r, p, group].tolist()]
            assert int(found.active[group, code]) == len(on)
            for label in range(3):
                hits = sum(int(labels[at]) == label for at in on)
                assert int(found.hits[label, group, code]) == hits
                precision = hits / len(on) if on else 0
                assert float(found.precision[label, group, code]) == pytest.approx(precision)
                tokens = int((labels == label).sum())
                assert float(found.recall[label, group, code]) == pytest.approx(hits / tokens if tokens else 0)


def test_a_detector_is_chosen_on_one_half_and_scored_on_the_other():
    """Code 1 marks label 0 on the first two rows and is wrong on the others; code 2 is right half of the time."""
    labels = torch.tensor([[0, 1, 1, 1]] * 4)
    ids = torch.tensor([[1, 3, 3, 3], [1, 3, 3, 3], [2, 1, 3, 3], [2, 1, 2, 3]])[..., None, None]
    select = torch.tensor([True, True, False, False])
    row = detectors({"s": ids}, labels, 4, select=select).frame().iloc[0]
    assert (row["code"], row["selected_precision"], row["selected_recall"]) == (1, 1, 1)
    assert (row["precision"], row["recall"], row["f1"]) == (0, 0, 0)
    other = detectors({"s": ids}, labels, 4, select=~select).frame().iloc[0]
    assert (other["code"], other["selected_precision"], other["recall"]) == (2, pytest.approx(2 / 3), 0)


def test_union_recall_is_that_of_all_precise_codes_together():
    labels = torch.tensor([[0, 0, 0, 1]] * 2)
    ids = torch.tensor([[1, 2, 3, 3], [1, 2, 0, 2]])[..., None, None]
    row = detectors({"s": ids}, labels, 4, select=torch.tensor([True, False])).frame().iloc[0]
    assert row["codes"] == 2 and row["union_recall"] == pytest.approx(2 / 3)
    assert row["union_precision"] == pytest.approx(2 / 3)


def test_rare_codes_are_not_detectors_and_a_label_without_one_counts_as_zero():
    labels, ids = torch.zeros(2, 200, dtype=torch.long), torch.zeros(2, 200, 1, 1, dtype=torch.long)
    labels[:, 100:] = 1
    ids[:, 100, 0, 0] = 1  # a hundredth of label 1
    found = detectors({"s": ids}, labels, 2, select=torch.tensor([True, False]))
    assert found.frame()["code"].tolist() == [0, 0]
    assert found.means()["precision"][0] == pytest.approx((100 / 199 + 99 / 199) / 2)
    assert found.figure().data


def test_a_label_that_one_half_does_not_have_is_left_out():
    labels = torch.tensor([[0, 0, 1, 2]] * 2 + [[0, 0, 0, 3]] * 2)
    ids = labels[..., None, None]
    select = torch.arange(4) < 2
    found = detectors({"s": ids}, labels, 4, select=select)
    assert found.frame()["label"].tolist() == [0] and found.left_out == (1, 2, 3)
    assert found.means()["precision"].tolist() == [1.0] and found.means()["union_recall"].tolist() == [1.0]
    values = torch.stack([labels == 0, labels == 1], -1).float()
    assert neurons(values, labels, {0: 1.0, 1: 1.0, 3: 1.0}, select=select) == {0: (1.0, 1.0)}
    with pytest.raises(BadInput, match="no label is on both"):
        detectors({"s": ids}, labels.where(labels > 0, -100), 4, select=select)


def test_codes_of_an_index_are_whole_numbers_of_another_type():
    ids, labels = drawn(3)
    select = torch.arange(8) < 4
    wanted = detectors({"s": ids}, labels, 6, select=select).frame()
    assert detectors({"s": ids.short()}, labels, 6, select=select).frame().equals(wanted)


def test_purity_by_hand_and_shuffled_labels_are_less_pure():
    labels = torch.arange(3).repeat(2, 40)
    assert purity(labels[..., None, None], labels, 5) == pytest.approx(
        {"purity": 1.0, "mean": 1.0, "live": 3, "shuffled": 1 / 3}, abs=0.12)
    mixed = purity(torch.zeros(2, 120, 1, 1, dtype=torch.long), labels, 5)
    assert mixed["purity"] == pytest.approx(1 / 3) and mixed["live"] == 1


def test_the_best_neuron_is_found_with_its_sign_and_threshold():
    labels = torch.randint(2, (10, 50))
    values = torch.randn(10, 50, 4)
    values[..., 2] = -(labels + 0.1 * torch.randn(10, 50))
    select = torch.arange(10) < 5
    precision, recall = neurons(values, labels, {1: 0.5}, select=select)[1]
    assert precision == 1 and recall == pytest.approx(0.5, abs=0.1)
    random = neurons(torch.randn(10, 50, 4), labels, {1: 0.5}, select=select)[1]
    assert random[0] < 0.7


@pytest.mark.parametrize(("change", "says"), [
    ({"select": torch.ones(8, dtype=torch.bool)}, "scored on the latter"),
    ({"select": torch.tensor([True, False])}, "select is True"),
    ({"labels": torch.zeros(8, 4, dtype=torch.long)}, "one label per token"),
    ({"labels": torch.zeros(8, 5)}, "whole numbers from 0 on"),
])
def test_bad_input_says_what_is_wrong(change, says):
    ids, labels = drawn(0)
    given = {"labels": labels, "select": torch.arange(8) < 4} | change
    with pytest.raises(BadInput, match=says):
        detectors({"s": ids}, given["labels"], 6, select=given["select"])
    with pytest.raises(BadInput, match="no token has a label"):
        purity(ids, torch.full((8, 5), -100), 6)
    with pytest.raises(BadInput, match="whole numbers"):
        purity(ids, torch.zeros(8, 5), 6)
