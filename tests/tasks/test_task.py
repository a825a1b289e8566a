"""`Task` and `from_pairs`: parts, rows, alignment, and what they refuse."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interp.results import BadInput
from interp.tasks import LogitDiff, Task
from interp.tasks.splits import PARTS, deal, sizes, split_by_cluster
from interp.tasks.task import ids_of
from tests.tasks.small import bpe, word_level

PAIRS = [
    {"clean": "The cat", "corrupt": "The cats", "answer": " is", "wrong": " are"},
    {"clean": "I think that the dog", "corrupt": "I think that the dogs", "answer": " is", "wrong": " are"},
    {"clean": "The birds near the tree", "corrupt": "The bird near the tree", "answer": " are", "wrong": " is"},
    {"clean": "The king", "corrupt": "The kings", "answer": " is", "wrong": " are"},
]


def pairs(**changes) -> list[dict]:
    """The pairs with row 1 changed."""
    return [row | (changes if i == 1 else {}) for i, row in enumerate(PAIRS)]


@given(st.integers(3, 500))
def test_sizes_are_all_of_it_and_never_empty(n):
    assert sum(sizes(n).values()) == n and min(sizes(n).values()) >= 1


@given(st.lists(st.integers(0, 9), min_size=3, max_size=40).filter(lambda c: len(set(c)) >= 3), st.integers(0, 99))
def test_splits_by_cluster_are_disjoint_and_covering(clusters, seed):
    clusters = np.array(clusters)
    split = split_by_cluster(clusters, np.random.default_rng(seed))
    assert sorted(np.concatenate(list(split.values())).tolist()) == list(range(len(clusters)))
    owners = [set(clusters[rows]) for rows in split.values()]
    assert all(owners) and sum(map(len, owners)) == len(set.union(*owners))


def test_deal_is_repeatable_and_depends_on_the_seed():
    dealt = [deal(range(40), np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert dealt[0] == dealt[1] != dealt[2]
    assert sorted(sum(dealt[0].values(), [])) == list(range(40))


@pytest.mark.parametrize("side", ["right", "left"])
def test_from_pairs_pads_as_the_tokenizer_says_and_reads_the_last_real_token(side):
    tokenizer = bpe(side=side)
    task = Task.from_pairs(PAIRS, tokenizer=tokenizer)
    ids, mask = task.clean["input_ids"], task.clean["attention_mask"]
    for row, pair in enumerate(PAIRS):
        assert ids[row][mask[row].bool()].tolist() == tokenizer.encode(pair["clean"])
        assert tokenizer.decode(ids[row, task.metric.positions[row]]) == " " + pair["clean"].split()[-1]
        assert tokenizer.decode(task.metric.correct[row]) == pair["answer"]
        assert tokenizer.decode(task.metric.wrong[row]) == pair["wrong"]
    assert (mask[:, 0] == 1).all() == (side == "right")
    assert torch.equal(task.corrupt["attention_mask"], mask)
    assert task.lengths.stop.tolist() == (task.metric.positions + 1).tolist()


def test_from_pairs_of_one_length_is_a_tensor():
    task = Task.from_pairs([PAIRS[0], PAIRS[3]], tokenizer=bpe())
    assert task.clean.shape == task.corrupt.shape == (2, 2) and task.metric.positions.tolist() == [1, 1]


def test_from_pairs_takes_a_tokenizer_of_the_tokenizers_library():
    theirs = Task.from_pairs(PAIRS, tokenizer=bpe().backend_tokenizer)
    ours = Task.from_pairs(PAIRS, tokenizer=bpe())
    mask = ours.clean["attention_mask"]
    assert torch.equal(theirs.clean["input_ids"] * mask, ours.clean["input_ids"] * mask)
    assert torch.equal(theirs.metric.correct, ours.metric.correct)


def test_from_pairs_reads_at_the_mask_of_a_masked_model():
    rows = [{"clean": "The [MASK] cat", "corrupt": "The [MASK] cats", "answer": "dog", "wrong": "dogs"}]
    task = Task.from_pairs(rows, tokenizer=word_level(mask=True))
    assert task.metric.positions.tolist() == [2]  # [CLS] The [MASK] cat [SEP]
    assert word_level(mask=True).decode(task.metric.correct) == "dog"


def test_from_pairs_with_a_metric_of_ones_own_needs_no_answers():
    table = pd.DataFrame(PAIRS)[["clean", "corrupt"]]
    task = Task.from_pairs(table, lambda output: output[:, -1, 0], tokenizer=bpe())
    output = torch.randn(4, 5, 9)
    assert torch.equal(task.part("discover").metric(output), output[:, -1, 0])


def test_rows_with_the_same_two_prompts_are_one_cluster():
    turned = {"clean": "The cats", "corrupt": "The cat", "answer": " are", "wrong": " is"}
    task = Task.from_pairs([*PAIRS, turned], tokenizer=bpe())
    assert task.clusters.tolist() == [0, 1, 2, 3, 0]


@given(st.integers(0, 50))
def test_parts_are_disjoint_covering_and_keep_rows_together(seed):
    task = Task.from_pairs(PAIRS, tokenizer=bpe(), seed=seed)
    output = torch.randn(4, 5, 6000)
    seen = []
    for part in PARTS:
        some, rows = task.part(part), task.split[part]
        assert len(some) == len(rows) and torch.equal(ids_of(some.clean), ids_of(task.clean)[rows])
        assert torch.equal(ids_of(some.corrupt), ids_of(task.corrupt)[rows])
        assert torch.equal(some.metric(output[rows]), task.metric(output)[rows])
        assert some.prompts["clean"].tolist() == task.prompts["clean"].iloc[rows].tolist()
        assert some.part(part).clusters.tolist() == task.clusters[rows].tolist()
        seen += rows.tolist()
    assert sorted(seen) == list(range(4))


def test_splits_repeat_with_the_seed_and_may_be_given():
    one, same = (Task.from_pairs(PAIRS * 1, tokenizer=bpe(), seed=3) for _ in range(2))
    assert all(np.array_equal(one.split[p], same.split[p]) for p in PARTS)
    assert len({tuple(Task.from_pairs(PAIRS, tokenizer=bpe(), seed=s).split["test"]) for s in range(20)}) == 4
    given_split = [row | {"split": "test" if i else "discover"} for i, row in enumerate(PAIRS)]
    assert Task.from_pairs(given_split, tokenizer=bpe()).split["test"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("changes", "message"), [
    ({"corrupt": "I think that the the dogs"}, "row 1: the clean prompt has 5 tokens and the corrupt one 6"),
    ({"clean": "  "}, "row 1: the clean is empty"),
    ({"corrupt": None}, "row 1: the corrupt is empty"),
    ({"answer": " isaware"}, r"row 1: the answer ' isaware' is \d tokens"),
    ({"wrong": " the is"}, "row 1: the wrong ' the is' is 2 tokens"),
    ({"wrong": " is"}, "row 1: answer and wrong answer are the same token"),
])
def test_from_pairs_names_the_row_of_a_mistake(changes, message):
    with pytest.raises(BadInput, match=message):
        Task.from_pairs(pairs(**changes), tokenizer=bpe())


def test_from_pairs_says_what_a_table_lacks():
    with pytest.raises(BadInput, match="no rows"):
        Task.from_pairs([], tokenizer=bpe())
    with pytest.raises(BadInput, match='no column \'answer\' .*Did you mean "answers"'):
        Task.from_pairs(pd.DataFrame(PAIRS).rename(columns={"answer": "answers"}), tokenizer=bpe())
    with pytest.raises(BadInput, match="the column split holds 'train'"):
        Task.from_pairs([PAIRS[0] | {"split": "train"}], tokenizer=bpe())
    with pytest.raises(BadInput, match="row 0: the tokenizer does not know the answer ' zebra'"):
        Task.from_pairs([PAIRS[0] | {"answer": " zebra"}], tokenizer=word_level())
    with pytest.raises(BadInput, match=r"row 0: this tokenizer .* fills in \[MASK\].*0 times"):
        Task.from_pairs([PAIRS[0]], tokenizer=word_level(mask=True))


def test_a_part_without_prompts_and_an_unknown_part_are_errors():
    task = Task.from_pairs(PAIRS[:2], tokenizer=bpe())
    with pytest.raises(BadInput, match="the test part of pairs is empty: it has 2 clusters"):
        task.part("test")
    with pytest.raises(BadInput, match="'tset' is no part.*Did you mean \"test\""):
        task.part("tset")


def test_a_task_whose_pieces_do_not_fit_is_refused():
    ids, table = torch.ones(2, 3, dtype=torch.long), pd.DataFrame({"clean": ["a", "b"]})
    metric = LogitDiff(torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([0, 0]))
    good = {"discover": [0], "test": [1]}
    with pytest.raises(BadInput, match=r"differ in shape, \[2, 3\] and \[2, 2\]"):
        Task("t", ids, ids[:, :2], metric, table, [0, 1], good)
    with pytest.raises(BadInput, match="2 prompts come with 3 clusters and 2 rows"):
        Task("t", ids, ids, metric, table, [0, 1, 2], good)
    with pytest.raises(BadInput, match="every prompt exactly once"):
        Task("t", ids, ids, metric, table, [0, 1], {"discover": [0, 1], "test": [1]})
    with pytest.raises(BadInput, match="cluster 5 is in discover and in test"):
        Task("t", ids, ids, metric, table, [5, 5], good)
    with pytest.raises(BadInput, match="content names the column 'noun'"):
        Task("t", ids, ids, metric, table, [0, 1], good, content=("noun",))
