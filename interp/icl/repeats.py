"""Repeated random tokens: the prompts on which copying heads show what they look at.

A row is a block of different tokens, repeated to the end. Its period is drawn for every row, so that looking a fixed
number of tokens back is not mistaken for looking something up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.hooks import HookedModel
from interp.results.errors import BadInput

LENGTH = 16
"""Longest period where none is asked for, context allowing."""


@dataclass(frozen=True, eq=False)
class Repeats:
    """Tokens, and where they came before: `duplicate` marks earlier positions of the same token, `follows` what stands
    behind those. `seen` counts the earlier occurrences of each token. Nothing is said of the first token, if it is a
    BOS."""

    tokens: Int[Tensor, "row pos"]
    duplicate: Bool[Tensor, "row query key"]
    follows: Bool[Tensor, "row query key"]
    first: int

    @property
    def seen(self) -> Int[Tensor, "row pos"]:
        return self.duplicate.sum(-1)

    def parts(self, rows: int) -> list["Repeats"]:
        """The same in parts of at most `rows` prompts."""
        tensors = (self.tokens, self.duplicate, self.follows)
        return [Repeats(*some, self.first) for some in zip(*(t.split(rows) for t in tensors))]

    @classmethod
    def of(cls, tokens: Int[Tensor, "row pos"], bos: bool = False) -> "Repeats":
        """What repeats in any tokens; with `bos` the first one is not a word."""
        first = int(bos)
        n = tokens.shape[1]
        earlier = torch.ones(n, n, dtype=torch.bool).tril(-1)
        duplicate = (tokens[:, :, None] == tokens[:, None, :]) & earlier
        duplicate[:, :first] = False
        duplicate[:, :, :first] = False
        follows = torch.zeros_like(duplicate)
        follows[:, :, 1:] = duplicate[:, :, :-1]
        return cls(tokens, duplicate, follows & earlier, first)


def repeats(
    vocabulary: int | Sequence[int], length: int = LENGTH, rows: int = 64, seed: int = 0, *, bos: int | None = None,
    total: int | None = None,
) -> Repeats:
    """`rows` prompts of `total` tokens (default: four times `length`, and BOS): a block of different tokens, its period
    drawn from length / 2 to `length`, over and over.

    `vocabulary` are the ids to draw from, or their number. Raises BadInput where it is smaller than `length`, or where
    no token could repeat.
    """
    ids = torch.arange(vocabulary) if isinstance(vocabulary, int) else torch.as_tensor(list(vocabulary))
    total = 4 * length + (bos is not None) if total is None else total
    places = total - (bos is not None)
    if length < 2 or length > len(ids) or places <= length:
        raise BadInput(f"a block of {length} different tokens out of {len(ids)}, repeated within {places} positions, "
                       "cannot be: length is at least 2, at most the vocabulary, and below the number of positions")
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.stack([ids[torch.randperm(len(ids), generator=generator)[:length]] for _ in range(rows)])
    period = torch.randint((length + 1) // 2, length + 1, (rows, 1), generator=generator)
    tokens = blocks.gather(1, torch.arange(places)[None] % period)
    if bos is not None:
        tokens = torch.cat([torch.full((rows, 1), bos), tokens], 1)
    return Repeats.of(tokens, bos is not None)


def repeats_for(
    model: HookedModel, vocabulary: int | Sequence[int] | None = None, length: int | None = None, rows: int = 64,
    seed: int = 0, bos: int | None = None,
) -> Repeats:
    """`repeats` that fit a model's vocabulary and context.

    Raises BadInput for a model whose input is not tokens, and as `repeats`.
    """
    vocabulary = model.map.d_vocab if vocabulary is None else vocabulary
    if model.map.input_name != "input_ids" and vocabulary is None:
        raise BadInput(f"{model.name} reads no tokens (its input is {model.map.input_name!r}); repeated tokens need a "
                       "model of sequences with a vocabulary")
    size = vocabulary if isinstance(vocabulary, int) else len(vocabulary)
    room = (model.map.n_ctx or 10**9) - (bos is not None)
    if length is None:
        length = min(LENGTH, size, room // 2)
    total = min(4 * length, room) + (bos is not None)
    return repeats(vocabulary, length, rows, seed, bos=bos, total=total)
