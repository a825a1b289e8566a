"""Sorting: numbers, a separator, the same numbers in order, in the tokens of garden/sorting-1l."""

from typing import Any

import numpy as np
import torch

from interp.results.errors import BadInput
from interp.tasks.metrics import LogitDiff
from interp.tasks.splits import Row, generate
from interp.tasks.task import Task
from interp.tasks.text import needs_causal


def sorting(
    model: Any = None, n: int = 64, seed: int = 0, *, numbers: int | None = None, length: int | None = None
) -> Task:
    """The next number in order: logit of the right number minus logit of the one that is right in the corrupt row.

    Tokens are 0 to numbers - 1 and, last, the separator; rows are `length` numbers, the separator, and the numbers in
    order but for the last. One place of the ordered half is read in each row; corrupt has another number there, and in
    the unordered half, while the ordered numbers before it are the same. (The place itself is input only behind the
    position that is read, so the model must be causal.) A cluster is a row in both roles.
    Raises BadInput where sizes are too small or not known.
    """
    needs_causal(model, "sorting")
    known = getattr(getattr(model, "map", None), "d_vocab", None)
    context = getattr(getattr(model, "map", None), "n_ctx", None)
    numbers = numbers or (known and known - 1)
    length = length or (context and context // 2)
    if not numbers or not length:
        raise BadInput("sorting needs its sizes: give a model such as garden/sorting-1l, or numbers=32 and length=10")
    if numbers < 4 or length < 2 or (known and numbers >= known) or (context and 2 * length > context):
        raise BadInput(f"sorting of {length} out of {numbers} numbers does not fit: 4 numbers and a length of 2 are "
                       f"the least, a vocabulary of {known} and a context of {context} are the model's")
    table = generate("sorting", n, seed, {}, lambda pools, generator: _draw(generator, numbers, length))
    clean, corrupt = (torch.tensor(table.pop(f"{side}_ids").tolist()) for side in ("clean", "corrupt"))
    place, correct, wrong = (torch.tensor(table[column].to_numpy()) for column in ("place", "answer_id", "wrong_id"))
    metric = LogitDiff(length + place, correct, wrong)
    _, clusters = np.unique(table["cluster"], return_inverse=True)
    split = {part: np.flatnonzero(table["split"] == part) for part in table["split"].unique()}
    return Task("sorting", clean, corrupt, metric, table, clusters, split)


def _draw(generator: np.random.Generator, numbers: int, length: int) -> list[Row]:
    row, place = generator.integers(numbers, size=length), int(generator.integers(length))
    order = np.sort(row)
    below = order[place - 1] if place else -1
    above = order[place + 1] if place + 1 < length else numbers
    answer = int(order[place])
    others = [v for v in range(below + 1, above) if v != answer]
    if not others or answer in (below, above):
        return []
    wrong = int(generator.choice(others))
    changed = np.where(row == answer, wrong, row)
    two = [(_ids(row, numbers), answer), (_ids(changed, numbers), wrong)]
    cluster = " / ".join(sorted(" ".join(map(str, ids)) for ids, _ in two))
    return [
        {"clean": " ".join(map(str, ids)), "corrupt": " ".join(map(str, other)), "clean_ids": ids, "corrupt_ids": other,
         "place": place, "answer_id": right, "wrong_id": left, "cluster": cluster}
        for (ids, right), (other, left) in (two, two[::-1])
    ]


def _ids(row: np.ndarray, separator: int) -> list[int]:
    return [*row.tolist(), separator, *np.sort(row)[:-1].tolist()]
