"""Random circuits of the same size at the same depths: what a circuit must beat."""

from collections import defaultdict

import numpy as np

from interp.results import Node

TRIES = 20  # attempts per wanted circuit before the supply of distinct ones counts as exhausted


def matched_circuits(circuit: list[Node], universe: list[Node], draws: int, seed: int) -> list[list[Node]]:
    """Distinct random circuits with as many nodes of each site as `circuit` has (so: the same depths and kinds).

    Where a site has one node only (an MLP), it is exchanged with those of its kind at any depth. Fewer than `draws`
    where no more exist; never the circuit itself.
    """
    pools = _pools(universe)
    wanted: dict[str, int] = defaultdict(int)
    for node in circuit:
        wanted[_pool_of(node, pools)] += 1
    return _distinct(circuit, [(pools[pool], count) for pool, count in wanted.items()], draws, seed)


def same_size_circuits(circuit: list[Node], universe: list[Node], draws: int, seed: int) -> list[list[Node]]:
    """Distinct random circuits of the same number of nodes, wherever they are; never the circuit itself."""
    return _distinct(circuit, [(universe, len(circuit))], draws, seed)


def _distinct(circuit, parts: list[tuple[list[Node], int]], draws: int, seed: int) -> list[list[Node]]:
    generator = np.random.default_rng(seed)
    found: dict[frozenset[Node], list[Node]] = {}
    for _ in range(TRIES * draws):
        if len(found) == draws:
            break
        drawn = [pool[i] for pool, count in parts for i in generator.choice(len(pool), count, replace=False)]
        if set(drawn) != set(circuit):
            found.setdefault(frozenset(drawn), drawn)
    return list(found.values())


def _kind(node: Node) -> str:
    return node.site.rsplit("blocks.", 1)[-1].split(".", 1)[-1]


def _pools(universe: list[Node]) -> dict[str, list[Node]]:
    """Nodes by site; sites with a single node are pooled by kind."""
    by_site: dict[str, list[Node]] = defaultdict(list)
    for node in universe:
        by_site[node.site].append(node)
    pools: dict[str, list[Node]] = defaultdict(list)
    for site, members in by_site.items():
        pools[site if len(members) > 1 else _kind(members[0])] += members
    return pools


def _pool_of(node: Node, pools: dict[str, list[Node]]) -> str:
    return node.site if node.site in pools else _kind(node)
