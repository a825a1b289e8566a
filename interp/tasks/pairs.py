"""A table of clean and corrupt prompts, read into aligned token ids; every mistake is named with its row."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from interp.results.errors import BadInput, nearest
from interp.tasks.metrics import LogitDiff
from interp.tasks.splits import PARTS
from interp.tasks.text import Inputs, batch, continuation, encode, mask_token, tokens_of

Read = tuple[pd.DataFrame, Inputs, Inputs, LogitDiff | None]


def read_pairs(pairs: pd.DataFrame | Sequence[Mapping[str, Any]], tokenizer: Any, with_answers: bool) -> Read:
    """The table with its `cluster` column, clean and corrupt inputs, and with answers their logit difference."""
    columns = ["clean", "corrupt"] + ["answer", "wrong"] * with_answers
    table = _table(pairs, columns)
    rows = {side: [encode(tokenizer, text, special=True) for text in table[side]] for side in ("clean", "corrupt")}
    for row, (a, b) in enumerate(zip(rows["clean"], rows["corrupt"], strict=True)):
        if not a:
            raise BadInput(f"row {row}: the clean prompt {table['clean'][row]!r} has no tokens")
        if len(a) != len(b):
            raise BadInput(
                f"row {row}: the clean prompt has {len(a)} tokens and the corrupt one {len(b)}; they are compared "
                "token by token, so use words of the same number of tokens"
            )
    clean, start = batch(rows["clean"], tokenizer)
    corrupt, _ = batch(rows["corrupt"], tokenizer)
    if not with_answers:
        return table, clean, corrupt, None
    read_at = [_answer_at(tokenizer, ids, row) for row, ids in enumerate(rows["clean"])]
    correct, wrong = (
        [_answer_id(tokenizer, table, row, which) for row in range(len(table))] for which in ("answer", "wrong")
    )
    for row, (a, b) in enumerate(zip(correct, wrong, strict=True)):
        if a == b:
            raise BadInput(f"row {row}: answer and wrong answer are the same token, {table['answer'][row]!r}")
    metric = LogitDiff(start + torch.tensor(read_at), torch.tensor(correct), torch.tensor(wrong))
    return table, clean, corrupt, metric


def _table(pairs: pd.DataFrame | Sequence[Mapping[str, Any]], columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(pairs).reset_index(drop=True)
    if not len(table):
        raise BadInput("the table of pairs has no rows")
    for column in columns:
        if column not in table:
            raise BadInput(
                f"the table of pairs has no column {column!r} (it has {', '.join(map(str, table.columns))})."
                + nearest(column, map(str, table.columns))
            )
        for row, text in enumerate(table[column]):
            if not isinstance(text, str) or not text.strip():
                raise BadInput(f"row {row}: the {column} is empty or no text ({text!r})")
    if "split" in table and (unknown := set(table["split"]) - set(PARTS)):
        raise BadInput(f"the column split holds {min(map(str, unknown))!r}; the parts are {', '.join(PARTS)}")
    if "cluster" not in table:
        table["cluster"] = ["\n".join(sorted(two)) for two in zip(table["clean"], table["corrupt"], strict=True)]
    return table


def _answer_id(tokenizer: Any, table: pd.DataFrame, row: int, which: str) -> int:
    answer, prompt = table[which][row], table["clean"][row]
    if mask_token(tokenizer) is None:
        ids = continuation(tokenizer, prompt, answer)
    else:
        ids = encode(tokenizer, answer)
    if len(ids) == 1:
        return ids[0]
    if not ids:
        raise BadInput(f"row {row}: the tokenizer does not know the {which} {answer!r}")
    raise BadInput(
        f"row {row}: the {which} {answer!r} is {len(ids)} tokens, {tokens_of(tokenizer, ids)}; "
        "the metric compares single tokens"
    )


def _answer_at(tokenizer: Any, ids: list[int], row: int) -> int:
    """Where the answer is predicted, counted from the first real token."""
    mask = mask_token(tokenizer)
    if mask is None:
        return len(ids) - 1
    if ids.count(mask[0]) != 1:
        raise BadInput(
            f"row {row}: this tokenizer is of a model that fills in {mask[1]}; write it once in the prompt, where the "
            f"answer belongs (it is there {ids.count(mask[0])} times)"
        )
    return ids.index(mask[0])
