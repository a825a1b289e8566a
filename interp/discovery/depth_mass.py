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


def depth_mass(circuit: Circuit) -> dict[str, np.ndarray]:
    """{kind: share of all |score| in each twelfth of the depth [BINS]}; all of them sum to 1.

    A block's mass is spread over the part of the depth that the block takes: depth d of L is [d / L, (d + 1) / L].
    Sites outside the blocks do not count. Raises BadInput where no node inside the blocks has a score.
    """
    kinds, spread, sizes = _places(circuit)
    return dict(zip(kinds, (sizes @ spread / sizes.sum()).reshape(-1, BINS)))


def mass_overlap(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """The mass that two profiles have at the same depth and kind: 1 for equal ones, 0 for those that never meet."""
    return float(sum(np.minimum(a[kind], b[kind]).sum() for kind in a.keys() & b.keys()))


def mass_by_chance(a: Circuit, b: Circuit, draws: int = 500, seed: int = 0) -> np.ndarray:
    """Overlaps [draw] after the scores of both circuits are dealt anew among their own nodes.

    What is above it is due to where the scores lie, not to how the two models' nodes are spread over depths and kinds.
    """
    generator = np.random.default_rng(seed)
    dealt = []
    for kinds, spread, sizes in map(_places, (a, b)):
        moved = generator.permuted(np.tile(sizes / sizes.sum(), (draws, 1)), axis=1)
        dealt.append(dict(zip(kinds, (moved @ spread).reshape(draws, -1, BINS).swapaxes(0, 1))))
    one, other = dealt
    return sum((np.minimum(one[kind], other[kind]).sum(1) for kind in one.keys() & other.keys()), np.zeros(draws))


def _places(circuit: Circuit) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(kinds, where each node inside the blocks lies [node, kind * BINS], its |score| [node])."""
    nodes = [node for node in circuit.scores if node.depth is not None]
    sizes = np.abs([circuit.scores[node] for node in nodes])
    if not sizes.sum() > 0:
        raise BadInput(f"every score of {circuit.method} in the blocks of {circuit.model} is 0: they have no profile")
    kinds = list(dict.fromkeys(map(kind_of, nodes)))
    layers: dict[str, int] = defaultdict(int)
    for node in nodes:
        layers[node.stack] = max(layers[node.stack], node.depth + 1)
    spread = np.zeros((len(nodes), len(kinds), BINS))
    for i, node in enumerate(nodes):
        spread[i, kinds.index(kind_of(node))] = _spread(node.depth, layers[node.stack])
    return kinds, spread.reshape(len(nodes), -1), sizes


def _spread(depth: int, layers: int) -> np.ndarray:
    """The share of block `depth` of `layers` that lies in each bin, [BINS]; sums to 1."""
    edges = np.arange(BINS + 1) / BINS
    inside = np.minimum(edges[1:], (depth + 1) / layers) - np.maximum(edges[:-1], depth / layers)
    return np.clip(inside, 0, None) * layers
