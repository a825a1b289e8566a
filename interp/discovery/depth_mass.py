"""Where in a model its scores lie: by relative depth and kind, comparable between models whose nodes differ."""

from collections import defaultdict

import numpy as np

from interp.results import BadInput, Circuit, Node

BINS = 12  # shares of the depth: 1, 2, 3, 4, 6 and 12 layers fall on whole bins
_KINDS = {"attn.hook_z": "head", "cross_attn.hook_z": "cross-attention head", "hook_mlp_out": "MLP",
          "hook_mixer_out": "mixer"}


def kind_of(node: Node) -> str:
    """head, MLP, mixer, or the site's own kind; with the stack before it in a model that has several."""
    return " ".join(filter(None, (node.stack, _KINDS.get(node.kind, node.kind))))


def depth_mass(circuit: Circuit, scores: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """{kind: share of all |score| in each twelfth of the depth [BINS]}; all of them sum to 1.

    A block's mass is spread over the part of the depth that the block takes: depth d of L is [d / L, (d + 1) / L].
    `scores` [node] stand in for the circuit's own, in their order. Sites outside the blocks do not count.
    Raises BadInput where no node inside the blocks has a score.
    """
    nodes = list(circuit.scores)
    sizes = np.abs(np.array(list(circuit.scores.values())) if scores is None else scores)
    layers: dict[str, int] = defaultdict(int)
    for node in nodes:
        if node.depth is not None:
            layers[node.stack] = max(layers[node.stack], node.depth + 1)
    mass: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(BINS))
    for node, size in zip(nodes, sizes):
        if node.depth is not None:
            mass[kind_of(node)] += size * _spread(node.depth, layers[node.stack])
    total = sum(row.sum() for row in mass.values())
    if not total > 0:
        raise BadInput(f"every score of {circuit.method} in the blocks of {circuit.model} is 0: they have no profile")
    return {kind: row / total for kind, row in mass.items()}


def _spread(depth: int, layers: int) -> np.ndarray:
    """The share of block `depth` of `layers` that lies in each bin, [BINS]; sums to 1."""
    edges = np.arange(BINS + 1) / BINS
    inside = np.minimum(edges[1:], (depth + 1) / layers) - np.maximum(edges[:-1], depth / layers)
    return np.clip(inside, 0, None) * layers


def mass_overlap(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """The mass that two profiles have at the same depth and kind: 1 for equal ones, 0 for those that never meet."""
    kinds = a.keys() & b.keys()
    return float(sum(np.minimum(a[kind], b[kind]).sum() for kind in kinds))


def mass_by_chance(a: Circuit, b: Circuit, draws: int = 500, seed: int = 0) -> np.ndarray:
    """Overlaps [draw] after the scores of both circuits are dealt anew among their own nodes.

    What is above it is due to where the scores lie, not to how the two models' nodes are spread over depths and kinds.
    """
    generator = np.random.default_rng(seed)
    scores = [np.array([s for s in c.scores.values()]) for c in (a, b)]
    inside = [np.array([n.depth is not None for n in c.scores]) for c in (a, b)]
    found = np.empty(draws)
    for draw in range(draws):
        dealt = []
        for circuit, values, here in zip((a, b), scores, inside):
            moved = values.copy()
            moved[here] = generator.permutation(values[here])
            dealt.append(depth_mass(circuit, moved))
        found[draw] = mass_overlap(*dealt)
    return found
