"""Hops and sums: every answer follows from its prompt, and difficulty changes nothing else."""

import re

import pytest
import torch

from interp.garden.catalog import build
from interp.results import BadInput
from interp.tasks.hops import KEYS, MOST_HOPS, SYMBOLS, arithmetic, hops, pointer_batch, pointers
from tests.tasks.small import DIGIT, bpe


def chase(pairs: list[int], start: int, k: int) -> int:
    table = dict(zip(pairs[::2], pairs[1::2], strict=True))
    for _ in range(k):
        start = table[start]
    return start


@pytest.mark.parametrize("k", [1, 2, 3])
def test_pointers_are_followed_k_times(k):
    t = pointers(None, 40, 7, hops=k)
    for side, answers in ((t.clean, t.metric.correct), (t.corrupt, t.metric.wrong)):
        for row, answer in zip(side.tolist(), answers.tolist(), strict=True):
            assert row[-2] == SYMBOLS + k - 1 and chase(row[:-2], row[-1], k) == answer
    assert (t.clean[:, :-1] == t.corrupt[:, :-1]).all() and (t.metric.correct != t.metric.wrong).all()
    assert torch.equal(t.clean[:, :-2], pointers(None, 40, 7, hops=1).clean[:, :-2])  # only the question differs


def test_training_batches_ask_what_the_task_asks():
    tokens, targets = pointer_batch(20, torch.Generator().manual_seed(0))
    for row, wanted in zip(tokens.tolist(), targets.tolist(), strict=True):
        asked = [i for i, w in enumerate(wanted) if w >= 0]
        assert asked == list(range(2 * KEYS + 1, 2 * KEYS + 24, 3))
        for i in asked:
            k = row[i - 1] - SYMBOLS + 1
            assert 1 <= k <= MOST_HOPS and chase(row[: 2 * KEYS], row[i], k) == wanted[i] == row[i + 1]
    with pytest.raises(BadInput, match="1 to 3 times"):
        pointers(None, 8, hops=4)
    with pytest.raises(BadInput, match="19 tokens"):
        pointers(build("gpt", d_model=8, n_layers=1, n_heads=1, d_vocab=5), 8)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_bosses_are_followed_k_times(k):
    t = hops(None, 12, 0, tokenizer=bpe(), hops=k)
    for _, row in t.prompts.iterrows():
        facts = dict(re.findall(r"(\w+)'s boss is (\w+)\.", row["clean"]))
        for side, answer in (("clean", "answer"), ("corrupt", "wrong")):
            person = re.search(r"(\w+)((?:'s boss)+) is$", row[side])
            name = person[1]
            for _ in range(person[2].count("boss")):
                name = facts[name]
            assert person[2].count("boss") == k and f" {name}" == row[answer]
    with pytest.raises(BadInput, match="1 to 3 times"):
        hops(None, 12, 0, tokenizer=bpe(), hops=4)


@pytest.mark.parametrize("terms", [2, 5])
def test_sums_are_right_below_ten_and_wrong_ones_wrong(terms):
    t = arithmetic(None, 15, 0, tokenizer=bpe(DIGIT), terms=terms)
    for _, row in t.prompts.iterrows():
        *shots, asked = row["clean"].split("\n")
        assert len(shots) == 3
        for line in [*shots, asked + row["answer"], row["corrupt"].split("\n")[-1] + row["wrong"]]:
            left, right = line.split("=")
            digits = [int(d) for d in left.split("+")]
            assert len(digits) == terms and sum(digits) == int(right) < 10
    with pytest.raises(BadInput, match="2 to 6"):
        arithmetic(None, 15, 0, tokenizer=bpe(DIGIT), terms=7)
