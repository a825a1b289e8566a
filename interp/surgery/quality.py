"""How well a language model still predicts: loss on windows of held-out text, and removals drawn at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interp.hooks.model import HookedModel
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean
from interp.surgery.drop import Branches, droppable
from interp.tasks.corpus import Split, documents
from interp.tasks.text import encode, needs_causal, needs_tokenizer


@dataclass(frozen=True, eq=False)
class Windows:
    """Token ids [window, length] of held-out text, every window of another document where there are enough.

    `documents` [window] names them: the clusters of an interval.
    """

    ids: Tensor
    documents: tuple[str, ...]


def windows(model: HookedModel, n: int, length: int, split: Split = "test", seed: int = 0) -> Windows:
    """`n` windows of `length` tokens, each at a random place of a document; documents in a random order, then again.

    Raises BadInput for a model without a tokenizer or one that predicts no next token, and where the split is too
    short.
    """
    tokenizer = needs_tokenizer(model, "held-out text")
    needs_causal(model, "held-out text", tokenizer)
    generator = np.random.default_rng(seed)
    texts = [d for d in documents() if d.split == split]
    order = [texts[i] for i in generator.permutation(len(texts))]
    rows, names = [], []
    for k in range(n):
        document = order[k % len(order)]
        # a stretch that surely holds enough tokens: a token has at most a few dozen characters, 12 a word on average
        room = max(1, len(document.text) - 12 * length)
        start = int(generator.integers(room))
        start = document.text.find(" ", start) + 1
        ids = encode(tokenizer, document.text[start : start + 40 * length])[:length]
        if len(ids) < length:
            raise BadInput(f"{document.title} ({document.year}) has no {length} tokens from character {start}; ask for "
                           "shorter windows")
        rows.append(ids)
        names.append(f"{document.title} {document.year}")
    return Windows(torch.tensor(rows), tuple(names))


def text_loss(model: HookedModel, ids: Tensor, batch: int = 16) -> Tensor:
    """Mean next-token loss of every window, [window], in nats."""
    found = []
    with torch.no_grad():
        for rows in ids.split(batch):
            logits = model(rows)[:, :-1].float()
            losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
            found.append(losses.view(len(rows), -1).mean(1))
    return torch.cat(found)


def rise(before: Tensor, after: Tensor, documents: Sequence[str], seed: int = 0) -> Estimate:
    """Mean rise of the loss over windows (paired), nats, with an interval that resamples documents."""
    return bootstrap_mean((after - before).numpy(), documents, unit="documents", seed=seed)


def random_removals(model: HookedModel, n: int, branches: Branches, draws: int = 20, seed: int = 0) -> list[list[str]]:
    """`draws` sets of `n` branches (or blocks) drawn at random, without putting back within one set.

    Raises BadInput for more than there are, and as `similarities`.
    """
    names = list(droppable(model, branches))
    if not 0 <= n <= len(names):
        raise BadInput(f"{n} branches are to be dropped; {model.name} has {len(names)} of that kind")
    generator = np.random.default_rng(seed)
    return [[names[i] for i in sorted(generator.choice(len(names), n, replace=False))] for _ in range(draws)]
