"""Random circuits of the same size at the same depths: what a circuit must beat."""

from collections import defaultdict

import numpy as np

from interp.discovery.runs import Piece
from interp.results import Node

TRIES = 20  # attempts per wanted circuit before the supply of distinct ones counts as exhausted


def matched_circuits(circuit: list[Piece], universe: list[Piece], draws: int, seed: int) -> list[list[Piece]]:
    """Distinct random circuits with as many nodes of each site as `circuit` has (so: the same depths and kinds), or as
    many edges into each site.

    Where a site has one node only (an MLP), it is exchanged with those of its kind at any depth. Fewer than `draws`
    where no more exist; never the circuit itself.
    """
    pools = pools_of(universe)
    wanted: dict[str, int] = defaultdict(int)
    for node in circuit:
        wanted[pool_of(node, pools)] += 1
    return _distinct(circuit, [(pools[pool], count) for pool, count in wanted.items()], draws, seed)


def same_size_circuits(circuit: list[Piece], universe: list[Piece], draws: int, seed: int) -> list[list[Piece]]:
    """Distinct random circuits of the same number of pieces, wherever they are; never the circuit itself."""
    return _distinct(circuit, [(universe, len(circuit))], draws, seed)


def _distinct(circuit, parts: list[tuple[list[Piece], int]], draws: int, seed: int) -> list[list[Piece]]:
    generator = np.random.default_rng(seed)
    found: dict[frozenset[Piece], list[Piece]] = {}
    for _ in range(TRIES * draws):
        if len(found) == draws:
            break
        drawn = [pool[i] for pool, count in parts for i in generator.choice(len(pool), count, replace=False)]
        if set(drawn) != set(circuit):
            found.setdefault(frozenset(drawn), drawn)
    return list(found.values())


def _site(piece: Piece) -> str:
    """The site of a node; the site and role that an edge leads to."""
    return piece.site if isinstance(piece, Node) else f"{piece.target.site} {piece.role}"


def _kind(piece: Piece) -> str:
    return _site(piece).rsplit("blocks.", 1)[-1].split(".", 1)[-1]


def pools_of(universe: list[Piece]) -> dict[str, list[Piece]]:
    """Pieces by site; sites with a single one are pooled by kind."""
    by_site: dict[str, list[Piece]] = defaultdict(list)
    for piece in universe:
        by_site[_site(piece)].append(piece)
    pools: dict[str, list[Piece]] = defaultdict(list)
    for site, members in by_site.items():
        pools[site if len(members) > 1 else _kind(members[0])] += members
    return pools


def pool_of(piece: Piece, pools: dict[str, list[Piece]]) -> str:
    return _site(piece) if _site(piece) in pools else _kind(piece)
