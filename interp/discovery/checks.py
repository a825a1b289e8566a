"""Beyond single effects: both directions, grouped removal, pairs. Noising hides backups and OR, denoising hides AND."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from interp.discovery.runs import Cut, Piece
from interp.results import bootstrap_mean


def both_directions(circuits: Cut, leading: Sequence[Piece], part) -> pd.DataFrame:
    """Leading nodes or edges, one row each: what removing it costs and what restoring it alone brings back.

    `noising` is m(clean) - m(clean, node from corrupt), `denoising` is m(corrupt, node from clean) - m(corrupt), both
    in the metric's unit with cluster-bootstrap intervals.
    """
    noising = circuits.full - circuits.remove([[n] for n in leading])
    rows = []
    for node, down, up in zip(leading, noising, circuits.restored(leading)):
        a, b = bootstrap_mean(down, part.clusters), bootstrap_mean(up, part.clusters)
        rows.append({"node": node.label, "noising": a.value, "noising_low": a.low, "noising_high": a.high,
                     "denoising": b.value, "denoising_low": b.low, "denoising_high": b.high})
    return pd.DataFrame(rows)


def grouped_removal(circuits: Cut, leading: Sequence[Piece], part) -> pd.DataFrame:
    """Removing the first 1, 2, ... leading nodes together against the sum of their single effects."""
    single = circuits.full - circuits.remove([[n] for n in leading])
    grouped = circuits.full - circuits.remove([leading[: k + 1] for k in range(len(leading))])
    rows = []
    for k, value in enumerate(grouped):
        e = bootstrap_mean(value, part.clusters)
        rows.append({"removed": k + 1, "last": leading[k].label, "together": e.value, "low": e.low, "high": e.high,
                     "sum_of_singles": float(single[: k + 1].mean(1).sum())})
    return pd.DataFrame(rows)


def pair_interactions(circuits: Cut, leading: Sequence[Piece], part) -> pd.DataFrame:
    """e_ab - e_a - e_b for every pair: positive where one backs the other up, negative where both are needed."""
    single = dict(zip(leading, circuits.full - circuits.remove([[n] for n in leading])))
    pairs = list(itertools.combinations(leading, 2))
    if not pairs:
        return pd.DataFrame(columns=["a", "b", "interaction", "low", "high"])
    joint = circuits.full - circuits.remove(pairs)
    rows = []
    for (a, b), value in zip(pairs, joint):
        e = bootstrap_mean(value - single[a] - single[b], part.clusters)
        rows.append({"a": a.label, "b": b.label, "interaction": e.value, "low": e.low, "high": e.high})
    frame = pd.DataFrame(rows)
    return frame.iloc[np.argsort(-frame["interaction"].abs().to_numpy())].reset_index(drop=True)


def completeness(circuits: Cut, members: Sequence[Piece], *, draws: int, greedy: int, seed: int) -> dict:
    """|m(C without K) - m(M without K)| over random and greedily chosen K within C: {"mean", "largest", "worst"}.

    Paper: Wang 2022 (2211.00593), section 4; K greedy adds the node that widens the gap most.
    """
    generator = np.random.default_rng(seed)
    members = list(members)
    sets = [[n for n in members if generator.random() < 0.5] for _ in range(draws)]
    gaps = _gaps(circuits, members, sets)
    worst, widest = sets[int(np.argmax(gaps))] if len(gaps) else [], float(np.max(gaps, initial=0.0))
    chosen: list[Piece] = []
    for _ in range(min(greedy, len(members))):
        options = [[*chosen, n] for n in members if n not in chosen]
        found = _gaps(circuits, members, options)
        chosen = options[int(np.argmax(found))]
        if found.max() > widest:
            worst, widest = chosen, float(found.max())
    return {"mean": float(np.mean(gaps)) if len(gaps) else 0.0, "largest": widest,
            "worst": [n.label for n in worst], "random_sets": draws, "greedy_steps": min(greedy, len(members))}


def _gaps(circuits: Cut, members, sets) -> np.ndarray:
    cut = circuits.keep([[n for n in members if n not in k] for k in sets])
    whole = circuits.remove(sets)
    return np.abs(cut.mean(1) - whole.mean(1))


def minimality(circuits: Cut, members: Sequence[Piece], random_gaps: np.ndarray) -> pd.DataFrame:
    """What each member adds, |m(C) - m(C without v)|, and the share of random nodes added to random circuits that add
    as much (its p-value). Paper: Shi 2024 (2410.13032), minimality test."""
    members = list(members)
    whole = circuits.keep([members])[0].mean()
    gaps = np.abs(whole - circuits.keep([[n for n in members if n != v] for v in members]).mean(1))
    p = [(1 + int((random_gaps >= g).sum())) / (1 + len(random_gaps)) for g in gaps]
    return pd.DataFrame({"node": [n.label for n in members], "adds": gaps, "p": p})
