"""The paper's iterated search with contextual decomposition: from the metric back to what the found nodes read.

One pass of `cdt` cannot see a node that acts through queries and keys. Searching again with the queries, keys and
values of the heads just found as targets can. Paper: Hsu 2024 (2407.00886), algorithm 1.
"""

from collections.abc import Sequence

import numpy as np

from interp.effects import decompose, effects
from interp.hooks import Baseline, HookedModel, Source
from interp.results import Node

SHARE = 0.05
ROUNDS = 4
CHUNK = 24


def iterated_scores(
    model: HookedModel, part, universe: Sequence[Node], sources: Sequence[Source], *, baseline: Baseline,
    share: float = SHARE, rounds: int = ROUNDS,
) -> tuple[np.ndarray, dict]:
    """(score per node [node], facts): nodes found in an earlier round rank first, within a round by relevance.

    Round 0 scores by the relevant part of the metric; every later round by the mean share |r| / (|r| + |i|) of the
    queries, keys and values (MLPs: the input of the nonlinearity) of what the round before found. A node that was
    never found keeps its best relevance, below 1. Each round takes `share` of all nodes.
    """
    take = max(1, round(share * len(universe)))
    found = effects(model, part.clean, sources, part.metric, "cdt", baseline=baseline)
    forwards = found.cost["forwards"]
    first = np.abs(found.values.double().mean(1).numpy())
    relevance = first / max(first.max(), 1e-30)
    best, picked = relevance.copy(), {}
    order = np.argsort(-relevance)[:take]
    picked |= {int(i): 0 for i in order}
    history = [[universe[i].label for i in order]]
    for number in range(1, rounds):
        targets = [t for i in order for t in _reads(model, universe[i])]
        candidates = [i for i in range(len(universe)) if i not in picked]
        if not targets or not candidates:
            break
        shares = np.zeros(len(universe))
        for start in range(0, len(candidates), CHUNK):
            chunk = candidates[start : start + CHUNK]
            shares[chunk] = _shares(model, part.clean, [sources[i] for i in chunk], targets, baseline)
            forwards += 1 + len(chunk)
        best = np.maximum(best, shares / max(shares.max(), 1e-30))
        order = [i for i in np.argsort(-shares)[:take] if shares[i] > 0 and int(i) not in picked]
        if not order:
            break
        picked |= {int(i): number for i in order}
        history.append([universe[i].label for i in order])
    scores = best * 0.999
    for i, number in picked.items():
        scores[i] = (rounds - number) + best[i]
    return scores, {"forwards": float(forwards), "rounds": history, "share": share}


def _reads(model: HookedModel, node: Node) -> list[Source]:
    """What a node reads: queries, keys and values of a head, the input of an MLP's nonlinearity."""
    prefix = model.site(node.site).prefix
    if node.site.endswith(".hook_z"):
        kind = node.site[len(prefix) : -len("hook_z")]
        found = []
        for letter in "qkv":
            site = model.site(f"{prefix}{kind}hook_{letter}")
            found.append(Source(site.name, head=node.head // site.groups, pos=node.pos))
        return found
    name = f"{prefix}mlp.hook_pre"
    return [Source(name, pos=node.pos)] if name in model.map.sites else []


def _shares(model, x, sources, targets, baseline) -> np.ndarray:
    """Mean over targets of each source's share of them, [source]."""
    found = decompose(model, x, sources, targets, "cdt", baseline=baseline, budget=1 << 34).frame()
    table = found.groupby("source", sort=False)["share"].mean()
    return table.loc[[s.label for s in sources]].to_numpy()
