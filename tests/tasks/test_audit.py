"""The audit finds what is wrong, and passes what is right."""

import pandas as pd
import pytest
import torch

from interp.results import BadInput
from interp.tasks import LogitDiff, Task, task
from tests.tasks.small import ByRule, bpe, llama
from tests.tasks.test_task import PAIRS


def by_hand(clean, corrupt, clusters=(0, 1, 2), content=(), **columns) -> Task:
    """Three prompts of ids, one in each part."""
    clean, corrupt = torch.tensor(clean), torch.tensor(corrupt)
    metric = LogitDiff(torch.full((3,), clean.shape[1] - 1), torch.tensor([1, 1, 1]), torch.tensor([0, 0, 0]))
    split = {"discover": [0], "select": [1], "test": [2]}
    return Task("hand", clean, corrupt, metric, pd.DataFrame({"row": range(3), **columns}), clusters, split,
                content=content)


GOOD = [[1, 2], [3, 4], [5, 6]], [[1, 7], [3, 8], [5, 9]]


def test_a_good_task_passes_every_check():
    audit = by_hand(*GOOD).audit()
    assert audit.ok and audit.frame()["ok"].all() and len(audit.frame()) == 5
    audit.raise_if_failed()


def test_prompts_that_equal_their_counterfactual_fail():
    audit = by_hand(GOOD[0], [[1, 2], [3, 8], [5, 9]]).audit()
    assert not audit.ok and audit["contrast"].detail == "1 corrupt prompts equal their clean one"
    with pytest.raises(BadInput, match="'hand' is not fit for use: 1 corrupt prompts equal"):
        audit.raise_if_failed()


def test_duplicates_and_leaks_between_parts_are_found():
    audit = by_hand([[1, 2], [1, 2], [5, 6]], GOOD[1]).audit()
    assert not audit["duplicates"].ok and audit["duplicates"].value == 1
    assert not audit["leakage"].ok and audit["leakage"].value == 1
    crossed = by_hand(GOOD[0], [[3, 4], [3, 8], [5, 9]]).audit()  # a corrupt prompt that is clean elsewhere
    assert crossed["duplicates"].ok and not crossed["leakage"].ok


def test_shared_content_is_a_leak_only_where_it_is_declared():
    nouns = {"noun": ["cat", "dog", "cat"]}
    assert by_hand(*GOOD, **nouns).audit().ok
    audit = by_hand(*GOOD, content=("noun",), **nouns).audit()
    assert not audit["leakage"].ok and "'cat'" in audit["leakage"].detail


def test_an_empty_part_fails():
    audit = Task.from_pairs(PAIRS[:2], tokenizer=bpe()).audit()
    assert not audit["splits"].ok and "0 clusters (0 prompts) to test" in audit["splits"].detail


def test_lengths_of_clean_and_corrupt_are_compared_row_by_row():
    pair = Task.from_pairs(PAIRS, tokenizer=bpe())
    mask = pair.corrupt["attention_mask"].clone()
    mask[2, 2:] = 0
    broken = Task("t", pair.clean, pair.corrupt | {"attention_mask": mask}, pair.metric, pair.prompts,
                  pair.clusters, pair.split)
    assert "first in 2: 5 and 2 tokens" in broken.audit()["lengths"].detail


def test_an_answer_that_continues_a_word_is_found():
    rows = [row | {"answer": row["answer"].strip()} for row in PAIRS[:1]]
    audit = Task.from_pairs(rows, tokenizer=bpe()).audit(llama(bpe()))
    assert not audit["answers"].ok and "'is' of prompt 0 continues the word before it; write ' is'" in (
        audit["answers"].detail
    )


def test_a_random_model_is_found_no_better_than_chance():
    tokenizer = bpe()
    audit = task("agreement", llama(tokenizer), n=40).audit(llama(tokenizer))
    assert audit.model == "tiny-llama" and not audit.ok
    assert not audit["accuracy"].ok and "no better than 0.5" in audit["accuracy"].detail
    assert audit["answers"].ok and audit["padding"].ok
    table = audit.frame().set_index("check")
    assert table.loc["accuracy", "low"] <= table.loc["accuracy", "value"] <= table.loc["accuracy", "high"]


def test_values_do_not_depend_on_the_chunks(monkeypatch):
    from interp.tasks import audit as module

    model, t = llama(bpe()), task("agreement", tokenizer=bpe(), n=10)
    whole, right = module.measure(t, model, t.clean)
    monkeypatch.setattr(module, "_CHUNK", 3)
    for a, b in zip((whole, right), module.measure(t, model, t.clean)):
        torch.testing.assert_close(torch.tensor(a), torch.tensor(b))


def test_padding_that_changes_the_answer_is_found():
    def counts_positions(ids):  # an absolute position, as GPT-2 has: padding on the left shifts it
        return torch.arange(ids.shape[1])[None, :, None] * torch.arange(6000.0).expand(*ids.shape, -1)

    model = ByRule(counts_positions, bpe())
    assert Task.from_pairs(PAIRS, tokenizer=bpe()).audit(model)["padding"].ok
    left = Task.from_pairs(PAIRS, tokenizer=bpe(side="left")).audit(model)["padding"]
    assert not left.ok and "pad on the other side" in left.detail


def test_a_saturated_metric_is_a_warning():
    t = task("atom-mapping", n=6)

    answers = {tuple(ids[ids > 0].tolist()): target for ids, target in zip(t.clean["input_ids"], t.metric.target)}

    def knows(ids):  # the clean answers, with certainty, and nothing of the corrupt prompts
        output = torch.zeros(*ids.shape, 591)
        for row, prompt in enumerate(ids):
            if (key := tuple(prompt[prompt > 0].tolist())) in answers:
                output[row, :, answers[key]] = 50.0
        return output

    audit = t.audit(ByRule(knows))
    assert not audit["ceiling"].ok and audit.warnings and "gradients vanish" in audit.warnings[0]


def test_a_metric_of_the_wrong_shape_is_an_error():
    t = Task.from_pairs(PAIRS, lambda output: output.mean(), tokenizer=bpe())
    with pytest.raises(BadInput, match=r"the metric gave shape \[\] for 4 prompts"):
        t.audit(llama(bpe()))
