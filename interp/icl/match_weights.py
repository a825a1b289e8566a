"""SimW of a matching: the weights that each depth's answers imply behind one context, against those of the iterate that
the depth was matched with. Answers that are no linear function of the query imply weights too, only worse ones: `fit`
says how much of the answers they explain."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from interp.hooks import HookedModel
from interp.icl.match import Matching
from interp.icl.readouts import Readouts
from interp.icl.similarity import induced_weights, weight_similarity
from interp.results.errors import BadInput
from interp.results.estimate import bootstrap_mean
from interp.tasks.functions import FunctionTask


def weight_matching(
    model: HookedModel, task: FunctionTask, found: Matching, readouts: Readouts, *, ks: Sequence[int] | None = None,
    prompts: int = 100, queries: int | None = None, seed: int = 0,
) -> pd.DataFrame:
    """One row a family, depth and number of examples k: SimW with its interval over prompts, and `fit`, the share of
    the depth's answers that its weights explain.

    `ks` are d and 2 d by default, `queries` 4 d for each context. Raises BadInput for fewer queries than d.
    """
    ks = [task.d, 2 * task.d] if ks is None else list(ks)
    queries = 4 * task.d if queries is None else queries
    if queries < task.d:
        raise BadInput(f"{queries} queries do not tell {task.d} weights; give {task.d} at least")
    rows = []
    for k in ks:
        drawn = task.sample(prompts, k + queries, seed)
        asked = drawn.xs[:, k:]
        xs = torch.cat([_again(drawn.xs[:, :k], queries), asked.flatten(0, 1)[:, None]], 1)
        ys = torch.cat([_again(drawn.ys[:, :k], queries), torch.zeros(prompts * queries, 1)], 1)
        said = readouts(model, xs, ys)[..., k].unflatten(1, (prompts, queries))
        own = induced_weights(asked, said)
        explained = 1 - ((torch.einsum("bqd,lbd->lbq", asked.double(), own) - said).square().sum((1, 2))
                         / said.square().sum((1, 2)).clamp_min(1e-300))
        for name, family in found.families.items():
            iterates = family(xs, ys)[..., k].unflatten(1, (prompts, queries))
            theirs = induced_weights(asked, iterates[found.step[name]])
            for depth, alike in enumerate(weight_similarity(own, theirs)):
                e = bootstrap_mean(alike.numpy(), seed=seed, draws=500)
                rows.append({"family": name, "depth": depth, "k": k, "SimW": e.value, "low": e.low, "high": e.high,
                             "fit": float(explained[depth])})
    return pd.DataFrame(rows)


def _again(some: Tensor, times: int) -> Tensor:
    """Every context once for each of its queries."""
    return some.repeat_interleave(times, 0)
