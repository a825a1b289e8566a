"""What heads look at on prompts of examples, x_1 y_1 x_2 y_2 ..: labels of the same point, labels of near points
(Bhattamishra et al. 2023, arXiv 2310.03016, section 4.3).

    prefix             attention of x to the labels that stood behind the same x in earlier copies of the prompt
    nearest_neighbour  attention of x to the label of the earlier point of largest cosine

The points of a prompt are repeated `copies` times for the first, and not for the second. Deviation: attention is added
up over the earlier copies (the paper takes the mean over pairs of copies): a head that looks nowhere else has 1.
"""

from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.hooks import HookedModel
from interp.icl.curves import points_of
from interp.icl.head_table import HeadScores, even, read_heads
from interp.icl.readouts import tokens_of
from interp.results.errors import BadInput
from interp.tasks.functions import FunctionTask, function_task

NAMES = ("prefix", "nearest_neighbour")
_AT_ONCE = 16
_DECIMALS = 7


def interleaved_scores(
    model: HookedModel, task: FunctionTask | str, n: int | None = None, *, copies: int = 4, prompts: int = 64,
    seed: int = 0,
) -> HeadScores:
    """Both scores of every head on prompts of n points of a class (n is what the context holds, a multiple of copies).

    Raises BadInput for fewer than two copies, or n that they do not divide.
    """
    task = function_task(task) if isinstance(task, str) else task
    n = n or points_of(model, task) // copies * copies
    if copies < 2 or n < copies or n % copies:
        raise BadInput(f"{n} points cannot be {copies} copies of the same ones; give n a multiple of copies, 2 or more")
    drawn = task.sample(prompts, n, seed)
    size = n // copies
    again = [torch.cat([t[:, :size]] * copies, 1) for t in (drawn.xs, drawn.ys)]
    near = nearest(drawn.xs)
    tables = [read_heads(model, (name,), parts, {name: value}, seed) for name, parts, value in (
        (NAMES[0], _parts(model, *again, partial(_prefix, size=size)), float(_prefix(even(2 * n, True), size).mean())),
        (NAMES[1], _parts(model, drawn.xs, drawn.ys, _nearest, near), float(_nearest(even(2 * n, True), near).mean())),
    )]
    first, second = tables
    values = {depth: np.concatenate([first.values[depth], second.values[depth]]) for depth in first.values}
    return HeadScores(model.name, NAMES, values, first.mixing, first.uniform | second.uniform, first.absent, seed)


def _parts(model: HookedModel, xs: Tensor, ys: Tensor, score, facts: Tensor | None = None) -> list:
    rows = [slice(i, i + _AT_ONCE) for i in range(0, len(xs), _AT_ONCE)]
    return [(tokens_of(model, xs[r], ys[r]), score if facts is None else partial(score, near=facts[r])) for r in rows]


def nearest(xs: Float[Tensor, "batch n d"]) -> Bool[Tensor, "batch n n"]:
    """True at the earlier point of largest cosine to each point but the first; of equal ones the first."""
    unit = torch.nn.functional.normalize(xs.double(), dim=-1)
    cosine = (unit @ unit.mT).round(decimals=_DECIMALS)
    earlier = torch.ones(cosine.shape[1:], dtype=torch.bool).tril(-1)
    cosine = cosine.masked_fill(~earlier, -torch.inf)
    best = cosine == cosine.amax(-1, keepdim=True)
    return best & (best.cumsum(-1) == 1) & earlier


def _to_labels(pattern: Tensor) -> Float[Tensor, "row head n n"]:
    """Attention of x-tokens to y-tokens."""
    return pattern[..., ::2, 1::2]


def _prefix(pattern: Float[Tensor, "row head query key"], size: int) -> Float[np.ndarray, "score head row"]:
    labels = _to_labels(pattern)
    place = torch.arange(labels.shape[-1])
    same = (place[:, None] % size == place % size) & (place < place[:, None])
    return (labels * same)[..., size:, :].sum(-1).mean(-1).double().mT[None].numpy()


def _nearest(pattern: Float[Tensor, "row head query key"], near: Bool[Tensor, "row n n"]
             ) -> Float[np.ndarray, "score head row"]:
    return (_to_labels(pattern) * near[:, None])[..., 1:, :].sum(-1).mean(-1).double().mT[None].numpy()
