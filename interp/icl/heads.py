"""What heads look at on repeated random tokens (Elhage et al. 2021; Olsson et al. 2022, arXiv 2209.11895).

    previous_token    attention of a new token to the token before it
    duplicate_token   of a token seen before to its earlier occurrences, added up
    induction         of a token at its second occurrence to the token behind the first one
    prefix_matching   the same at every later occurrence, added up over all that stand behind an earlier one

Read from patterns, or from what a mixer without one stands for (`interp.icl.head_table`). A score is about where a head
looks; what the model uses is for an intervention to say.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.hooks import HookedModel
from interp.icl.head_table import HeadScores, even, read_heads
from interp.icl.repeats import Repeats, repeats_for

Score = Literal["previous_token", "duplicate_token", "induction", "prefix_matching"]
SCORES: tuple[Score, ...] = ("previous_token", "duplicate_token", "induction", "prefix_matching")
_ROWS_AT_ONCE = 16


def head_scores(
    model: HookedModel, vocabulary: int | Sequence[int] | None = None, length: int | None = None, rows: int = 64,
    seed: int = 0, *, bos: int | None = None, prompts: Repeats | None = None,
) -> HeadScores:
    """The four scores of every head of a model of sequences, by `rows` prompts of repeated random tokens.

    `vocabulary` are the token ids to draw from (or how many; all by default), `length` the longest period, `bos` a
    token in front of every prompt; `prompts` replaces them all.
    Raises BadInput for a model without tokens, RequiresPattern where no depth mixes positions.
    """
    prompts = prompts or repeats_for(model, vocabulary, length, rows, seed, bos)
    parts = [(some.tokens, partial(per_row, prompts=some)) for some in prompts.parts(_ROWS_AT_ONCE)]
    alike = per_row(even(prompts.tokens.shape[1], model.map.causal), prompts)
    uniform = {score: float(alike[i].mean()) for i, score in enumerate(SCORES)}
    return read_heads(model, SCORES, parts, uniform, seed)


def per_row(pattern: Float[Tensor, "row head query key"], prompts: Repeats) -> Float[np.ndarray, "score head row"]:
    """The four scores of patterns on prompts, in the order of `SCORES`; pattern may have one row for all."""
    seen = prompts.seen
    place = torch.arange(seen.shape[1])
    behind = (seen == 0) & (place > prompts.first)  # has a word before it, and nothing to look up
    previous = torch.zeros_like(prompts.duplicate)
    previous[:, place[1:], place[1:] - 1] = True
    of: Mapping[str, tuple[Bool[Tensor, "row query key"], Bool[Tensor, "row query"]]] = {
        "previous_token": (previous, behind),
        "duplicate_token": (prompts.duplicate, seen > 0),
        "induction": (prompts.follows, seen == 1),
        "prefix_matching": (prompts.follows, seen > 0),
    }
    return np.stack([_mean(pattern, *of[score]).numpy() for score in SCORES])


def _mean(pattern: Tensor, keys: Tensor, queries: Tensor) -> Float[Tensor, "head row"]:
    """Attention to marked keys, added up, averaged over marked queries."""
    mass = (pattern * keys[:, None]).sum(-1).transpose(0, 1).double()
    return (mass * queries).sum(-1) / queries.sum(-1).clamp_min(1)
